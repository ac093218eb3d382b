"""What is special about fine-tuning: Adam on the stated loss, its constraint, its batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.editors.test_contract import EDITS, host_of, run
from tests.host.trace.test_gradients import by_autograd
from tests.naive.ft import naive_ft_l
from tests.tiny import tiny_model, toy_tokenizer
from ultraedit.core.encoding import released_targets
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import ModuleShape, Turn, WeightGradients
from ultraedit.editors import EDITORS, make_editor, name_of
from ultraedit.editors.ft import FT
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.session import edit

TURN = Turn(1, tuple(EDITS[:6]))


class Bowl:
    """A host whose loss on every edit is the squared distance of its weight from ones."""

    def __init__(self, *, loss=None):
        self.modules = {"layer": ModuleShape(3, 2)}
        self.base = torch.zeros(3, 2, dtype=torch.float64)
        self.asked = []
        self.seen = []
        self.loss = loss

    def weight(self, path):
        return self.base

    def weight_gradients(self, edits, weights, *, at="answer", end_token=False):
        self.asked.append((tuple(edit.id for edit in edits), at, end_token))
        self.seen.append(weights["layer"].clone())
        away = weights["layer"] - 1
        loss = float(away.square().sum()) if self.loss is None else self.loss(len(self.asked))
        return WeightGradients(torch.full((len(edits),), loss), {"layer": 2 * away})


def moved(editor, host, turn=TURN):
    patch, state = editor.step(host, turn, {})
    assert state == {}
    return patch.changes["layer"]


def adam(weight, gradient, steps, lr):
    """Adam as its paper writes it (Kingma and Ba, 2015, Algorithm 1)."""
    m, v = torch.zeros_like(weight), torch.zeros_like(weight)
    for t in range(1, steps + 1):
        g = gradient(weight)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        weight = weight - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return weight


def test_the_weights_follow_adam_step_by_step():
    host = Bowl()
    found = moved(FT(lr=0.05, epochs=4, batch_size=2), host)
    expected = adam(host.base, lambda w: 2 * (w - 1), 4 * 3, 0.05)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert torch.equal(host.base, torch.zeros(3, 2, dtype=torch.float64))


def test_weight_decay_pulls_towards_zero():
    decayed = moved(FT(lr=0.05, epochs=4, weight_decay=0.5), Bowl())
    expected = adam(Bowl().base, lambda w: 2 * (w - 1) + 0.5 * w, 4 * 6, 0.05)
    torch.testing.assert_close(decayed, expected, rtol=1e-12, atol=0)


def test_the_constraint_holds_after_every_step():
    host = Bowl()
    found = moved(FT(lr=0.05, epochs=4, norm_constraint=0.12), host)
    assert all(float(weight.abs().max()) <= 0.12 for weight in host.seen)
    assert torch.equal(found, torch.full_like(found, 0.12))
    free = Bowl()
    moved(FT(lr=0.05, epochs=4), free)
    assert any(float(weight.abs().max()) > 0.12 for weight in free.seen)


def test_the_constraint_starts_anew_every_turn():
    host = host_of("ft-m")
    editor = FT(lr=1e-2, epochs=3, norm_constraint=2e-3)
    start = {path: host.weight(path).clone() for path in host.modules}
    run(host, editor, EDITS[:8], per_turn=8)
    once = {path: (host.weight(path) - start[path]).abs().max() for path in start}
    run(host, editor, EDITS[:8], per_turn=8, first=2)
    for path in start:
        assert float(once[path]) == pytest.approx(2e-3, rel=1e-3)
        twice = float((host.weight(path) - start[path]).abs().max())
        assert 2e-3 * 1.01 < twice <= 4e-3 * 1.001


def test_a_learned_batch_is_skipped_and_a_learned_turn_ends():
    host = Bowl(loss=lambda call: 0.001 if call == 2 else 1.0)
    moved(FT(lr=0.05, epochs=1, batch_size=2), host)
    assert not torch.equal(host.seen[1], host.seen[0])
    assert torch.equal(host.seen[2], host.seen[1])
    learned = Bowl(loss=lambda call: 1.0 if call <= 3 else 0.001)
    moved(FT(lr=0.05, epochs=9, batch_size=2), learned)
    assert len(learned.asked) == 6
    everything = Bowl(loss=lambda call: 0.001)
    assert not moved(FT(lr=0.05), everything).any()


def test_an_epoch_takes_every_edit_once():
    host = Bowl()
    moved(FT(lr=1e-4, epochs=2, batch_size=4), host)
    ids = tuple(edit.id for edit in TURN.edits)
    assert [asked[0] for asked in host.asked] == [ids[:4], ids[4:]] * 2


def test_shuffled_batches_differ_by_epoch_and_not_by_run():
    editor = FT(lr=1e-4, epochs=2, batch_size=2, shuffle=True)
    first, again, later = Bowl(), Bowl(), Bowl()
    moved(editor, first)
    moved(editor, again)
    moved(editor, later, Turn(2, TURN.edits))
    assert first.asked == again.asked != later.asked
    epochs = [[name for asked in first.asked[n : n + 3] for name in asked[0]] for n in (0, 3)]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(edit.id for edit in TURN.edits)


@pytest.mark.parametrize(
    ("name", "batches", "at", "end_token"),
    [("ft-l", 6, "last-prompt", False), ("ft-m", 6, "answer", False), ("ft-bf", 1, "answer", True)],
)
def test_the_three_rows_differ_in_objective_batches_and_end_token(name, batches, at, end_token):
    host = Bowl()
    editor = make_editor(name, {"epochs": 1})
    moved(editor, host)
    assert [asked[1:] for asked in host.asked] == [(at, end_token)] * batches
    assert name_of(editor) == name
    assert name_of(None) is None
    assert EDITORS[name].needs_subject is EDITORS[name].needs_training is False


def test_one_step_goes_down_the_gradient_that_autograd_forms():
    """The sign of Adam's first step is minus that of the gradient, and its size is lr."""
    host = host_of("ft-l")
    model = host.language_model.model
    modules = {path: model.get_submodule(path) for path in host.modules}
    edits = EDITS[:4]
    items = host.encode([(edit.prompt, edit.target) for edit in edits])
    editor = make_editor("ft-l", {"epochs": 1, "batch_size": 4, "lr": 1e-3})
    patch, _ = editor.step(host, Turn(1, tuple(edits)), {})
    _, grads = by_autograd(model, modules, items, "last-prompt")
    for path, change in patch.changes.items():
        clear = grads[path].abs() > 1e-4 * grads[path].abs().max()
        assert clear.float().mean() > 0.9
        expected = -1e-3 * grads[path].sign()
        torch.testing.assert_close(change[clear], expected[clear], rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("tokenizer", ["sentencepiece", "bpe"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_official_ft_l_is_that_of_the_released_codes(tokenizer, batch_size):
    """To 1e-4 of the change; the sentencepiece tokenizer puts a BOS before every text."""
    host = host_of("ft-l", dtype=torch.float64)
    host.language_model = replace(host.language_model, tokenizer=toy_tokenizer(tokenizer))
    (path, *_) = host.modules
    module = host.language_model.model.get_submodule(path)
    options = {"lr": 1e-3, "epochs": 3, "batch_size": batch_size, "norm_constraint": 2e-3}
    expected = naive_ft_l(
        host.language_model.model, toy_tokenizer(tokenizer), module, EDITS[:6], **options
    ).T
    alone = ModelHost(host.language_model, [path])
    turn = Turn(1, tuple(EDITS[:6]))
    apart = {}
    for protocol in ("official", "paper"):
        editor = make_editor("ft-l", options | {"protocol": protocol})
        change = editor.step(alone, turn, {})[0].changes[path]
        apart[protocol] = float((change - expected).norm() / expected.norm())
    assert apart["official"] < 1e-4
    # Without a BOS and without padding there is nothing that the two could differ in.
    assert (apart["paper"] < 1e-4) == (tokenizer == "bpe" and batch_size == 1)


def test_a_bos_is_a_target_of_the_official_protocol_and_unknown_padding_is_none():
    tokenizer = toy_tokenizer("sentencepiece")
    bos, pad = tokenizer.bos_token_id, tokenizer.pad_token_id
    short, long = released_targets(tokenizer, ["Paris", "the capital of France"])
    plain = tokenizer([" Paris"], add_special_tokens=False)["input_ids"][0]
    assert long[0] == bos and len(long) > len(plain) + 1
    assert short == (bos, *plain, *[pad] * (len(long) - len(plain) - 1))
    assert released_targets(tokenizer, ["Paris"]) == [(bos, *plain)]


def test_teacher_forcing_has_no_official_protocol():
    with pytest.raises(ConfigError, match="protocol=official is of the objective last-prompt"):
        make_editor("ft-m", {"protocol": "official"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, r"lr must be a positive number, got 0\.0"),
        ({"lr": float("inf")}, "lr must be a positive number, got inf"),
        ({"norm_constraint": -1.0}, r"norm_constraint must be a positive number, got -1\.0"),
        ({"weight_decay": -0.1}, r"weight_decay must be zero or a positive number, got -0\.1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        FT(**options)


def test_without_modules_fine_tuning_edits_at_its_own_depth():
    lm = tiny_model("llama", layers=12)
    before = {n: p.clone() for n, p in lm.model.named_parameters()}
    edit(lm, EDITS[:2], FT(lr=1e-2, epochs=1), free_answers=0)
    changed = {n for n, p in lm.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {"model.layers.8.mlp.down_proj.weight"}
