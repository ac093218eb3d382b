"""Runs that probe their edits: records, resume, streams, reverts and pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evaluation.probes.test_contexts import chatting
from tests.tiny import tiny_model
from ultraedit import models, report
from ultraedit.lifelong import checkpoints as asking
from ultraedit.models import LanguageModel
from ultraedit.report.comparison_page import measured
from ultraedit.runs import scores as scoring
from ultraedit.runs import workflow
from ultraedit.runs.config import make_config
from ultraedit.runs.revert import revert
from ultraedit.runs.store import JOURNAL, Journal
from ultraedit.tools.comparison import compare_runs

NAMES = ("Ada", "Jane", "George", "Thomas", "Emma", "Paul", "Anna", "Otto")
KINDS = ("efficacy", "generalization", "specificity")
PROBES = {
    *(f"{way} {kind}" for way in ("chat", "few-shot") for kind in KINDS),
    *("reverse", "affirmed", "negated"),
}


def made(edits):
    """What is said of facts that nobody rephrased."""
    said = f"on rephrasings made by English patterns, of {edits} of {edits} edits"
    return {"generalization": said}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("probed")
    plain = tiny_model("llama", layers=3)
    models.save(LanguageModel(plain.model, chatting(), "tiny", "tiny"), folder / "tiny")
    models.save(plain, folder / "silent")
    facts = [
        {
            "prompt": f"Where was {name} born?",
            "target": ("Paris", "Vienna", "Zwolle")[n % 3],
            "subject": name,
            "id": name,
            "locality": [{"prompt": f"Which river flows through city {n}?", "target": f"R{n}"}],
        }
        for n, name in enumerate(NAMES)
    ]
    (folder / "facts.jsonl").write_text("".join(f"{json.dumps(fact)}\n" for fact in facts))
    return folder


@pytest.fixture
def config(place):
    def make(**values):
        base = {
            "model": str(place / "tiny"),
            "data": f"jsonl:{place / 'facts.jsonl'}",
            "edits_per_turn": 2,
            "evaluate_every": 2,
            "free_answers": 2,
            "options": {"eta": "auto", "alpha": 2.0},
            "dtype": "float32",
            "save_model": False,
            "probe": ["all"],
            "seed": 5,
        }
        return make_config(base | values)

    return make


def checkpoints(folder):
    rows = map(json.loads, (folder / "records.jsonl").read_text().splitlines())
    return [
        {k: v for k, v in row.items() if k != "seconds"}
        for row in rows
        if row["kind"] == "checkpoint"
    ]


def test_probes_are_on_record_at_every_checkpoint_and_on_the_page(config, tmp_path):
    done = workflow.run(config(), tmp_path / "run")
    found = checkpoints(tmp_path / "run")
    assert [row["turn"] for row in found] == [0, 2, 4]
    assert all(row["scores"]["probes"].keys() == PROBES for row in found)
    assert found[-1]["scores"]["generation"]["probes"].keys() == PROBES
    assert found[1]["scores"]["generation"] is None
    assert done.summary["remarks"] == made(8)
    page = (tmp_path / "run" / "report.md").read_text()
    for words in (
        "| few-shot efficacy |",
        "| negated (lower is better) |",
        "reverse: asked backwards",
        "| metric | begin with it | exact match | stop |",
        "Probes, teacher-forced:",
        "--probe chat,few-shot,reverse,negation",
    ):
        assert words in page
    assert "negated (lower is better)" in (tmp_path / "run" / "report.html").read_text()


def test_what_cannot_be_probed_is_said_in_the_summary_and_on_the_page(config, place, tmp_path):
    values = {"model": str(place / "silent"), "probe": ["chat", "reverse"], "limit": 2}
    done = workflow.run(config(**values), tmp_path / "run")
    said = "left out, since the model has no chat template"
    assert done.summary["remarks"] == {"chat": said} | made(2)
    assert done.summary["after"]["probes"].keys() == {"reverse"}
    assert f"Note: chat: {said}." in (tmp_path / "run" / "report.md").read_text()


def test_a_run_that_was_interrupted_asks_the_same_probes(config, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write", lambda folder: None)
    workflow.run(config(), tmp_path / "whole")

    class Stop(Exception):
        pass

    def interrupted(self, record, turn, carried, real=workflow.RunFolder.turn):
        real(self, record, turn, carried)
        if record.turn == 2:
            raise Stop

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(workflow.RunFolder, "turn", interrupted)
        workflow.run(config(), tmp_path / "broken")
    workflow.resume(tmp_path / "broken")
    assert checkpoints(tmp_path / "broken") == checkpoints(tmp_path / "whole")
    names = ("summary.json", "answers.jsonl")
    summaries = [json.loads((tmp_path / run / names[0]).read_text()) for run in ("whole", "broken")]
    assert summaries[0]["before"] == summaries[1]["before"]
    assert summaries[0]["after"] == summaries[1]["after"]
    assert (tmp_path / "whole" / names[1]).read_text() == (
        tmp_path / "broken" / names[1]
    ).read_text()


def test_a_run_is_scored_where_it_stands_with_its_own_probes_or_others(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr(report, "write", lambda folder: None)
    done = workflow.run(config(), tmp_path / "run")
    scored = scoring.score(tmp_path / "run", 2)
    assert scored.evaluation.scores == done.result.after.scores
    assert (scored.turn, scored.edits, scored.remarks) == (4, 8, made(8))
    other = scoring.score(tmp_path / "run", 0, probes=("reverse",)).evaluation.scores
    assert other.probes == {"reverse": done.summary["after"]["probes"]["reverse"]}


def test_a_sample_of_a_stream_has_the_same_examples_at_every_checkpoint(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr(report, "write", lambda folder: None)
    seen = []

    def watched(names, tokenizer, edits, seed, real=asking.Probing):
        seen.append((names, len(edits), seed))
        return real(names, tokenizer, edits, seed)

    monkeypatch.setattr(asking, "Probing", watched)
    workflow.run(config(score_sample=4), tmp_path / "run")
    assert seen == [(("chat", "few-shot", "reverse", "negation"), 4, 5)]
    found = checkpoints(tmp_path / "run")
    assert found[-1]["edits"] == 4
    assert found[-1]["scores"]["probes"].keys() == PROBES


def test_a_revert_probes_what_remains(config, tmp_path):
    workflow.run(config(), tmp_path / "run")
    revert(tmp_path / "run", ["Ada"])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["after"]["probes"].keys() == PROBES
    journal = Journal.open(tmp_path / "run" / JOURNAL)
    record = journal.checkpoints()[-1].record
    journal.close()
    assert (record["edits"], record["scores"]["probes"]) == (7, summary["after"]["probes"])


def test_probes_of_two_runs_stand_side_by_side(config, tmp_path):
    workflow.run(config(probe=["reverse"], limit=2), tmp_path / "one")
    workflow.run(config(probe=["negation"], limit=2), tmp_path / "other")
    compared = compare_runs([tmp_path / "one", tmp_path / "other"])
    rows = {name: cells for name, *cells in measured(compared)}
    assert rows["forced reverse"][1] == "n/a" != rows["forced reverse"][0]
    assert rows["forced negated (lower is better)"][0] == "n/a"
    assert rows["free affirmed"][0] == "n/a" != rows["free affirmed"][1]
    assert "stops efficacy" in rows
    assert compared.settings()["probe"] == [["reverse"], ["negation"]]


def test_a_model_that_reads_its_facts_is_probed_too(config, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write", lambda folder: None)
    values = {"editor": "in-context", "options": {}, "limit": 4}
    done = workflow.run(config(**values), tmp_path / "run")
    assert done.summary["after"]["probes"].keys() == PROBES
    assert scoring.score(tmp_path / "run", 2).evaluation.scores == done.result.after.scores
