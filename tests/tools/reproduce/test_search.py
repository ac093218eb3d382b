"""The search: a declared space, as many trials for all, on other rows; the best one is used."""

from __future__ import annotations

import json

import pytest

from tests.tools.reproduce.test_long import PLAN, environment, quick, root  # noqa: F401
from ultraedit.core.errors import DataError
from ultraedit.core.types import NullObserver
from ultraedit.editors import EDITORS, make_editor
from ultraedit.tools.reproduce import carry_out, ordered
from ultraedit.tools.reproduce import search as searching
from ultraedit.tools.reproduce.long import COMPARED, trial_runs
from ultraedit.tools.reproduce.names import METHODS, Wanted
from ultraedit.tools.reproduce.search import (
    SPACE,
    TRIALS,
    Behind,
    best,
    chosen,
    collect,
    name_of,
    objective,
    trials_of,
    write,
)


@pytest.mark.parametrize("editor", SPACE)
def test_every_editor_has_as_many_trials_and_all_can_be_made(editor):
    trials = trials_of(editor)
    assert len(trials) == TRIALS == 12
    assert trials[0] == {}
    assert len({json.dumps(each) for each in trials}) == TRIALS
    assert trials == trials_of(editor)
    for options in trials:
        make_editor(editor, options)


def test_all_that_are_compared_have_a_space_but_those_with_a_net():
    compared = {METHODS[method].editor for method in COMPARED}
    without = {name for name in compared if name not in SPACE}
    assert without == {name for name in compared if EDITORS[name].needs_training}


def test_the_objective_is_the_harmonic_mean():
    scores = {"efficacy": 1.0, "generalization": 0.5, "agreement": 0.25}
    assert objective(scores) == pytest.approx(3 / (1 + 2 + 4))
    assert objective(scores | {"agreement": 0.0}) == 0
    assert objective(scores | {"agreement": None}) == 0


def test_the_best_is_known_once_all_are_made():
    made = [{"objective": 0.2}, {"objective": 0.5}, {"objective": 0.5}]
    assert best(made) is made[1]
    failed = {"objective": None, "why": "The loss is not finite."}
    assert best([failed, *made]) is made[1]
    assert best([*made, {"objective": None, "why": "not made"}]) is None


@pytest.fixture
def longer(tmp_path, monkeypatch):
    """Searches of three rows behind the first two, and of two trials."""
    monkeypatch.setattr(searching, "FIRST_ROW", 2)
    monkeypatch.setattr(searching, "ROWS", 3)
    monkeypatch.setattr(searching, "TRIALS", 2)


def test_trials_are_made_on_other_rows_and_the_best_is_used(environment, root, longer):  # noqa: F811
    made = environment()
    wanted = Wanted("llama-3", "ultraedit", "zsre")
    before = made.run(wanted)
    trials = trial_runs(PLAN, made)["ultraedit"]
    steps = list(ordered(run for _, run in trials))
    outcome = carry_out(steps, made.out, NullObserver(), isolated=False)
    assert outcome.failed == {}
    (behind,) = trials[0][1].needs
    rows = json.loads((root / "zsre" / "zsre.json").read_text())
    assert json.loads((made.out / behind.place).read_text()) == rows[2:5]
    found = {"ultraedit": collect(trials, made.out)}
    assert [row["options"] for row in found["ultraedit"]] == trials_of("ultraedit")
    for row in found["ultraedit"]:
        assert row["objective"] == pytest.approx(objective(row))
    model = made.model("llama-3")
    write(found, made.out / "trials" / name_of(model, "zsre"))
    options = best(found["ultraedit"])["options"]
    assert chosen("ultraedit", model, "zsre", made.out) == options
    after = made.run(wanted).settings["options"]
    assert after == {**before.settings["options"], **options}
    auto = made.run(wanted._replace(method="ultraedit-auto"))
    assert auto.settings["options"] == {"eta": "auto"}
    assert trial_runs(PLAN, made)["ultraedit"] == trials


def test_a_file_that_is_too_short_is_refused(tmp_path):
    (tmp_path / "facts.json").write_text("[]")
    with pytest.raises(DataError, match="has no 60 rows behind the first 5,000"):
        Behind("zsre", tmp_path / "facts.json").carry_out(tmp_path, NullObserver())
