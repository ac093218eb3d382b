"""Back to any turn and on from there, single edits out, more facts in."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.runs.conftest import write_facts
from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError, DataError, NumericalError, StorageError
from ultraedit.models import save
from ultraedit.runs import workflow
from ultraedit.runs.revert import revert
from ultraedit.runs.rollback import prune, rollback
from ultraedit.runs.store import JOURNAL, Journal, RunFolder
from ultraedit.runs.verify import verify


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


def journal(folder):
    return Journal.open(folder / JOURNAL)


def norms(folder):
    return [entry.record["norms"] for entry in journal(folder).turns()]


# Going back


@pytest.mark.parametrize("every", [2, 100])
def test_every_turn_can_be_gone_back_to_exactly(run, every):
    whole = run(snapshot_every=every)
    for turn in (5, 3, 1):
        short = run(f"short-{turn}", turns=turn)
        stood = journal(whole).head()
        rolled = rollback(whole, turn)
        assert (rolled.turn, rolled.edits, rolled.undone) == (turn, 2 * turn, stood - turn)
        assert norms(whole) == norms(short)
        assert same(weights(whole), weights(short))
        assert verify(whole).is_whole


def test_turn_zero_is_the_unedited_model(run, place):
    folder = run()
    rollback(folder, 0)
    assert same(weights(folder), load_file(place / "tiny" / "model.safetensors"))
    assert (journal(folder).head(), list(journal(folder).standing())) == (0, [])


def test_from_an_earlier_turn_a_run_goes_on_as_if_the_later_ones_had_never_been(
    run, tmp_path, place
):
    whole = run()
    rollback(whole, 3)
    rest = write_facts(tmp_path / "rest.jsonl", range(6, 12))
    workflow.append(whole, {"data": str(rest)})
    assert same(weights(whole), weights(run("again")))
    kinds = [(e.number, e.undone is None) for e in journal(whole).turns(undone=True)]
    assert kinds == [(1, True), (2, True), (3, True)] + [
        (n, standing) for n in (4, 5, 6) for standing in (False, True)
    ]
    assert prune(whole) == 3
    assert len(journal(whole).turns(undone=True)) == 6
    assert verify(whole).is_whole


def test_the_records_after_a_rollback_are_those_of_the_turns_that_stand(run):
    folder = run(evaluate_every=2)
    before = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    rollback(folder, 3)
    after = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert [(r["kind"], r["turn"]) for r in after] == [
        *(("checkpoint", 0), ("turn", 1), ("turn", 2), ("checkpoint", 2), ("turn", 3))
    ]
    assert after == before[:5]
    assert not (folder / "summary.json").exists()


def test_a_turn_that_is_not_there_is_refused(run):
    folder = run()
    with pytest.raises(ConfigError, match=r"There is no turn 7 in .*: it stands at turn 6\."):
        rollback(folder, 7)


# Going on


def test_a_month_of_small_turns_equals_one_run_of_them(run, tmp_path):
    whole = run()
    daily = run("daily", limit=2)
    for day in range(1, 6):
        facts = write_facts(tmp_path / f"day-{day}.jsonl", range(2 * day, 2 * day + 2))
        done = workflow.append(daily, {"data": str(facts)})
        assert (done.summary["turns"], done.summary["scored"]) == (day + 1, 2)
    assert same(weights(daily), weights(whole))
    assert norms(daily) == norms(whole)
    unedited = [c.record for c in journal(daily).checkpoints() if c.record["turn"] == 0]
    said = [turn for record in unedited for turn in record["by_turn"]["efficacy"]]
    (at_once,) = (c.record for c in journal(whole).checkpoints() if c.record["turn"] == 0)
    assert [record["first_turn"] for record in unedited] == [1, 2, 3, 4, 5, 6]
    assert said == pytest.approx(list(at_once["by_turn"]["efficacy"]))
    assert [e.edit for e in journal(daily).standing()] == [
        e.edit for e in journal(whole).standing()
    ]


def interrupt_in_turn(number, monkeypatch, error=KeyboardInterrupt):
    from ultraedit.editors.ultraedit import UltraEdit

    step = UltraEdit.step

    def failing(self, host, turn, state):
        if turn.number == number:
            raise error
        return step(self, host, turn, state)

    monkeypatch.setattr(UltraEdit, "step", failing)
    return lambda: monkeypatch.setattr(UltraEdit, "step", step)


def test_an_interrupted_run_goes_on_to_the_same_end(run, settings, tmp_path, monkeypatch):
    mend = interrupt_in_turn(4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run("broken", evaluate_at=[3])
    mend()
    folder = tmp_path / "broken"
    with pytest.raises(ConfigError, match=r"interrupted after turn 3\. Finish it with `ultraedit"):
        workflow.append(folder, {"data": "facts.jsonl"})
    done = workflow.resume(folder)
    assert done.summary["turns"] == 6
    whole = run("whole", evaluate_at=[3])
    assert same(weights(folder), weights(whole))
    scores = [[c.record["scores"] for c in journal(f).checkpoints()] for f in (folder, whole)]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 3
    assert workflow.resume(folder) is None


def test_an_addition_that_fails_at_once_leaves_the_run_as_it_was(run, tmp_path, monkeypatch):
    folder = run()
    before = weights(folder)
    facts = write_facts(tmp_path / "more.jsonl", [0, 1])
    mend = interrupt_in_turn(7, monkeypatch, NumericalError("not finite"))
    with pytest.raises(NumericalError):
        workflow.append(folder, {"data": str(facts)})
    mend()
    assert workflow.resume(folder) is None
    assert same(weights(folder), before)
    assert workflow.append(folder, {"data": str(facts)}).summary["turns"] == 7


def test_facts_that_changed_since_are_not_gone_on_with(run, tmp_path, monkeypatch):
    facts = write_facts(tmp_path / "facts.jsonl", range(6))
    mend = interrupt_in_turn(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run("broken", data=str(facts))
    mend()
    folder = tmp_path / "broken"
    write_facts(facts, range(5))
    with pytest.raises(DataError, match=r"facts\.jsonl has changed since this run was begun"):
        workflow.resume(folder)
    facts.unlink()
    with pytest.raises(DataError, match=r"are gone: .*rollback .*broken --to-turn 1"):
        workflow.resume(folder)
    rollback(folder, 1)
    assert workflow.resume(folder) is None


def test_another_model_under_the_same_name_is_refused(run, place, tmp_path):
    other = tmp_path / "model"
    save(tiny_model(layers=2), other)
    folder = run(model=str(other))
    save(tiny_model(layers=2, seed=5), other)
    with pytest.raises(ConfigError, match=r"is not the model that .* was begun with"):
        rollback(folder, 2)


def test_a_folder_that_a_process_holds_is_refused_with_its_number(run):
    folder = run()
    held = RunFolder.open(folder)
    with pytest.raises(ConfigError, match=r"is in use by process \d+ \(`.*`, since "):
        rollback(folder, 2)
    held.close()
    rollback(folder, 2)


# Taking edits out


def test_an_edit_of_the_last_turn_is_taken_out_as_if_it_had_never_been(run, tmp_path):
    folder = run()
    done = revert(folder, ["11"])
    assert (done.turn, done.removed.edits, done.remaining.edits) == (7, 1, 11)
    never = run("never", data=str(write_facts(tmp_path / "eleven.jsonl", range(11))))
    ours, theirs = weights(folder), weights(never)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in ours)
    assert done.removed.after.efficacy <= done.removed.before.efficacy
    assert [each.edit.id for each in journal(folder).standing()] == [str(n) for n in range(11)]
    assert verify(folder).is_whole


def test_what_later_turns_added_stays_when_an_edit_is_taken_out(run):
    folder = run()
    before = weights(folder)
    third = run("third", turns=3)
    second = run("second", turns=2)
    revert(folder, ["4", "5"])  # all of turn 3
    after = weights(folder)
    for key, weight in after.items():
        share = weights(third)[key] - weights(second)[key]
        torch.testing.assert_close(weight, before[key] - share, atol=1e-5, rtol=1e-5)


def test_edits_come_out_one_by_one_as_they_do_together(run):
    one_by_one, together = run("one-by-one"), run("together")
    revert(one_by_one, ["4"])
    revert(one_by_one, ["5"])
    revert(together, ["4", "5"])
    ours, theirs = weights(one_by_one), weights(together)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-5) for key in ours)
    assert journal(one_by_one).turn(7).kind == "revert"


def test_a_revert_is_a_turn_that_can_be_gone_back_behind_and_on_from(run, tmp_path):
    folder = run()
    before = weights(folder)
    revert(folder, ["3"])
    reverted = weights(folder)
    more = write_facts(tmp_path / "more.jsonl", [0])
    workflow.append(folder, {"data": str(more)})
    assert journal(folder).head() == 8
    rollback(folder, 7)
    assert same(weights(folder), reverted)
    rollback(folder, 6)
    assert same(weights(folder), before)
    assert len(list(journal(folder).standing())) == 12


@pytest.mark.parametrize(
    ("names", "turn", "message"),
    [
        (["99"], None, r"No edit with the id '99' holds in .*ultraedit find"),
        (["3"], 5, r"No edit with the id '3' holds in turn 5"),
    ],
)
def test_an_edit_that_is_not_there_is_refused(run, names, turn, message):
    folder = run()
    with pytest.raises(ConfigError, match=message):
        revert(folder, names, turn)


def test_an_edit_is_taken_out_once(run):
    folder = run()
    revert(folder, ["3"])
    with pytest.raises(ConfigError, match=r"'3' holds in .*Turn 7 took it out\."):
        revert(folder, ["3"])


def test_an_id_in_two_turns_needs_the_turn(run, tmp_path, monkeypatch):
    # As journals have it that were written before ids were unique in a run.
    monkeypatch.setattr(workflow, "_named_once", lambda source, *_, **__: source)
    folder = run()
    workflow.append(folder, {"data": str(write_facts(tmp_path / "again.jsonl", [3]))})
    with pytest.raises(ConfigError, match=r"2 edits have the id '3', in turns 2, 7\. Say which"):
        revert(folder, ["3"])
    assert revert(folder, ["3"], 7).taken_out[0].turn == 7


def test_an_id_is_not_given_twice_in_a_run(run, tmp_path, caplog):
    folder = run()
    again = {"data": str(write_facts(tmp_path / "again.jsonl", [3, 4]))}
    with caplog.at_level("WARNING", logger="ultraedit"):
        workflow.append(folder, again)
    assert "2 edits have an id that another edit of the run has, and a new one: " in caplog.text
    assert "'3' is now 'again.jsonl:1', and so on." in caplog.text
    workflow.append(folder, again)
    names = [each.edit.id for each in journal(folder).standing()]
    assert len(names) == len(set(names))
    assert {"again.jsonl:1", "again.jsonl:2", "again.jsonl:1#2", "again.jsonl:2#2"} <= set(names)
    assert revert(folder, ["again.jsonl:2"]).taken_out[0].turn == 7


def test_an_edit_is_taken_out_by_its_prompt_or_a_part_of_it(run):
    folder = run()
    edits = [each.edit for each in journal(folder).standing()]
    assert revert(folder, [f" {edits[3].prompt.upper()}"]).taken_out[0].edit == edits[3]
    with pytest.raises(ConfigError, match=r"edits have .* in their prompts, with the ids '"):
        revert(folder, [edits[4].prompt[:5]])


# What cannot be opened


def test_what_is_no_run_is_refused_in_one_sentence(tmp_path):
    import sqlite3

    with pytest.raises(ConfigError, match=r"is not a run folder: it has no journal\.sqlite"):
        rollback(tmp_path, 1)
    foreign = sqlite3.connect(tmp_path / JOURNAL)
    foreign.execute("CREATE TABLE songs (name TEXT)")
    foreign.commit()
    foreign.close()
    with pytest.raises(ConfigError, match="is a database of another program"):
        rollback(tmp_path, 1)
    (tmp_path / JOURNAL).write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="file is not a database"):
        rollback(tmp_path, 1)


def test_a_journal_of_a_newer_version_is_refused(run):
    import sqlite3

    folder = run()
    newer = sqlite3.connect(folder / JOURNAL)
    newer.execute("PRAGMA user_version = 9")
    newer.commit()
    newer.close()
    with pytest.raises(ConfigError, match=r"version 9 .* up to 1\. Install a newer ultraedit"):
        rollback(folder, 1)
