"""What a reader of a table or figure is told, and can tell apart."""

from __future__ import annotations

import json

import pytest

from ultraedit.core.types import NullObserver
from ultraedit.tools.reproduce import ARTIFACTS, RunRecords, carry_out
from ultraedit.tools.reproduce.figures import (
    Line,
    _crosses,
    _lines_over_edits,
    ability_before,
    line_results,
)
from ultraedit.tools.reproduce.names import Wanted
from ultraedit.tools.reproduce.notes import notes
from ultraedit.tools.reproduce.records import Point, Source, Value
from ultraedit.tools.reproduce.result_table import (
    Cell,
    Result,
    ResultTable,
    to_csv,
    to_latex,
    to_markdown,
)
from ultraedit.tools.reproduce.steps import Run

HERE = Source("runs/a", "records.jsonl", "3:made")


def a_line(method, printed=None):
    points = [Point(n, Value(50.0, (HERE,)), HERE) for n in (10, 1200)]
    return Line(Wanted("llama-3", method, "zsre"), method, points, printed)


def result_table(*cells):
    results = tuple(Result("", "row", "", f"c{n}", each) for n, each in enumerate(cells))
    return ResultTable("t", "T", "Row", results, "the paper")


def test_no_two_methods_of_a_figure_look_alike():
    from matplotlib.figure import Figure

    (panel, *_) = ARTIFACTS["figure7"].panels
    place = Figure().subplots()
    _lines_over_edits(place, panel, [a_line(method, 40.0) for method in panel.methods])
    lines = [each for each in place.lines if len(each.get_xdata()) == 2]
    crosses = [each for each in place.lines if len(each.get_xdata()) == 1]
    looks = {(each.get_color(), each.get_linestyle(), each.get_marker()) for each in lines}
    assert len(looks) == len(lines) == len(panel.methods) == 10
    assert len({(each.get_color(), each.get_marker()) for each in crosses}) == 10
    assert place.get_legend().get_texts()[-1].get_text() == "the paper's last"


def test_a_cross_is_explained_where_there_is_one():
    (panel, *_) = ARTIFACTS["figure7"].panels
    assert list(_crosses([(panel, [a_line("ft")])])) == []
    (said,) = _crosses([(panel, [a_line("ft"), a_line("wise", 40.94)])])
    assert said.startswith("A cross is the paper's number")


def test_the_number_of_edits_is_a_number_with_a_source_of_its_own():
    results = [each.cell for each in line_results("", a_line("ft", 40.0), timed=True)]
    first, last = results[:3], results[3:]
    assert [each.ours for each in first] == [10, None, 50.0]
    assert last[0].text == "1,200"
    assert last[0].sources == (HERE,)
    assert "row,c0,1200,," in to_csv(result_table(*last))


def test_the_caption_promises_what_the_cells_have():
    assert "Ours (published, ours minus published)" in to_markdown(result_table(Cell(1.0, 2.0)))
    texts = to_markdown(result_table(Cell("a", "b")))
    assert "Ours (published). Published: the paper." in texts
    alone = to_latex(result_table(Cell(1.0)))
    assert "% Ours alone." in alone
    assert "minus" not in texts + alone


def test_texts_stand_on_the_left_and_numbers_on_the_right():
    page = result_table(Cell("an answer", "another"), Cell(1.0), Cell("✓", "✗"))
    assert "| --- | --- | ---: | ---: |" in to_markdown(page)
    assert r"\begin{tabular}{llrr}" in to_latex(page)


def test_the_case_study_says_of_what_and_how_many_edits_it_is(environment, tiny):
    made = environment(model=tiny)
    plan = ARTIFACTS["table10"]
    carry_out(plan.steps(made, frozenset(plan.wanted())), made.out, NullObserver(), isolated=False)
    said = plan.render(RunRecords(made)).result_table.notes
    assert f"LLaMA-3-8B-Instruct is {tiny} here." in said
    assert "UltraEditBench is the facts of ultraedit demo here." in said
    assert "Edits of a run: 14." in said


def test_a_method_with_other_turns_than_the_rest_says_so(environment, monkeypatch):
    made = environment("smoke")
    wanted = list(ARTIFACTS["figure9"].wanted())
    monkeypatch.setattr(Run, "status", lambda run, out: "done")
    for each in wanted:
        run = made.run(each)
        folder = made.out / run.place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps({"edits": run.settings["limit"]}))
    said = list(notes(RunRecords(made), wanted))
    assert "Edits of a run: 6." in said
    assert [each for each in said if "a turn" in each] == ["WISE: 2 edits, one a turn."]


def test_a_score_that_the_facts_do_not_have_is_said_to_be_missing(environment, monkeypatch):
    made = environment("smoke")
    wanted = Wanted("gpt-j", "ft", "wikibigedit")
    monkeypatch.setattr(Run, "status", lambda run, out: "done")
    folder = made.out / made.run(wanted).place
    folder.mkdir(parents=True)
    scores = {"efficacy": 0.5, "probes": {"multi_hop": 0.25}}
    (folder / "summary.json").write_text(json.dumps({"edits": 6, "after": scores}))
    records = RunRecords(made)
    assert records.score(wanted, "multi_hop").number == 25.0
    assert records.score(wanted, "personas") is None
    (said,) = [note for note in notes(records, [wanted]) if note.startswith("Missing")]
    assert said == "Missing, the facts here have no such questions: Personas on WikiBigEdit."


@pytest.mark.parametrize("id", ["figure6", "figure9"])
def test_the_figures_of_general_ability_say_how_it_was_asked(environment, id):
    made = environment("smoke")
    plan = ARTIFACTS[id]
    before = RunRecords(made)
    assert not any("Questions of" in note for note in plan.render(before).result_table.notes)
    place = made.out / ability_before(made, "llama-3")[0].place
    place.parent.mkdir(parents=True)
    task = {"score": 0.5, "stderr": 0.1, "questions": 1000, "shots": 4}
    place.write_text(json.dumps({"harness": "lm-eval 1.2", "tasks": {"sst2": task}}))
    said = plan.render(RunRecords(made)).result_table.notes
    assert "Questions of lm-eval 1.2: SST 1,000 with 4 examples." in said


def test_a_mean_says_which_models_it_counts_once(environment, tiny):
    said = ARTIFACTS["table4"].render(RunRecords(environment("small"))).result_table.notes
    assert "Our means count smollm2 and gemma3-270m once each." in said
    said = ARTIFACTS["figure1"].render(RunRecords(environment(model=tiny))).result_table.notes
    assert f"Our means count {tiny} once." in said
    said = ARTIFACTS["table4"].render(RunRecords(environment("paper"))).result_table.notes
    assert not any("Our means" in note for note in said)
