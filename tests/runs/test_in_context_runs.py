"""Runs of in-context, whose edits are facts: gone on with, gone back in, reverted, carried away."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from tests.runs.conftest import NAMES, write_facts
from ultraedit import data
from ultraedit.core.errors import ConfigError
from ultraedit.evaluation.scoring import evaluate
from ultraedit.export.apply import apply_to
from ultraedit.export.delta import export_delta
from ultraedit.export.difference import compare
from ultraedit.export.lora import export_lora
from ultraedit.export.model import export_model
from ultraedit.export.overlays import export_beside
from ultraedit.host.host import ModelHost
from ultraedit.models import fingerprint, load
from ultraedit.models.overlays.facts import recall_of
from ultraedit.runs import workflow
from ultraedit.runs.revert import revert
from ultraedit.runs.rollback import rollback
from ultraedit.runs.scores import score
from ultraedit.runs.store import JOURNAL, Journal
from ultraedit.runs.verify import verify


@pytest.fixture
def recalling(run):
    def make(name="run", **changes):
        return run(name, **({"editor": "in-context", "options": {"threshold": 0.5}} | changes))

    return make


def loaded(folder):
    return load(str(folder / "model"), dtype="float32", device="cpu")


def facts(folder):
    return dict(recall_of(loaded(folder).model).view.facts)


def named(folder):
    return fingerprint(loaded(folder).model)


def wanted(numbers):
    return {f"Who leads town {n}?": NAMES[n] for n in numbers}


def test_a_run_leaves_a_model_with_its_facts(recalling):
    folder = recalling()
    assert facts(folder) == wanted(range(len(NAMES)))
    assert verify(folder).is_whole
    text = (folder / "model" / "facts.jsonl").read_text()
    (folder / "model" / "facts.jsonl").write_text(text.replace("Ada", "Eve"))
    assert not verify(folder).is_whole


def test_a_run_can_be_gone_back_in_and_on_from_there(recalling):
    whole, short = recalling(snapshot_every=2), recalling("short", turns=3)
    assert rollback(whole, 3).edits == 6
    assert named(whole) == named(short)
    assert verify(whole).is_whole
    assert rollback(whole, 0).edits == 0
    assert facts(whole) == {}


def test_an_interrupted_run_ends_where_an_unbroken_one_does(recalling, tmp_path, monkeypatch):
    from ultraedit.editors.in_context import InContext

    whole, made = recalling(), InContext.step

    def until_four(self, host, turn, state):
        if turn.number == 4:
            raise KeyboardInterrupt
        return made(self, host, turn, state)

    monkeypatch.setattr(InContext, "step", until_four)
    with pytest.raises(KeyboardInterrupt):
        recalling("broken")
    monkeypatch.setattr(InContext, "step", made)
    resumed = workflow.resume(tmp_path / "broken")
    assert resumed is not None
    assert named(tmp_path / "broken") == named(whole)
    asked = json.loads((whole / "summary.json").read_text("utf-8"))["controls"]
    assert json.loads(json.dumps(resumed.summary["controls"])) == asked
    assert asked["after"]["questions"] > 0


def test_facts_that_are_appended_join_and_overrule(recalling, tmp_path):
    folder = recalling(turns=2)
    more = write_facts(tmp_path / "more.jsonl", [7])
    row = more.read_text().replace("Who leads town 7?", "Who leads town 1?")
    more.write_text(more.read_text() + row)
    workflow.append(folder, {"data": str(more)})
    assert facts(folder) == wanted([0, 2, 3]) | {
        "Who leads town 7?": NAMES[7],
        "Who leads town 1?": NAMES[7],
    }


def test_facts_that_are_taken_out_are_gone_and_the_others_stay(recalling):
    folder = recalling()
    revert(folder, ["9"])
    revert(folder, ["2", "5"])
    assert facts(folder) == wanted(n for n in range(len(NAMES)) if n not in (2, 5, 9))
    assert verify(folder).is_whole


def test_weights_a_delta_and_an_adapter_are_refused_and_a_folder_is_written(recalling, tmp_path):
    folder = recalling()
    for form, export in (("m", export_model), ("d.safetensors", export_delta), ("l", export_lora)):
        with pytest.raises(ConfigError, match="put in front of each question") as raised:
            export(folder, tmp_path / form)
        assert f"ultraedit export {folder} --as in-context" in str(raised.value)
        assert not (tmp_path / form).exists()
    with pytest.raises(ConfigError, match=r"has no memories\. .* --as in-context` exports it"):
        export_beside(folder, tmp_path / "away")
    export_beside(folder, tmp_path / "away", "in-context")
    away = load(str(tmp_path / "away"), dtype="float32", device="cpu")
    assert fingerprint(away.model) == named(folder)


def test_it_is_not_compared_as_weights_nor_changed_by_a_delta(recalling, run, tmp_path):
    folder, delta = recalling(), tmp_path / "plain.safetensors"
    with pytest.raises(ConfigError, match="cannot be compared weight by weight"):
        compare(str(folder / "model"), str(folder / "model" / "base"))
    export_delta(run("plain"), delta)
    with pytest.raises(ConfigError):
        apply_to(str(folder / "model"), [delta], [], tmp_path / "both", device="cpu")
    assert not (tmp_path / "both").exists()


def test_scores_and_answers_of_a_run_are_those_of_its_model(recalling, place):
    folder = recalling()
    found = score(folder).evaluation
    edits = data.read(str(place / "facts.jsonl"))
    again = evaluate(ModelHost(loaded(folder), None), edits)
    base = load(str(folder / "model" / "base"), dtype="float32", device="cpu")
    before = evaluate(ModelHost(base, None), edits)
    ours, theirs, unedited = ([a.after for a in each.answers] for each in (found, again, before))
    assert ours == theirs != unedited
    for name in ("efficacy", "generalization", "specificity"):
        assert getattr(found.scores, name) == getattr(again.scores, name)


def test_checkpoints_and_monitors_see_the_facts_with_a_trunk_and_without(recalling):
    settings = {"monitor": ["locality", "spectrum"], "evaluate_every": 3}
    for threshold, is_moved in ((1.0, False), (0.5, True)):
        found = []
        for trunk in (True, False):
            name = f"{threshold}-{trunk}"
            options = {"threshold": threshold}
            folder = recalling(name, trunk=trunk, options=options, **settings)
            with closing(Journal.open(folder / JOURNAL)) as journal:
                found.append([each.record for each in journal.checkpoints()])
        for one, other in zip(*found, strict=True):
            assert one["scores"] == other["scores"]
            assert one["monitors"] == other["monitors"]
        assert (found[0][-1]["monitors"]["locality"]["kl"] > 1e-3) == is_moved
