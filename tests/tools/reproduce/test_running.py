"""Plans are carried out: whole, in part, again, and after they were stopped."""

from __future__ import annotations

import json
from multiprocessing import get_context

import pytest

from ultraedit.core.errors import NumericalError
from ultraedit.core.types import NullObserver
from ultraedit.tools.reproduce import ARTIFACTS, RunRecords, carry_out, choose, ordered
from ultraedit.tools.reproduce.names import Wanted
from ultraedit.tools.reproduce.steps import Run
from ultraedit.tools.reproduce.working import _child


@pytest.fixture(autouse=True)
def without_report(monkeypatch):
    """The reports of single runs take a second each and are not the point."""
    from ultraedit import report

    monkeypatch.setattr(report, "write", lambda folder: None)


def plan_of(environment, id, only=()):
    plan = ARTIFACTS[id]
    return plan, list(ordered(plan.steps(environment, choose(plan, only))))


def numbers(rendered):
    return [each._replace(cell=each.cell.ours) for each in rendered.result_table.results]


def test_the_ablations_are_run_and_a_second_time_give_the_same_numbers(
    environment, tiny, tmp_path, caplog
):
    caplog.set_level("INFO", "ultraedit")
    tables = []
    for out in ("one", "two"):
        made = environment(out=tmp_path / out, model=tiny)
        plan, steps = plan_of(made, "table4")
        outcome = carry_out(steps, made.out, NullObserver(), isolated=False)
        assert (len(outcome.made), outcome.done_before, outcome.failed) == (7, [], {})
        rendered = plan.render(RunRecords(made))
        rendered.write(made.out / "table4")
        tables.append(rendered)
    assert all(each.cell.ours is not None for each in tables[0].result_table.results)
    assert numbers(tables[0]) == numbers(tables[1])
    for name in ("table4.csv", "table4.md", "table4.tex", "table4.json"):
        one, two = (tmp_path / out / "table4" / name for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    again = carry_out(steps, made.out, NullObserver(), isolated=False)
    assert (again.made, len(again.done_before)) == ([], 7)
    said = [each for each in caplog.messages if " of 7: " in each]
    assert said == [f"{n} of 7: {step.place}" for n, step in enumerate(steps, 1)] * 2


class Stopping:
    """An observer that presses Ctrl-C when the second turn begins."""

    def __init__(self):
        self.turns = 0

    def stage(self, name, total=None):
        pass

    def advance(self, steps=1):
        self.turns += steps == 3  # edits of a turn
        if self.turns == 1 and steps == 3:
            raise KeyboardInterrupt


def test_a_figure_goes_on_where_it_was_stopped_to_the_same_numbers(environment, tiny, tmp_path):
    only = ("ultraedit", "zsre")
    whole, stopped = (environment(out=tmp_path / out, model=tiny) for out in ("whole", "stopped"))
    plan, steps = plan_of(whole, "figure1", only)
    carry_out(steps, whole.out, NullObserver(), isolated=False)
    with pytest.raises(KeyboardInterrupt):
        carry_out(steps, stopped.out, Stopping(), isolated=False)
    (run,) = steps
    assert run.status(stopped.out) == "interrupted"
    outcome = carry_out(steps, stopped.out, NullObserver(), isolated=False)
    assert outcome.made == [run.place]
    curves = [
        RunRecords(each).curve(Wanted("gpt-j", "ultraedit", "zsre"), "efficacy")
        for each in (whole, stopped)
    ]
    values = [[(p.at, p.value.number) for p in curve] for curve in curves]
    assert values[0] == values[1]
    assert [at for at, _ in values[0]] == [3, 6]
    rendered = plan.render(RunRecords(whole))
    assert rendered.image is not None


def test_the_papers_own_questions_are_edited_and_asked(environment, tiny):
    made = environment(model=tiny)
    plan, steps = plan_of(made, "table10")
    assert [type(step).__name__ for step in steps] == ["CasesFile", "Run"]
    carry_out(steps, made.out, NullObserver(), isolated=False)
    result_table = plan.render(RunRecords(made)).result_table
    ((_, rows),) = result_table.blocks
    assert len(rows) == 7
    assert all(cell.ours is not None for _, cells in rows for cell in cells)
    assert rows[0][1][1].ours == rows[0][1][1].published == "belgie"
    assert rows[0][1][2].ours[-1] in "✓✗"


def test_a_run_whose_numbers_cease_to_be_finite_is_given_up_and_the_rest_is_done(
    environment, tiny, monkeypatch
):
    made = environment(model=tiny)
    plan, steps = plan_of(made, "table4")
    whole, begun = Run.carry_out, []

    def carry(run, out, observer):
        begun.append(run.place)
        if run.settings["options"].get("frozen"):
            raise NumericalError("Turn 2: not finite.")
        if run.settings["options"].get("normalise") == "off":
            whole(run, out, observer)

    monkeypatch.setattr(Run, "carry_out", carry)
    outcome = carry_out(steps, made.out, NullObserver(), isolated=False)
    assert list(outcome.failed.values()) == ["Turn 2: not finite."]
    assert len(begun) == 7
    notes = plan.render(RunRecords(made)).result_table.notes
    assert any("w/o normalization update" in n and "Turn 2: not finite" in n for n in notes)
    begun.clear()
    carry_out(steps, made.out, NullObserver(), isolated=False)
    assert not any(
        "frozen" in json.dumps(dict(s.settings))
        for s in steps
        if s.place in begun and s.settings["options"].get("frozen")
    )


def test_a_process_of_its_own_does_the_same_and_passes_on_how_far_it_is(
    environment, tiny, tmp_path
):
    class Watching:
        def __init__(self):
            self.stages = []

        def stage(self, name, total=None):
            self.stages.append(name)

        def advance(self, steps=1):
            pass

    only = ("ultraedit", "zsre")
    here, apart = (environment(out=tmp_path / out, model=tiny) for out in ("here", "apart"))
    _, steps = plan_of(here, "figure7", only)
    carry_out(steps, here.out, NullObserver(), isolated=False)
    observer = Watching()
    outcome = carry_out(steps, apart.out, observer)
    assert outcome.failed == {}
    assert "Editing" in observer.stages
    found = [
        json.loads((each.out / steps[0].place / "summary.json").read_text())["after"]
        for each in (here, apart)
    ]
    assert found[0] == found[1]


def test_why_a_run_in_another_process_failed_is_told(environment, tmp_path):
    made = environment(model=str(tmp_path / "nothing"))
    _, steps = plan_of(made, "figure7", ("ultraedit", "zsre"))
    outcome = carry_out(steps, made.out, NullObserver())
    ((place, why),) = outcome.failed.items()
    assert place == steps[0].place
    assert "nothing" in why


def test_a_process_whose_parent_is_gone_ends_without_a_word(environment, tiny, capfd):
    made = environment(model=tiny)
    _, (step,) = plan_of(made, "figure7", ("ultraedit", "zsre"))
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(step, made.out, theirs))
    process.start()
    theirs.close()
    while ours.recv()[1] != "Editing":
        pass
    ours.close()  # as it is where the parent was killed
    process.join()
    assert capfd.readouterr().err == ""
    assert step.status(made.out) == "interrupted"
    assert carry_out([step], made.out, NullObserver(), isolated=False).failed == {}
