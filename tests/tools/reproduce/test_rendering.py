"""What is made of records: every number is one of a record, and says which."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace

import pytest

from tests.tools.reproduce.tracing import untraced
from ultraedit.tools.reproduce import ARTIFACTS, RunRecords
from ultraedit.tools.reproduce.catalog import choose
from ultraedit.tools.reproduce.figures import CHANCE
from ultraedit.tools.reproduce.measuring import Measure
from ultraedit.tools.reproduce.names import Wanted
from ultraedit.tools.reproduce.records import Source, Value, mean_of
from ultraedit.tools.reproduce.result_table import (
    Cell,
    Result,
    ResultTable,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)
from ultraedit.tools.reproduce.steps import CasesFile, Run, Train
from ultraedit.tools.reproduce.working import ordered

SCORES = ("efficacy", "generalization", "specificity")
PNG = b"\x89PNG\r\n\x1a\n"


def scores(draw):
    found = {name: draw.random() for name in SCORES}
    return found | {"probes": {"personas": draw.random(), "multi_hop": draw.random()}}


def make_up(step, out):
    """Leave the records of a piece as a finished one would, with numbers that are drawn."""
    draw = random.Random(step.place)
    path = out / step.place
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(step, Measure):
        asked = {"questions": 4, "shots": 5}
        tasks = {
            task: asked | {"score": draw.random(), "stderr": 0.1 * draw.random()} for task in CHANCE
        }
        path.write_text(json.dumps({"harness": "lm-eval", "tasks": tasks}))
    elif isinstance(step, Run):
        path.mkdir()
        edits, per_turn = step.settings["limit"], step.settings["edits_per_turn"]
        summary = {"edits": edits, "edit_seconds": 60 * draw.random()}
        summary |= {"before": scores(draw), "after": scores(draw)}
        (path / "summary.json").write_text(json.dumps(summary))
        rows = []
        for turn in range(1, edits // per_turn + 1):
            done = {"turn": turn, "total_edits": turn * per_turn, "memory_bytes": turn * 2**30}
            rows.append({"kind": "turn"} | done)
            checkpoint = {"turn": turn, "made": turn * per_turn, "scores": scores(draw)}
            rows.append({"kind": "checkpoint"} | checkpoint)
        (path / "records.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        answers = [
            {"kind": "efficacy", "prompt": prompt, "target": target, "before": "x", "after": target}
            | {"correct": True}
            for file in step.needs
            if isinstance(file, CasesFile)
            for prompt, target in file.cases
        ]
        (path / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in answers))
    elif isinstance(step, Train):
        path.write_text("")


@pytest.fixture
def made(environment, monkeypatch):
    """A reproduction of one plan whose records are made up."""

    def status(run, out):
        return "done" if (out / run.place / "summary.json").is_file() else "to do"

    monkeypatch.setattr(Run, "status", status)

    def make(id):
        found = environment("smoke")
        plan = ARTIFACTS[id]
        for step in ordered(plan.steps(found, choose(plan, ()))):
            make_up(step, found.out)
        return found, plan.render(RunRecords(found))

    return make


@pytest.mark.parametrize("id", ARTIFACTS)
def test_every_plan_renders_in_all_its_forms_and_every_number_is_a_records(made, id, tmp_path):
    environment, rendered = made(id)
    written = {path.name: path for path in rendered.write(tmp_path / "forms")}
    figure = id.startswith("figure")
    kinds = ["csv", "json", "md", "tex", *(["png"] if figure else [])]
    assert sorted(written) == sorted(f"{id}.{kind}" for kind in kinds)
    if figure:
        assert written[f"{id}.png"].read_bytes().startswith(PNG)
        assert f"]({id}.png)" in written[f"{id}.md"].read_text()
    cells = json.loads(written[f"{id}.json"].read_text())["cells"]
    assert any(cell["ours"] is not None for cell in cells)
    assert untraced(environment.out, cells) == []
    published = [cell for cell in cells if cell["published"] is not None]
    assert bool(published) == (id not in ("figure2", "figure5", "figure6", "figure8", "figure9"))


def test_a_table_has_the_papers_rows_and_columns(made):
    _, rendered = made("table2")
    result_table = rendered.result_table
    names = [name for _, rows in result_table.blocks for name, _ in rows]
    rledit = "RLEdit, untrained"  # as at every scale that trains no nets
    assert names == ["FT", "WISE", "AlphaEdit", rledit, "UltraEdit", "UltraEdit*", "Δ"] * 3
    assert [block for block, _ in result_table.blocks] == [
        "GPT-J",
        "Mistral-7B-v0.3",
        "LLaMA-3-8B-Instruct",
    ]
    assert result_table.columns[-2:] == ["WikiBigEdit Personas", "WikiBigEdit Multi-hop"]
    assert len(result_table.columns) == 11


def test_the_last_row_is_worked_out_from_ours(made):
    environment, rendered = made("table9")
    records = RunRecords(environment)
    methods = ARTIFACTS["table9"].panels[0].methods
    values = {
        m: value.number
        for m in methods
        if (value := records.score(Wanted("qwen2.5", m, "fever"), "specificity")) is not None
    }
    assert {"mend", "malmen", "rledit"} < set(values)
    values = {m: v for m, v in values.items() if not environment.untrained(m)}
    ours = max(v for m, v in values.items() if m.startswith("ultraedit"))
    theirs = max(v for m, v in values.items() if not m.startswith("ultraedit"))
    ((_, rows),) = rendered.result_table.blocks
    column = rendered.result_table.columns.index("FEVER Spe.")
    assert rows[-1][0] == "Δ"
    assert rows[-1][1][column].ours == pytest.approx(ours - theirs)
    assert rows[-1][1][column].published == 28.60


def test_an_editor_that_is_not_here_leaves_a_dash_and_a_note(made, monkeypatch):
    from ultraedit.editors import EDITORS

    others = {name: row for name, row in EDITORS.items() if name != "wise"}
    monkeypatch.setattr("ultraedit.tools.reproduce.environment.EDITORS", others)
    _, rendered = made("table3")
    ((_, rows),) = rendered.result_table.blocks
    wise = dict(rows)["WISE"]
    assert {cell.ours for cell in wise} == {None}
    assert wise[0].published == 52.51
    assert any("no editor named wise" in note for note in rendered.result_table.notes)


def test_what_was_not_run_is_said(environment):
    made = environment("smoke")
    rendered = ARTIFACTS["table4"].render(RunRecords(made))
    assert all(each.cell.ours is None for each in rendered.result_table.results)
    assert any("not run yet" in note for note in rendered.result_table.notes)


def test_the_modules_of_the_presets_are_those_of_the_paper(environment):
    rendered = ARTIFACTS["table6"].render(RunRecords(environment("smoke")))
    same = [each.cell.ours for each in rendered.result_table.results if each.column == "Same"]
    assert same == ["✓"] * 20


SHEET = ResultTable(
    "table0",
    "Table 0: A & B_c",
    "Method",
    (
        Result(
            "GPT-J",
            "one|two",
            "Set",
            "Eff.",
            Cell(50.0, 40.0, (Source("runs/a", "summary.json", "x"),)),
        ),
        Result("GPT-J", "one|two", "Set", "Gen.", Cell(None, 1.5)),
        Result("Mistral", "Δ", "Set", "Eff.", Cell(1.0, -2.0, signed=True)),
        Result("Mistral", "Δ", "Set", "Gen.", Cell("yes ✓", "no")),
    ),
    "the paper",
    ("100% of it",),
)


def test_the_page_shows_ours_the_published_number_and_the_difference():
    page = to_markdown(SHEET)
    assert "50.00 (40.00, +10.00) | - (1.50)" in page
    assert "+1.00 (-2.00, +3.00) | yes ✓ (no)" in page
    assert r"one\|two" in page
    assert "| Method | Set Eff. | Set Gen. |" in page


def test_latex_is_escaped_and_keeps_the_groups():
    text = to_latex(SHEET)
    body = text[text.index(r"\begin") :]
    assert r"\multicolumn{2}{c}{Set} \\" in body
    assert r"$\Delta$ & +1.00" in body
    assert r"\multicolumn{3}{c}{Mistral}" in body
    assert "% 100% of it" in text
    assert body.count(r"\midrule") == 2


def test_the_csv_has_all_digits_and_the_sources():
    rows = list(csv.DictReader(to_csv(SHEET).splitlines()))
    assert rows[0] == {
        "block": "GPT-J",
        "row": "one|two",
        "column": "Set Eff.",
        "ours": "50.0",
        "published": "40.0",
        "difference": "10.0",
        "sources": "runs/a/summary.json#x",
    }
    assert json.loads(to_json(SHEET))["cells"][0]["from"] == [
        {"run": "runs/a", "file": "summary.json", "field": "x"}
    ]


def test_a_mean_needs_all_its_numbers():
    one, two = (Value(n, (Source(str(n), "f", "g"),)) for n in (1.0, 4.0))
    assert mean_of([one, two]) == Value(2.5, (*one.sources, *two.sources))
    assert mean_of([one, None]) is None
    assert mean_of([]) is None


def test_an_untrained_net_is_called_so_ranked_nowhere_and_beside_no_published_number(
    made, monkeypatch
):
    environment, rendered = made("table9")
    ((_, rows),) = rendered.result_table.blocks
    named = dict(rows)
    column = rendered.result_table.columns.index("ZsRE Eff.")
    mend = named["MEND, untrained"][column]
    assert mend.ours is not None and mend.published is None and mend.difference is None
    assert named["MEMIT"][column].published is not None
    (note,) = (
        note for note in rendered.result_table.notes if note.startswith("Nets are left untrained")
    )
    assert note.startswith("Nets are left untrained at this scale: MEND, MALMEN, RLEdit without")
    # The best of the others does not become better by a better untrained row.
    real = RunRecords.score

    def flattered(self, wanted, metric, *, when="after"):
        value = real(self, wanted, metric, when=when)
        untrained = environment.untrained(wanted.method)
        return value._replace(number=1e3) if untrained and value is not None else value

    monkeypatch.setattr(RunRecords, "score", flattered)
    ((_, again),) = ARTIFACTS["table9"].render(RunRecords(environment)).result_table.blocks
    assert dict(again)["MEND, untrained"][column].ours == 1e3
    assert dict(again)["Δ"][column].ours == named["Δ"][column].ours


def test_a_trained_net_has_its_name_and_its_published_number(environment):
    made = environment("small")
    rendered = ARTIFACTS["table9"].render(RunRecords(made))
    ((_, rows),) = rendered.result_table.blocks
    assert dict(rows)["MEND"][0].published is not None
    assert not any("untrained" in note for note in rendered.result_table.notes)


def test_each_table_says_by_which_protocol_its_methods_run(environment):
    for protocol, baselines in (("paper", "paper"), ("official", "official")):
        made = replace(environment("small"), protocol=protocol)
        notes = ARTIFACTS["table8"].render(RunRecords(made)).result_table.notes
        said = {}
        for note in notes:
            if note.startswith("By protocol="):
                head, _, names = note.partition(": ")
                said[head.partition("=")[2].partition(",")[0]] = names.rstrip(".").split(", ")
        assert {"UltraEdit", "UltraEdit*"} <= set(said["official"])
        assert {"MEND", "MEMIT", "MALMEN", "RECT", "PRUNE"} <= set(said[baselines])
