"""What the monitors see, each beside a slow way to see it."""

from __future__ import annotations

import math

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Additive, Edit, Question
from ultraedit.evaluation.monitors import Control, Guard, Locality, Spectra, control_edits
from ultraedit.host.host import ModelHost

PATTERNS = ["layers.[1-2].mlp.down_proj"]


@pytest.fixture
def host():
    return ModelHost(tiny_model("llama", layers=3), PATTERNS)


def change(host, scale=0.3, rank=None):
    """Change every edited weight, by a matrix of a rank if one is given."""
    torch.manual_seed(1)
    changes = {}
    for path, shape in host.modules.items():
        if rank is None:
            changes[path] = scale * torch.randn(shape.d_in, shape.d_out)
        else:
            left, right = torch.randn(shape.d_in, rank), torch.randn(rank, shape.d_out)
            changes[path] = scale * left @ right
    host.weights.apply(Additive(changes))
    return changes


def test_spectra_are_those_of_a_singular_value_decomposition(host):
    zero = Spectra(host).measure()
    assert all(values == {"norm": 0, "leading": 0, "effective_rank": 0} for values in zero.values())
    changes = change(host)
    for path, values in Spectra(host).measure().items():
        singular = torch.linalg.svdvals(changes[path].double())
        shares = singular / singular.sum()
        base = host.weight(path) - changes[path]
        assert values["leading"] == pytest.approx(float(singular[0]), rel=1e-5)
        assert values["effective_rank"] == pytest.approx(
            math.exp(-float((shares * shares.log()).sum())), rel=1e-4
        )
        assert values["norm"] == pytest.approx(float(changes[path].norm() / base.norm()), rel=1e-4)


def test_a_change_of_one_direction_has_rank_one(host):
    change(host, rank=1)
    assert all(
        v["effective_rank"] == pytest.approx(1, abs=1e-3) for v in Spectra(host).measure().values()
    )


def localities(count):
    prompts = [f"Which river flows through city {i}?" for i in range(count)]
    return [Edit("a", "b", locality=(Question(prompt, None),)) for prompt in prompts]


def next_token(host, prompt):
    ids = torch.tensor([host.language_model.tokenizer(prompt).input_ids])
    with torch.no_grad():
        return host.language_model.model(ids).logits[0, -1].double().log_softmax(-1)


def test_locality_is_the_divergence_after_each_prompt(host):
    edits = localities(5)
    prompts = [edit.locality[0].prompt for edit in edits]
    before = [next_token(host, prompt) for prompt in prompts]
    monitor = Locality(host, edits)
    same = monitor.measure()
    assert (same["kl"], same["agreement"], same["prompts"]) == (0, 1, 5)
    change(host)
    after = [next_token(host, prompt) for prompt in prompts]
    seen = monitor.measure()
    kl = [float((b.exp() * (b - a)).sum()) for b, a in zip(before, after, strict=True)]
    alike = [int(b.argmax() == a.argmax()) for b, a in zip(before, after, strict=True)]
    assert seen["kl"] == pytest.approx(sum(kl) / 5, rel=1e-4)
    assert seen["agreement"] == pytest.approx(sum(alike) / 5)


def test_a_prompt_counts_once_and_no_more_than_64_are_asked(host):
    assert Locality(host, [*localities(3), *localities(3)]).measure()["prompts"] == 3
    assert Locality(host, localities(80)).measure()["prompts"] == 64
    with pytest.raises(ConfigError, match="no locality questions"):
        Locality(host, [Edit("a", "b")])


def test_control_questions_are_behind_the_edited_rows_and_not_among_them(tmp_path):
    names = ["a", "b", "c", "a", "d", "d", "e"]
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(f'{{"prompt": "{n}?", "target": "x"}}\n' for n in names))
    found = control_edits(str(path), ["a?", "b?", "c?"], 3, 2, 0)
    assert [edit.prompt for edit in found] == ["d?", "e?"]
    with pytest.raises(DataError, match="has 2 that it does not, and --control asks for 3"):
        control_edits(str(path), ["a?", "b?", "c?"], 3, 3, 0)


def test_control_is_the_efficacy_of_edits_that_are_not_made(host):
    from ultraedit.evaluation.scoring import evaluate

    edits = [Edit(f"Who is {n}?", "a river", rephrases=(f"{n} is",)) for n in ("Ada", "Jane")]
    seen = Control(host, edits).measure()
    expected = evaluate(host, edits, free_answers=0).scores
    assert seen == {
        "efficacy": expected.efficacy,
        "generalization": expected.generalization,
        "edits": 2,
    }


NOW = {
    "locality": {"kl": 0.4, "agreement": 0.7},
    "control": {"efficacy": 0.2},
}


@pytest.mark.parametrize(
    ("name", "lets", "stops"),
    [
        ("norm", 0.6, 0.4),
        ("perplexity", 1.6, 1.4),
        ("kl", 0.5, 0.3),
        ("agreement", 0.6, 0.8),
        ("control", 0.1, 0.3),
    ],
)
def test_a_guard_lets_through_up_to_its_threshold(name, lets, stops):
    norms = {"one": 0.1, "two": 0.5}
    assert Guard({name: lets}).breach(norms, NOW, 1.5) is None
    why = Guard({name: stops}).breach(norms, NOW, 1.5)
    assert why is not None
    assert f"{'above' if stops < lets else 'below'} the limit {stops:.4g}" in why


def test_a_value_that_is_no_number_is_not_let_through():
    now = {"locality": {"kl": math.nan, "agreement": 1.0}}
    assert "nan" in (Guard({"kl": 5.0}).breach({}, now) or "")


def test_guards_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="A guard knows no 'norms'"):
        Guard({"norms": 1.0})
    with pytest.raises(ConfigError, match="guard kl must be a number from 0, got nan"):
        Guard({"kl": math.nan})
    with pytest.raises(ConfigError, match="--guard perplexity needs --perplexity FILE"):
        Guard({"perplexity": 2.0}).require(frozenset({"spectrum"}))


def test_what_lies_below_the_edited_layers_is_computed_once_for_all_measurements(host):
    host.use_trunk()
    monitor = Locality(host, localities(3))
    assert host.trunk is not None
    computed = host.trunk.computed
    assert monitor.measure()["agreement"] == 1
    assert (host.trunk.computed, host.trunk.reused) == (computed, 3)
