"""WISE: its losses, its shards and their merges, and what the router makes of them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from tests.editors.cases import CASES
from tests.editors.test_contract import EDITS, host_of, make, run
from tests.naive.wise import batch_of, naive_wise
from tests.tiny import toy_tokenizer
from ultraedit.core.encoding import together
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.files import read_lines
from ultraedit.core.types import Edit, Turn
from ultraedit.editors import make_editor
from ultraedit.editors.families.activation_loss import (
    Margins,
    Side,
    activation_gradient,
    margin_loss,
)
from ultraedit.editors.families.memory_shards import MemoryStore, ties, trim
from ultraedit.editors.families.remembered_texts import unpack_texts
from ultraedit.editors.families.unrelated_texts import TEXTS, read_texts, split_text
from ultraedit.editors.wise import WISE
from ultraedit.models.overlays.routing import router_of

OPTIONS = CASES["wise"]


def wise(**options):
    return make_editor("wise", OPTIONS | options)


def chosen(host, edits=EDITS):
    """Which memory the prompt of each edit gets."""
    found = []
    for edit in edits:
        host.predict(host.encode([(edit.prompt, edit.target)]))
        found.append(int(router_of(host.language_model.model).chosen))
    return found


# The loss


def test_margins_that_are_kept_cost_nothing():
    margins = Margins(5.0, 20.0, 10.0)
    inside, outside = torch.tensor([20.0, 31.0]), torch.tensor([5.0, 0.0])
    assert float(margin_loss(inside, outside, margins)) == 0.0


def test_each_margin_costs_the_mean_over_what_breaks_it():
    margins = Margins(5.0, 20.0, 10.0)
    inside, outside = torch.tensor([12.0, 16.0, 30.0]), torch.tensor([8.0])
    between = ((8 - 12 + 10) + (8 - 16 + 10)) / 2
    above, below = 8 - 5, ((20 - 12) + (20 - 16)) / 2
    assert float(margin_loss(inside, outside, margins)) == pytest.approx(between + above + below)


@pytest.mark.parametrize("prompts_only", [True, False])
def test_the_gradient_of_the_activation_loss_is_that_of_finite_differences(prompts_only):
    host = host_of("wise", dtype=torch.float64)
    (path,) = host.modules
    base = host.weight(path).double()
    sides = [
        Side(host.hold(path, pairs), base, host.activation(), prompts_only=prompts_only)
        for pairs in (
            [(edit.prompt, edit.target) for edit in EDITS[:3]],
            [split_text(text) for text in TEXTS[:2]],
        )
    ]
    drawn = torch.Generator().manual_seed(0)
    weight = base + 0.1 * torch.randn(base.shape, generator=drawn, dtype=torch.float64)
    margins = Margins(0.1, 3.0, 1.0)

    def loss(at):
        return float(activation_gradient(*sides, at, margins)[0])

    value, gradient, _ = activation_gradient(*sides, weight, margins)
    assert value > 0
    for seed in range(3):
        way = torch.randn(base.shape, generator=drawn.manual_seed(seed + 1), dtype=torch.float64)
        step = 1e-6 * way / way.norm()
        difference = (loss(weight + step) - loss(weight - step)) / 2e-6
        assert difference == pytest.approx(float((gradient * way).sum() / way.norm()), rel=1e-5)


# Shards


def test_trimming_keeps_the_largest_and_density_one_keeps_all():
    change = torch.tensor([[3.0, -1.0], [0.5, -4.0]])
    assert trim(change, 0.5).tolist() == [[3.0, 0.0], [0.0, -4.0]]
    assert torch.equal(trim(change, 1.0), change)


def test_ties_of_one_shard_with_density_one_is_that_shard():
    change = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ties([change], [1.0], 1.0), change)


def test_ties_elects_a_sign_and_averages_what_agrees():
    first = torch.tensor([4.0, -1.0, 2.0, 0.1])
    second = torch.tensor([2.0, 3.0, -5.0, -0.2])
    # Trimmed at one half: [4, 0, 2, 0] and [0, 3, -5, 0]. Their sums: 4, 3, -3, 0.
    assert ties([first, second], [0.5, 0.5], 0.5).tolist() == [4.0, 3.0, -5.0, 0.0]
    # Untrimmed sums: 6, 2, -3, -0.1; of the first entries both agree.
    found = ties([first, second], [0.5, 0.5], 1.0)
    torch.testing.assert_close(found, torch.tensor([3.0, 3.0, -5.0, -0.2]))
    weighed = ties([first, second], [0.75, 0.25], 1.0)  # sums: 3.5, 0, 0.25, 0.025
    torch.testing.assert_close(weighed, torch.tensor([3.5, 0.0, 2.0, 0.1]))


def test_a_mask_lets_a_shard_change_its_share_of_the_weight_and_is_drawn_anew_for_the_next():
    editor = WISE(mask_ratio=0.3, save_freq=4, merge_freq=8)
    first, second = editor.mask((60, 50), 3), editor.mask((60, 50), 4)
    assert float(first.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(first, editor.mask((60, 50), 0))
    assert not torch.equal(first, second)
    assert not torch.equal(first, WISE(seed=1, save_freq=4, merge_freq=8).mask((60, 50), 0))


def test_without_decay_only_the_entries_of_the_mask_change():
    host = host_of("wise")
    editor = wise(weight_decay=0.0)
    (path,) = host.modules
    patch, _ = editor.step(host, Turn(1, tuple(EDITS[:2])), editor.init(host))
    mask = editor.mask(tuple(host.modules[path]), 0)
    change = patch.changes[path]
    assert change[mask].abs().max() > 0
    # Base plus change less base is off by the rounding of the base.
    assert change[~mask].abs().max() < 1e-6


def test_no_entry_leaves_the_constraint():
    host, editor = host_of("wise"), wise(norm_constraint=0.01)
    (path,) = host.modules
    patch, _ = editor.step(host, Turn(1, tuple(EDITS[:2])), editor.init(host))
    assert 0.009 < patch.changes[path].abs().max() <= 0.01 + 1e-6


@pytest.mark.parametrize("per_turn", [3, 16])
def test_shards_are_closed_and_merged_when_they_are_full_however_turns_are_cut(per_turn):
    host = host_of("wise")
    (path,) = host.modules
    editor = wise(save_freq=4, merge_freq=8)
    shards, seen = [], []
    for count in (4, 8, 12, 14):
        progress = run(host, editor, EDITS[:count], per_turn=per_turn)
        store = MemoryStore.unpack(progress.state)
        shards.append(len(store.shards))
        seen.append((store, host.change(path).clone()))
        host.weights.reset()
    assert shards == [1, 1, 2, 2]
    assert seen[0][1].abs().max() == 0  # the side memory begins anew
    assert seen[0][0].least == float("inf")
    assert seen[3][1].abs().max() > 0
    assert seen[3][0].edits == 14
    # What was closed stays.
    assert torch.equal(seen[1][0].shards[0].change, seen[3][0].shards[0].change)
    assert seen[1][0].shards[0].least <= seen[0][0].shards[0].least


def test_merges_go_into_one_memory_where_none_is_to_be_retrieved():
    host = host_of("wise")
    for retrieve, wanted in ((True, 2), (False, 1)):
        host.weights.reset()
        editor = wise(save_freq=2, merge_freq=4, retrieve=retrieve)
        state = run(host, editor, EDITS[:8]).state
        assert len(MemoryStore.unpack(state).shards) == wanted


# The router


def test_without_edits_every_sequence_gets_the_unedited_weight():
    host, editor = host_of("wise"), wise()
    with host.viewed(editor, editor.init(host)):
        assert chosen(host) == [0] * len(EDITS)


def test_edits_are_answered_from_their_memory_and_the_view_writes_nothing():
    host, editor = host_of("wise"), wise(save_freq=8, merge_freq=8)
    items = host.encode([(edit.prompt, edit.target) for edit in EDITS])
    plain = host.predict(items)
    progress = run(host, editor, EDITS[:8] + EDITS[8:12])
    stood = host.weights.snapshot()
    with host.viewed(editor, progress.state):
        found = chosen(host, EDITS[:12])
        assert all(found)
        assert {1, 2} >= set(found)
        assert host.predict(items) != plain
    assert all(torch.equal(stood[path], c) for path, c in host.weights.snapshot().items())


def test_a_threshold_above_every_distance_leaves_the_model_as_it_was():
    host, editor = host_of("wise"), wise(act_ratio=100.0)
    items = host.encode([(edit.prompt, edit.target) for edit in EDITS])
    plain = host.predict(items)
    progress = run(host, editor)
    assert host.predict(items) != plain
    with host.viewed(editor, progress.state):
        assert host.predict(items) == plain


def test_the_official_protocol_wants_more_of_the_prompt_and_routes_by_the_call():
    host = host_of("wise")
    ours, theirs = wise(), wise(protocol="official")
    state = ours.init(host)
    first, second = (e.step(host, Turn(1, tuple(EDITS[:1])), state)[0] for e in (ours, theirs))
    (path,) = host.modules
    assert not torch.equal(first.changes[path], second.changes[path])
    assert ours.view(host, state).per == "sequence"
    assert theirs.view(host, state).per == "batch"


LONG_TEXT = "The tower stands in Paris, the capital of France, and the Danube flows through Vienna"
OFFICIAL = {"edit_lr": 2.0, "n_iter": 5, "contexts": 4, "protocol": "official", "gamma": 1.5}


@pytest.mark.parametrize(
    ("arch", "tokenizer", "stop"),
    [
        ("llama", "bpe", None),
        ("llama", "sentencepiece", None),
        ("gpt2", "bpe", None),
        ("gemma3", "bpe", (1e3, 1e3)),
    ],
)
@pytest.mark.parametrize("text", ["The sun rises in the east", LONG_TEXT])
def test_the_official_protocol_writes_what_the_released_code_writes(
    arch, tokenizer, stop, text, tmp_path, monkeypatch
):
    """To 1e-4 of the change, over two edits; the threshold too."""
    if stop is not None:  # what is close and small is found after two steps
        monkeypatch.setattr("ultraedit.editors.wise.STILL", stop[0])
        monkeypatch.setattr("ultraedit.editors.wise.LEARNED", stop[1])
    (tmp_path / "texts.txt").write_text(text)
    host = host_of("wise", arch)
    host.language_model = replace(host.language_model, tokenizer=toy_tokenizer(tokenizer))
    lm, (path,) = host.language_model, host.modules
    module = lm.model.get_submodule(path)
    editor = wise(**OFFICIAL, locality=str(tmp_path / "texts.txt"))
    state = editor.init(host)
    contexts = unpack_texts(state["contexts"])
    assert len(contexts) == 4 and all(text.endswith(" ") for text in contexts)
    edits = [Edit("Who wrote it", "Jane Austen"), Edit("In which city is the tower?", "a b c")]
    patch, after = editor.step(host, Turn(1, tuple(edits)), state)

    stored = _Linear(module)
    mask = editor.mask(tuple(host.modules[path]), 0).T
    options = {"alpha": 0.5, "beta": 2.0} | {k: OFFICIAL[k] for k in ("edit_lr", "n_iter", "gamma")}
    weight, least = stored.weight.clone(), float("inf")
    for edit in edits:
        prompts = [context + edit.prompt for context in ("", *contexts)]
        batch = batch_of(lm.tokenizer, prompts, edit.target, text)
        with stored.in_place(lm.model, path):
            weight, distance, steps = naive_wise(
                *(lm.model, stored, host.activation(), batch, weight, mask, options),
                **({} if stop is None else {"stop": stop}),
            )
        assert steps == (5 if stop is None else 2)
        least = min(least, distance)
    wanted = (weight - stored.weight).T
    assert float((patch.changes[path] - wanted).norm()) < 1e-4 * float(wanted.norm())
    assert float(after["least"]) == pytest.approx(least, rel=1e-4)


class _Linear(torch.nn.Module):
    """A linear layer that holds its weight as (d_out, d_in), whatever the model's own does."""

    def __init__(self, module):
        super().__init__()
        weight = module.weight.detach()
        self.weight = weight.clone() if isinstance(module, torch.nn.Linear) else weight.T.clone()
        self.bias = module.bias

    def forward(self, x):
        return x @ self.weight.T + (0 if self.bias is None else self.bias)

    @contextmanager
    def in_place(self, model, path):
        parent, _, name = path.rpartition(".")
        before = model.get_submodule(path)
        setattr(model.get_submodule(parent), name, self)
        try:
            yield
        finally:
            setattr(model.get_submodule(parent), name, before)


def test_all_tokens_of_an_answer_are_trained_however_short_the_unrelated_text_is(tmp_path):
    (tmp_path / "texts.txt").write_text("It is")
    host = host_of("wise")
    editor = wise(**OFFICIAL, locality=str(tmp_path / "texts.txt"))
    target = "the capital of France"
    rows = together(host.language_model.tokenizer, [("Where?", target)], [("It", "is")])
    length = len(host.encode([("Where?", target)])[0].answer_ids)
    assert len(rows.input_ids[0]) - rows.wanted_from[0] == length > 1
    editor.step(host, Turn(1, (Edit("Where?", target),)), editor.init(host))


def test_contexts_of_the_official_protocol_have_what_the_model_adds_and_a_blank():
    asked = []

    class Host:
        def __init__(self):
            self.modules = {"layer": None}

        def answer(self, prompts, tokens):
            asked.append(list(zip(prompts, tokens, strict=True)))
            return ["more"] * len(prompts)

        read_lines = staticmethod(read_lines)

    contexts = {
        protocol: unpack_texts(WISE(protocol=protocol, contexts=6).init(Host())["contexts"])
        for protocol in ("official", "paper")
    }
    assert asked[0][0] == ("I", 5) and asked[0][5] == ("I", 10)
    assert asked[1][0] == ("I", 4) and asked[1][5] == ("I", 9)
    assert contexts["official"][0] == "I more "
    assert contexts["paper"][0] == "I more. "


def test_more_unrelated_texts_and_contexts_are_taken_where_asked_for():
    host = host_of("wise")
    (path,) = host.modules
    turn = Turn(1, tuple(EDITS[:1]))
    found = []
    for options in ({"unrelated": 1}, {"unrelated": 5}, {"contexts": 0}, {"contexts": 3}):
        editor = wise(**options)
        found.append(editor.step(host, turn, editor.init(host))[0].changes[path])
    assert all(not torch.equal(a, b) for i, a in enumerate(found) for b in found[:i])


def test_unrelated_texts_come_from_a_file_and_are_remembered(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("The sea is salty\n\nWhat is black and white? a zebra\n")
    assert read_texts(str(file), read_lines) == [
        "The sea is salty",
        "What is black and white? a zebra",
    ]
    host, editor = host_of("wise"), wise(locality=str(file))
    state = editor.init(host)
    file.unlink()
    editor.step(host, Turn(1, tuple(EDITS[:2])), state)
    with pytest.raises(ConfigError, match="locality must be built-in or the path of a file"):
        editor.init(host)
    file.write_text("alone\n")
    with pytest.raises(DataError, match="'alone' has a single word"):
        editor.init(host)
    file.write_text("\n")
    with pytest.raises(DataError, match="holds no text"):
        editor.init(host)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edit_lr": 0}, r"edit_lr must be a positive number, got 0\.0"),
        ({"alpha": -1}, r"alpha must be zero or a positive number, got -1\.0"),
        ({"mask_ratio": 1.5}, r"mask_ratio must be above 0 and at most 1, got 1\.5"),
        ({"n_iter": 0}, "n_iter must be at least 1, got 0"),
        ({"merge_freq": 700}, "merge_freq must be a multiple of save_freq, got 700 and 500"),
        ({"contexts": 11}, "contexts must be 0 to 10, got 11"),
        ({"protocol": "both"}, "protocol must be 'paper' or 'official', got 'both'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_editor("wise", options)


def test_two_layers_are_refused():
    host = host_of("ft-m")
    with pytest.raises(ConfigError, match="WISE edits one layer, but 2 were chosen"):
        make("wise").init(host)


def test_nobody_wraps_it():
    with pytest.raises(ConfigError, match="base must be an editor that itself changes weights"):
        make_editor("simie", {"base": "wise"})


def test_what_it_says_of_itself_counts_its_memories():
    host, editor = host_of("wise"), wise(save_freq=4, merge_freq=8)
    state = run(host, editor, EDITS[:6]).state
    said = editor.remarks(host, state)
    assert said["memories"] == "a side memory and 1 closed, of 6 edits"
    assert len(said["thresholds"].split(", ")) == 2
