"""Trials on a model, and a whole search with what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit import models
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Edit, Question
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.lifelong.session import edit
from ultraedit.runs.config import make_config
from ultraedit.runs.resolution import resolve
from ultraedit.tools.tune import Candidate, TrialRunner, TuneConfig, tune
from ultraedit.tools.tune import tuning as tuning_module
from ultraedit.tools.tune.trials import with_controls
from ultraedit.tools.tune.tuning import split

ANSWERS = ["French", "Jane Austen", "Paris", "the Danube", "Dutch", "Apple", "1843", "George"]
EDITS = [
    Edit(
        f"Who or what in the list is number {n}?",
        ANSWERS[n % len(ANSWERS)],
        rephrases=(f"Number {n} in the list is",),
        locality=(Question(f"Which river flows through city {n}?", "The Danube"),),
    )
    for n in range(80)
]
MODULES = ("layers.[2].mlp.down_proj",)


def weights(model):
    return {name: weight.clone() for name, weight in model.model.named_parameters()}


def scores(trial):
    return trial.efficacy, trial.generalization, trial.agreement


@pytest.fixture
def facts(tmp_path) -> str:
    rows = [
        {
            "prompt": edit.prompt,
            "target": edit.target,
            "rephrases": list(edit.rephrases),
            "locality": [question._asdict() for question in edit.locality],
        }
        for edit in EDITS
    ]
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return f"jsonl:{path}"


@pytest.fixture
def tiny(tmp_path) -> str:
    models.save(tiny_model("llama", layers=4), tmp_path / "tiny")
    return str(tmp_path / "tiny")


def test_a_trial_scores_what_a_run_scores_and_leaves_the_model_as_it_was():
    model = tiny_model("llama", layers=4)
    before = weights(model)
    bench = TrialRunner(model, EDITS[:24], edits_per_turn=10)
    found = bench.trial(Candidate(MODULES, step=2.0), 24)
    assert all(torch.equal(before[name], now) for name, now in weights(model).items())
    editor = UltraEdit(**Candidate(MODULES, step=2.0).options(24))
    run = edit(model, EDITS[:24], editor, modules=MODULES, edits_per_turn=10, free_answers=0)
    after = run.after.scores
    assert scores(found) == pytest.approx(
        (after.efficacy, after.generalization, after.agreement), abs=0.03
    )
    assert found.agreement < 1 and found.etas  # it has changed something
    bench.close()


def test_trials_are_the_same_with_the_trunk_and_without_and_in_any_order():
    model = tiny_model("llama", layers=4)
    plain = TrialRunner(model, EDITS[:24], trunk=False)
    cached = TrialRunner(model, EDITS[:24])
    other = ("layers.[2].mlp.up_proj",)
    for modules in (other, MODULES, MODULES):  # the second time all states are at hand
        ours = cached.trial(Candidate(modules), 24)
        theirs = plain.trial(Candidate(modules), 24)
        assert scores(ours) == pytest.approx(scores(theirs), abs=0.03)
        assert ours.etas == pytest.approx(theirs.etas, rel=1e-3)
    assert len(cached._stores) == 1  # both sets begin at the same layer
    cached.close()


def test_a_step_that_was_found_once_is_not_looked_for_again(monkeypatch):
    model = tiny_model("llama", layers=4)
    one, other = TrialRunner(model, EDITS[:24]), TrialRunner(model, EDITS[:24])
    fresh = other.trial(Candidate(MODULES, step=2.0), 24)
    one.trial(Candidate(MODULES, step=0.5), 24)

    def looked(*_):
        raise AssertionError("the step was looked for again")

    monkeypatch.setattr(UltraEdit, "settle", looked)
    again = one.trial(Candidate(MODULES, step=2.0), 24)
    assert again.etas == pytest.approx(fresh.etas) and scores(again) == scores(fresh)
    with pytest.raises(AssertionError, match="looked for again"):
        one.trial(Candidate(MODULES, ridge=2.0), 24)


def test_facts_without_locality_are_compared_on_questions_of_other_rows():
    bare = [Edit(edit.prompt, edit.target) for edit in EDITS]
    found = with_controls(bare[:5], bare[5:8])
    assert [edit.locality[0].prompt for edit in found] == [bare[5 + n % 3].prompt for n in range(5)]
    assert with_controls(EDITS[:5], EDITS[5:]) == EDITS[:5]


def test_the_rows_are_the_last_ones_and_none_is_in_both_parts():
    tuning, held_out = split(EDITS, 30, 20)
    assert tuning == EDITS[30:60] and held_out == EDITS[60:]
    repeated = [*EDITS[:79], Edit(EDITS[59].prompt, "again")]
    assert split(repeated, 30, 20)[1] == EDITS[60:79]
    smaller, rest = split(EDITS[:40], 30, 20)
    assert (len(smaller), len(rest)) == (24, 16)
    with pytest.raises(DataError, match="12 rows are too few"):
        split(EDITS[:12], 30, 20)


def small(tiny, facts, **values):
    base = {"rows": 24, "held_out": 20, "edits_per_turn": 12, "dtype": "float32"}
    sets = (MODULES, ("layers.[1].mlp.up_proj",))
    return TuneConfig(model=tiny, data=facts, modules=sets, **(base | values))


def test_a_search_leaves_a_preset_that_a_run_takes(tiny, facts, tmp_path):
    out = tmp_path / "found" / "tuned.toml"
    out.parent.mkdir()
    found = tune(small(tiny, facts), out)
    assert found.held_out.rows == 20 and found.start.candidate.step == 1.0
    assert found.held_out.candidate == found.best.candidate
    config = make_config({"model": tiny, "data": facts, "preset": str(out)})
    settings = resolve(config, models.load_config(tiny), edits=50)
    expected = found.best.candidate.options(50)
    assert {name: getattr(settings.editor, name) for name in expected} == expected
    assert settings.modules == found.best.candidate.modules
    assert settings.sources["modules"] == settings.sources["eta"] == f"tuned {out}"
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "Held out, 20 other rows" in out.read_text(encoding="utf-8")


def test_an_interrupted_search_keeps_the_best_and_goes_on(tiny, facts, tmp_path, monkeypatch):
    out = tmp_path / "tuned.toml"
    made = []
    real = TrialRunner.trial

    def interrupted(self, candidate, rows, observer=None):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append((candidate, rows))
        return real(self, candidate, rows)

    monkeypatch.setattr(TrialRunner, "trial", interrupted)
    found = tune(small(tiny, facts), out)
    assert found.interrupted and found.held_out is None and len(found.trials) == 3
    assert models.load_preset(out).tuned
    with out.with_suffix(".trials.jsonl").open("a") as file:
        file.write('{"candidate": {"modu')  # killed while it wrote
    monkeypatch.setattr(TrialRunner, "trial", real)
    whole = tune(small(tiny, facts), out)
    assert whole.trials[:3] == found.trials and not whole.interrupted
    with pytest.raises(ConfigError, match="holds the trials of another search"):
        tune(small(tiny, facts, rows=22), out)


def test_an_interrupt_before_the_first_trial_is_passed_on(tiny, facts, tmp_path, monkeypatch):
    def at_once(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning_module, "search", at_once)
    with pytest.raises(KeyboardInterrupt):
        tune(small(tiny, facts), tmp_path / "tuned.toml")
    assert not Path(tmp_path / "tuned.toml").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget": 0.0}, "budget must be a positive number, got 0.0"),
        ({"rows": 5}, "rows must be at least 20, got 5"),
        ({"held_out": 5}, "held-out must be at least 20, got 5"),
    ],
)
def test_what_no_search_can_be_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        TuneConfig(model="m", data="jsonl:f", **values)
