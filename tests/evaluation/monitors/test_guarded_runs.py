"""Runs that are watched, and runs that a guard ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit import models, report
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import NullObserver
from ultraedit.runs import workflow
from ultraedit.runs.base_model import open_host
from ultraedit.runs.config import make_config
from ultraedit.runs.replay import restore
from ultraedit.runs.store import JOURNAL, Journal
from ultraedit.runs.verify import verify

NAMES = ("Ada", "Jane", "George", "Thomas", "Emma", "Paul", "Anna", "Otto", "Rosa", "Karl")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    models.save(tiny_model("llama", layers=3), folder / "tiny")
    facts = [
        {
            "prompt": f"What is the native language of {name}?",
            "target": ("French", "Dutch", "English")[n % 3],
            "locality": [
                {"prompt": f"Which river flows through city {n}?", "target": "The Danube"}
            ],
        }
        for n, name in enumerate(NAMES)
    ]
    (folder / "facts.jsonl").write_text("".join(f"{json.dumps(fact)}\n" for fact in facts))
    (folder / "text.txt").write_text("The tower stands in Paris, the capital of France. " * 9)
    return folder


@pytest.fixture
def config(place):
    def make(**values):
        base = {
            "model": str(place / "tiny"),
            "data": f"jsonl:{place / 'facts.jsonl'}",
            "limit": 8,
            "edits_per_turn": 2,
            "evaluate_every": 1,
            "free_answers": 0,
            "options": {"eta": "auto", "alpha": 2.0, "passes": 1},
            "dtype": "float32",
            "save_model": False,
        }
        return make_config(base | values)

    return make


@pytest.fixture(autouse=True)
def without_report(monkeypatch):
    monkeypatch.setattr(report, "write", lambda folder: None)


def records(folder, kind):
    lines = (folder / "records.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def weights_at(folder, turn):
    journal = Journal.open(folder / JOURNAL)
    try:
        host, settings = open_host(journal, NullObserver())
        restore(host, settings.editor, journal, turn)
        return host.weights.snapshot()
    finally:
        journal.close()


def watched(place):
    return {
        "monitor": "spectrum,locality",
        "perplexity": str(place / "text.txt"),
        "control": 2,
    }


def test_every_checkpoint_has_what_the_monitors_saw(config, place, tmp_path):
    workflow.run(config(**watched(place)), tmp_path / "run")
    found = records(tmp_path / "run", "checkpoint")
    assert [row["turn"] for row in found] == [0, 1, 2, 3, 4]
    for row in found:
        assert set(row["monitors"]) == {"spectrum", "locality", "control"}
    assert found[0]["monitors"]["locality"] == {"kl": 0.0, "agreement": 1.0, "prompts": 8}
    divergences = [row["monitors"]["locality"]["kl"] for row in found]
    assert all(kl > 0 for kl in divergences[1:])
    last, turn = found[-1]["monitors"]["spectrum"], records(tmp_path / "run", "turn")[-1]
    assert {path: seen["norm"] for path, seen in last.items()} == turn["norms"]
    assert found[0]["scores"]["perplexity"] != found[-1]["scores"]["perplexity"]


def test_watching_changes_nothing_in_the_weights(config, place, tmp_path):
    workflow.run(config(), tmp_path / "plain")
    workflow.run(config(**watched(place)), tmp_path / "watched")
    plain, seen = (weights_at(tmp_path / name, 4) for name in ("plain", "watched"))
    assert all(torch.equal(plain[path], seen[path]) for path in plain)


def limit_of(config, tmp_path, turn):
    """A norm that is passed at a turn and not before it."""
    workflow.run(config(), tmp_path / "free")
    norms = [max(row["norms"].values()) for row in records(tmp_path / "free", "turn")]
    assert norms == sorted(norms)
    return (norms[turn - 2] + norms[turn - 1]) / 2


def test_a_guard_ends_the_run_after_the_turn_and_says_why(config, tmp_path):
    limit = limit_of(config, tmp_path, 3)
    done = workflow.run(config(guard={"norm": limit}), tmp_path / "run")
    assert (done.summary["turns"], done.summary["edits"], done.summary["scored"]) == (3, 6, 6)
    why = done.summary["remarks"]["guard"]
    assert why.startswith("ended after turn 3: the largest relative change of a weight is")
    assert workflow.resume(tmp_path / "run") is None
    ended, free = (weights_at(tmp_path / name, 3) for name in ("run", "free"))
    assert all(torch.equal(ended[path], free[path]) for path in free)


def test_a_guard_takes_the_last_turn_back(config, tmp_path):
    limit = limit_of(config, tmp_path, 3)
    done = workflow.run(config(guard={"norm": limit}, guard_action="back"), tmp_path / "run")
    assert (done.summary["turns"], done.summary["edits"], done.summary["scored"]) == (2, 4, 4)
    assert done.summary["remarks"]["guard"].startswith("turn 3 was taken back: the largest")
    back, free = (weights_at(tmp_path / name, 2) for name in ("run", "free"))
    assert all(torch.equal(back[path], free[path]) for path in free)
    at_two = next(row for row in records(tmp_path / "free", "checkpoint") if row["turn"] == 2)
    assert done.summary["after"]["efficacy"] == at_two["scores"]["efficacy"]
    journal = Journal.open(tmp_path / "run" / JOURNAL)
    assert journal.head() == 2
    journal.close()


def test_the_very_last_turn_is_guarded_too(config, tmp_path):
    limit = limit_of(config, tmp_path, 4)
    values = {"guard": {"norm": limit}, "guard_action": "back", "evaluate_every": None}
    done = workflow.run(config(**values), tmp_path / "run")
    assert done.summary["turns"] == 3
    assert done.summary["remarks"]["guard"].startswith("turn 4 was taken back")


def test_the_first_turn_is_never_taken_back(config, tmp_path):
    values = {"guard": {"norm": 1e-9}, "guard_action": "back"}
    done = workflow.run(config(**values), tmp_path / "run")
    assert done.summary["turns"] == 1
    said = "ended after turn 1, since the first turn is not taken back: the largest"
    assert done.summary["remarks"]["guard"].startswith(said)


def test_perplexity_is_guarded_against_that_of_the_unedited_model(config, place, tmp_path):
    text = {"perplexity": str(place / "text.txt")}
    workflow.run(config(**text), tmp_path / "free")
    found = [row["scores"]["perplexity"] for row in records(tmp_path / "free", "checkpoint")]
    ratios = [value / found[0] for value in found[1:]]
    worst = ratios.index(max(ratios)) + 1
    limit = 0.999 * max(ratios)
    first = next(turn for turn, ratio in enumerate(ratios, 1) if ratio > limit)
    assert first <= worst
    done = workflow.run(config(**text, guard={"perplexity": limit}), tmp_path / "run")
    assert done.summary["turns"] == first
    assert "perplexity against the unedited model's is" in done.summary["remarks"]["guard"]


def test_a_guard_that_is_never_passed_leaves_no_word(config, tmp_path):
    done = workflow.run(config(guard={"norm": 1e9}), tmp_path / "run")
    assert done.summary["turns"] == 4
    assert "guard" not in done.summary["remarks"]


def test_an_interrupted_run_goes_on_with_the_same_monitors(config, place, tmp_path):
    class Stopping(NullObserver):
        turns = 0

        def stage(self, name, total=None):
            self.turns += name == "Watching: control"
            if self.turns == 3:  # of turn 2
                raise KeyboardInterrupt

    workflow.run(config(**watched(place)), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        workflow.run(config(**watched(place)), tmp_path / "stopped", Stopping())
    assert workflow.resume(tmp_path / "stopped") is not None
    whole, stopped = (records(tmp_path / name, "checkpoint") for name in ("whole", "stopped"))
    assert [row["monitors"] for row in whole] == [row["monitors"] for row in stopped]


def test_an_action_without_a_guard_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="--guard-action back needs a value to guard"):
        workflow.run(config(guard_action="back"), tmp_path / "run")


def test_a_guard_without_what_it_looks_at_is_refused_and_leaves_no_folder(config, tmp_path):
    with pytest.raises(ConfigError, match="--guard kl needs --monitor locality"):
        workflow.run(config(guard={"kl": 1.0}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def looks(folder):
    """By turn the largest norm that the monitor saw, and that of the turns' own records."""
    seen = {
        row["turn"]: max(each["norm"] for each in row["monitors"]["spectrum"].values())
        for row in records(folder, "checkpoint")
    }
    made = {row["turn"]: max(row["norms"].values()) for row in records(folder, "turn")}
    return seen, made


def test_with_prune_the_guard_judges_the_restrained_change_that_the_monitor_reports(
    config, tmp_path
):
    options = {"base": "ultraedit", "base.eta": "auto", "base.alpha": 60.0, "base.loss_left": 0.0}
    values = {"editor": "prune", "options": options | {"base.passes": 1}, "monitor": "spectrum"}
    values["modules"] = "layers.[1-2].mlp.down_proj"
    workflow.run(config(**values), tmp_path / "free")
    seen, made = looks(tmp_path / "free")
    assert all(2 * seen[turn] < made[turn] for turn in (3, 4))  # it has something to restrain
    # Above all restrained changes and below the others: nothing is to be ended.
    between = (max(seen.values()) + max(made.values())) / 2
    done = workflow.run(config(**values, guard={"norm": between}), tmp_path / "passed")
    assert (done.summary["turns"], "guard" in done.summary["remarks"]) == (4, False)
    turn = next(turn for turn in (1, 2, 3, 4) if seen[turn] > 0.999 * max(seen.values()))
    limit = 0.9999 * seen[turn]
    done = workflow.run(config(**values, guard={"norm": limit}), tmp_path / "ended")
    first = next(turn for turn in (1, 2, 3, 4) if seen[turn] > limit)
    assert done.summary["turns"] == first
    assert f"weight is {seen[first]:.4g}, above" in done.summary["remarks"]["guard"]


def test_with_wise_monitor_and_guard_see_its_memories(config, tmp_path):
    options = {"n_iter": 4, "contexts": 0, "save_freq": 2, "merge_freq": 4}
    values = {"editor": "wise", "options": options, "monitor": "spectrum"}
    values["modules"] = "layers.1.mlp.down_proj"
    workflow.run(config(**values), tmp_path / "free")
    seen, made = looks(tmp_path / "free")
    # The side memory is empty after each turn of two edits; what it held is in a closed one.
    assert made[1] == made[3] == 0
    assert seen[1] > 0
    assert seen[3] > 0
    done = workflow.run(config(**values, guard={"norm": 0.99 * seen[1]}), tmp_path / "ended")
    assert done.summary["turns"] == 1
    assert f"weight is {seen[1]:.4g}, above" in done.summary["remarks"]["guard"]


class Stops(NullObserver):
    """Ctrl-C at the so many-th stage of a name."""

    def __init__(self, name, at):
        self.name, self.left = name, at

    def stage(self, name, total=None):
        self.left -= name == self.name
        if self.left == 0:
            raise KeyboardInterrupt


def outcome(done):
    times = ("edit_seconds", "edits_per_second", "peak_memory_bytes")
    return {name: value for name, value in done.summary.items() if name not in times}


@pytest.mark.parametrize("name", ["Asking the edited model", "Saving the edited model"])
def test_a_run_that_is_stopped_after_its_turn_was_taken_back_is_finished_by_resume(
    config, tmp_path, name
):
    values = {
        "guard": {"norm": limit_of(config, tmp_path, 3)},
        "guard_action": "back",
        "save_model": True,
        "score_newest": 3,
    }
    stages = Stages()
    whole = workflow.run(config(**values), tmp_path / "whole", stages)
    observer = Stops(name, stages.names.count(name))
    with pytest.raises(KeyboardInterrupt):
        workflow.run(config(**values), tmp_path / "stopped", observer)
    journal = Journal.open(tmp_path / "stopped" / JOURNAL)
    assert (journal.head(), journal.job().ended) == (2, None)
    assert journal.job().halted.startswith("turn 3 was taken back: the largest")
    journal.close()
    assert verify(tmp_path / "stopped").damages == ()
    done = workflow.resume(tmp_path / "stopped")
    assert outcome(done) == outcome(whole)
    assert done.summary["remarks"]["guard"].startswith("turn 3 was taken back: the largest")
    assert (tmp_path / "stopped" / "summary.json").exists()
    assert (tmp_path / "stopped" / "model").is_dir()
    assert verify(tmp_path / "stopped").is_whole
    assert workflow.resume(tmp_path / "stopped") is None


class Stages(NullObserver):
    """Notes all stages."""

    def __init__(self):
        self.names = []

    def stage(self, name, total=None):
        self.names.append(name)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_newest_edits_are_scored_after_a_turn_was_taken_back(config, tmp_path, size):
    values = {"guard": {"norm": limit_of(config, tmp_path, 3)}, "score_newest": size}
    back = workflow.run(config(**values, guard_action="back"), tmp_path / "run").summary
    short = workflow.run(config(limit=4, score_newest=size), tmp_path / "short").summary
    assert back["newest"]["edits"] == size
    assert back["newest"] == short["newest"]


def test_an_addition_of_one_turn_is_taken_back_as_a_whole(config, place, tmp_path):
    limit = limit_of(config, tmp_path, 3)
    facts = (place / "facts.jsonl").read_text().splitlines()[4:6]
    (tmp_path / "rest.jsonl").write_text("".join(f"{line}\n" for line in facts))
    changes = {"data": str(tmp_path / "rest.jsonl"), "score_newest": 3}
    values = {"guard": {"norm": limit}, "guard_action": "back", "limit": 4}
    for name in ("whole", "stopped"):
        workflow.run(config(**values), tmp_path / name)
    done = workflow.append(tmp_path / "whole", changes)
    assert (done.summary["turns"], done.summary["scored"], done.summary["newest"]) == (2, 0, None)
    assert done.summary["remarks"]["guard"].startswith("turn 3 was taken back: the largest")
    with pytest.raises(KeyboardInterrupt):
        workflow.append(tmp_path / "stopped", changes, Stops("Writing the report", 1))
    assert outcome(workflow.resume(tmp_path / "stopped")) == outcome(done)
    assert verify(tmp_path / "stopped").is_whole
