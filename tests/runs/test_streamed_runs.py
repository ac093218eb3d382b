"""A run that is scored on a sample: the same edits to the same bits, and few of them in memory."""

from __future__ import annotations

import gc
import json

import pytest
import torch

from tests.data.streams.test_sampling import by_sorting
from tests.tiny import tiny_model
from ultraedit import report
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Edit, NullObserver
from ultraedit.data import read
from ultraedit.data.streams import InMemory
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.session import LifelongJob
from ultraedit.lifelong.settings import JobSettings
from ultraedit.models import save
from ultraedit.runs import scores as scoring
from ultraedit.runs import workflow
from ultraedit.runs.config import make_config
from ultraedit.runs.revert import revert
from ultraedit.runs.store import JOURNAL, Journal

MODULES = ["layers.[0-1].mlp.down_proj"]
TARGETS = ("French", "Dutch", "English", "Ada", "Vienna")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny model and files of facts, whose prompts come again after 13 rows."""
    place = tmp_path_factory.mktemp("streams")
    save(tiny_model(layers=2), place / "tiny")
    for count in (30, 300):
        (place / f"{count}.jsonl").write_text(
            "".join(
                json.dumps(
                    {
                        "prompt": f"Who leads town {n % 13}?",
                        "target": TARGETS[n % 5],
                        "id": str(n),
                        "rephrases": [f"Town {n % 13} is led by whom?"],
                        "locality": [{"prompt": f"Which river flows in {n}?", "target": "Inn"}],
                    }
                )
                + "\n"
                for n in range(count)
            )
        )
    return place


@pytest.fixture
def config(place, monkeypatch):
    monkeypatch.setattr(report, "write", lambda _: None)

    def make(count=30, **changes):
        values = {
            "model": str(place / "tiny"),
            "data": str(place / f"{count}.jsonl"),
            "edits_per_turn": 4,
            "evaluate_every": 2,
            "free_answers": 0,
            "options": {"eta": "auto", "passes": 1},
            "modules": MODULES,
            "dtype": "float32",
            "save_model": False,
        }
        return make_config(values | changes)

    return make


def weights(run):
    return run.result.host.weights.snapshot()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def on_record(folder, *, timeless=True):
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    for line in lines:
        for name in ("seconds", "memory_bytes") if timeless else ():
            line.pop(name, None)
    return lines


def checkpoints(folder):
    return [line for line in on_record(folder) if line["kind"] == "checkpoint"]


def test_a_sample_of_all_edits_gives_the_run_of_the_list_to_the_bit(config, tmp_path):
    listed = workflow.run(config(free_answers=3), tmp_path / "listed")
    streamed = workflow.run(config(free_answers=3, score_sample=1000), tmp_path / "streamed")
    assert same(weights(listed), weights(streamed))
    assert on_record(listed.folder) == on_record(streamed.folder)
    one, other = (run.folder / "answers.jsonl" for run in (listed, streamed))
    assert one.read_bytes() == other.read_bytes()
    assert listed.summary["overruled"] == streamed.summary["overruled"] > 0


def test_a_smaller_sample_changes_what_is_scored_and_not_what_is_edited(config, tmp_path):
    listed = workflow.run(config(), tmp_path / "listed")
    streamed = workflow.run(config(score_sample=8, score_newest=6), tmp_path / "streamed")
    assert same(weights(listed), weights(streamed))
    edits = read(config().data)
    places = by_sorting(edits, 8, 0)
    sample = [edits[place] for place in places]
    unedited = ModelHost(tiny_model(layers=2), MODULES)
    before = evaluate(unedited, sample, newest={e.prompt: e for e in edits}, free_answers=0)
    first, *_, last = checkpoints(streamed.folder)
    assert (first["turn"], first["edits"], first["made"]) == (0, 8, 0)
    assert first["scores"] == json.loads(json.dumps(streamed.summary["before"]))
    assert before.scores.efficacy == first["scores"]["efficacy"]
    after = evaluate(
        streamed.result.host,
        sample,
        newest={e.prompt: e for e in edits},
        reference=before.reference,
        free_answers=0,
    )
    assert (last["turn"], last["edits"], last["made"]) == (8, 8, 30)
    assert last["scores"]["efficacy"] == after.scores.efficacy
    assert last["scores"]["agreement"] == after.scores.agreement
    assert last["overruled"] == after.overruled > 0
    newest = evaluate(streamed.result.host, edits[-6:], free_answers=0)
    assert last["newest"]["edits"] == 6
    assert last["newest"]["scores"]["efficacy"] == newest.scores.efficacy
    assert last["newest"]["scores"]["specificity"] == newest.scores.specificity
    assert last["newest"]["scores"]["agreement"] is None
    assert streamed.summary["newest"] == last["newest"]


def test_on_the_way_those_of_the_sample_are_scored_that_were_made(config, tmp_path):
    run = workflow.run(config(score_sample=8, score_newest=100), tmp_path / "run")
    places = by_sorting(read(config().data), 8, 0)
    for each in checkpoints(run.folder)[1:]:
        made = min(4 * each["turn"], 30)
        assert each["made"] == made
        assert each["edits"] == sum(place < made for place in places)
        assert each["newest"]["edits"] == made
    assert [each["turn"] for each in checkpoints(run.folder)] == [0, 2, 4, 6, 8]


def test_the_journal_and_the_stream_itself_tell_the_same_newest_targets(config, tmp_path):
    run = workflow.run(config(score_sample=5), tmp_path / "run")
    told = []

    class Recorder:
        def turn(self, record, turn, carried):
            pass

        def checkpoint(self, record):
            told.append((record.turn, record.overruled, record.scores.efficacy))

    LifelongJob(
        ModelHost(tiny_model(layers=2), MODULES),
        UltraEdit(eta="auto", passes=1),
        InMemory(read(config().data), 5),
        JobSettings(edits_per_turn=4, evaluate_every=2, free_answers=0, control_questions=0),
        recorder=Recorder(),
    ).run()
    assert told == [
        (each["turn"], each["overruled"], each["scores"]["efficacy"])
        for each in checkpoints(run.folder)
    ]
    assert len({overruled for _, overruled, _ in told}) > 1


class Census(NullObserver):
    """Counts the edits that are alive after every turn."""

    def __init__(self):
        self.most, self.editing = 0, False

    def stage(self, name, total=None):
        self.editing = name == "Editing"

    def advance(self, steps=1):
        if self.editing:
            self.most = max(self.most, alive())


def alive() -> int:
    return sum(type(each) is Edit for each in gc.get_objects())


def test_no_more_edits_are_alive_however_long_the_stream_is(config, tmp_path):
    values = {"edits_per_turn": 10, "evaluate_every": None, "evaluate_at": (2,)}
    values |= {"score_sample": 8, "score_newest": 6}
    for count in (30, 300):
        gc.collect()
        census, before = Census(), alive()
        run = workflow.run(config(count, **values), tmp_path / str(count), census)
        assert run.summary["edits"] == count
        del run
        # The panel with its newest targets, the newest, and at most five turns.
        assert 0 < census.most - before <= 8 + 8 + 6 + 5 * 10


class Stop(NullObserver):
    """Presses Ctrl-C when so many edits are made."""

    def __init__(self, after):
        self.left, self.editing = after, False

    def stage(self, name, total=None):
        self.editing = name == "Editing"

    def advance(self, steps=1):
        if self.editing:
            self.left -= steps
            if self.left <= 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 12, 16, 29])
def test_a_stream_that_is_stopped_in_its_middle_ends_as_if_it_had_not_been(config, tmp_path, after):
    settings = config(score_sample=8, score_newest=6, free_answers=2)
    whole = workflow.run(settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        workflow.run(settings, tmp_path / "broken", Stop(after))
    resumed = workflow.resume(tmp_path / "broken")
    assert same(weights(whole), weights(resumed))
    assert on_record(whole.folder) == on_record(resumed.folder)
    one, other = (run.folder / "answers.jsonl" for run in (whole, resumed))
    assert one.read_bytes() == other.read_bytes()


def test_a_row_that_is_too_long_stops_the_run_behind_the_turns_before_it(
    config, tmp_path, monkeypatch
):
    # Which would refuse it before the first turn: a file may change while it is read.
    monkeypatch.setattr(workflow, "check_lengths", lambda *_: None)
    facts = tmp_path / "long.jsonl"
    rows = [{"prompt": f"Who leads town {n}?", "target": "Ada"} for n in range(9)]
    rows[6]["prompt"] *= 100
    facts.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(DataError, match=r"^Row 7: The prompt "):
        workflow.run(config(data=str(facts), score_sample=1, seed=2), tmp_path / "run")
    journal = Journal.open(tmp_path / "run" / JOURNAL)
    assert journal.head() == 1
    assert journal.edits_of_job() == journal.holding() == 4
    journal.close()


def test_a_row_that_is_too_long_is_found_before_the_first_turn(config, tmp_path):
    facts = tmp_path / "long.jsonl"
    rows = [{"prompt": f"Who leads town {n}?", "target": "Ada"} for n in range(9)]
    rows[6]["prompt"] *= 100
    facts.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(DataError, match=r"^Row 7: The prompt "):
        workflow.run(config(data=str(facts), score_sample=1, seed=2), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_bad_row_is_found_before_the_first_turn(config, tmp_path):
    facts = tmp_path / "bad.jsonl"
    facts.write_text('{"prompt": "Who?", "target": "Ada"}\n' * 5 + '{"prompt": "Who?"}\n')
    with pytest.raises(DataError, match=r"line 6: target is missing"):
        workflow.run(config(data=str(facts), score_sample=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_scored_again_and_edits_come_out_on_the_sample(config, tmp_path):
    run = workflow.run(config(score_sample=8), tmp_path / "run")
    scored = scoring.score(run.folder, 0)
    assert (scored.turn, scored.edits) == (8, 8)
    assert scored.evaluation.scores == run.result.after.scores
    kept = read(config().data)
    gone = kept.pop(by_sorting(kept, 8, 0)[3])
    done = revert(run.folder, [gone.id])
    assert (done.removed.edits, done.remaining.edits) == (1, 8)
    journal = Journal.open(run.folder / JOURNAL)
    assert journal.holding() == 29
    assert journal.turn(9).record["total_edits"] == 29
    panel = scoring.standing(journal)
    assert list(panel.places) == by_sorting(kept, 8, 0)
    assert [each.edit for each in journal.taken_out(9)] == [gone]
    journal.close()


def test_facts_that_are_added_to_a_streamed_run_are_streamed_too(config, tmp_path):
    run = workflow.run(config(score_sample=8, limit=10), tmp_path / "run")
    more = workflow.append(run.folder, {"data": config().data})
    assert (more.summary["edits"], more.summary["scored"]) == (40, 8)
    first, *_, last = checkpoints(run.folder)[-6:]
    assert (first["turn"], last["made"], last["edits"]) == (0, 30, 8)
    assert last["first_turn"] == 4


@pytest.mark.parametrize("name", ["score_sample", "score_newest"])
def test_nobody_is_no_sample(config, name):
    with pytest.raises(ConfigError, match=f"{name.replace('_', '-')} must be"):
        config(**{name: 0})
