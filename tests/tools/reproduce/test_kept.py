"""The reproduction that was kept in the repository: every number is one of a record beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.reproduction import keep

from tests.tools.reproduce.tracing import untraced
from ultraedit.tools.reproduce import ARTIFACTS

ROOT = Path(__file__).parents[3]
KEPT = ROOT / "benchmarks" / "results" / "small"
LONG = ROOT / "benchmarks" / "results" / "long"


@pytest.mark.parametrize("id", ARTIFACTS)
def test_every_number_of_the_small_reproduction_is_one_of_its_records(id):
    cells = json.loads((KEPT / id / f"{id}.json").read_text())["cells"]
    assert untraced(KEPT, cells) == []


@pytest.mark.parametrize("id", ARTIFACTS)
def test_nothing_of_the_small_reproduction_is_left_to_be_run(id):
    page = json.loads((KEPT / id / f"{id}.json").read_text())
    unfinished = ("not run yet", "interrupted", "not measured yet")
    assert [note for note in page["notes"] if any(why in note for why in unfinished)] == []
    if any(cell["ours"] is None and cell["published"] is not None for cell in page["cells"]):
        assert any(note.startswith("Missing, ") for note in page["notes"])


def test_every_number_of_the_comparison_at_length_is_one_of_its_records():
    page = json.loads((LONG / "long-zsre" / "long-zsre.json").read_text())
    assert len(page["cells"]) > 100
    assert untraced(LONG, page["cells"]) == []


def test_what_the_pages_say_of_the_comparison_at_length_is_what_it_found():
    cells = json.loads((LONG / "long-zsre" / "long-zsre.json").read_text())["cells"]
    ours = {
        (cell["row"], cell["column"].rpartition("%")[2].strip() or cell["column"]): cell["ours"]
        for cell in cells
        if cell["block"] == "After 300 edits"
    }
    names = {
        "`anchored`": "Anchored",
        "LoRA, turn after turn": "LoRA, turn after turn",
        "AlphaEdit": "AlphaEdit",
        "UltraEdit, eta auto": "UltraEdit, eta auto",
        "UltraEdit, as published": "UltraEdit",
        "in-context": "In-context",
    }
    table = (ROOT / "docs" / "reproduced.md").read_text("utf-8").partition("| after 300 facts |")[2]
    rows = [line.strip("| ").split(" | ") for line in table.split("\n\n")[0].splitlines()[2:]]
    assert len(rows) >= 4
    for name, *shown in rows:
        row = {column: value for (of, column), value in ours.items() if of == names[name]}
        exact = [row[column] for column in ("plain", "rephrased", "chat", "chat rephrased")]
        assert shown == [
            " / ".join(f"{value:.0f}" for value in exact),
            f"{row['agreement']:.1f}",
            f"{row['perplexity']:.1f}",
            f"{row['ordinary text KL, nats']:.2f}",
        ]
    told = (ROOT / "docs" / "reproduced.md").read_text("utf-8")
    for editor in ("anchored", "lora"):
        (records,) = LONG.glob(f"runs/{editor}-*/records.jsonl")
        *_, last = (json.loads(line) for line in records.read_text("utf-8").splitlines())
        assert " / ".join(f"{100 * value:.1f}" for value in last["by_turn"]["efficacy"]) in told
    page = (ROOT / "README.md").read_text("utf-8")
    for name in ("Anchored", "LoRA, turn after turn"):
        exact = " / ".join(f"{ours[name, column]:.0f}" for column in ("plain", "rephrased", "chat"))
        assert f"{exact} %" in page
        assert f"{ours[name, 'agreement']:.1f}" in page


def test_what_is_kept_are_the_tables_and_the_records_that_they_name(tmp_path):
    out, kept = tmp_path / "some", tmp_path / "kept"
    for name in ("run/a", "run/other"):
        (out / name).mkdir(parents=True)
        (out / name / "config.json").write_text("{}")
        (out / name / "summary.json").write_text('{"after": {"efficacy": 0.5}}')
        (out / name / "journal.sqlite").write_text("large")
    source = {"run": "run/a", "file": "summary.json", "field": "after.efficacy"}
    cell = {"ours": 50.0, "published": None, "from": [source]}
    (out / "table9").mkdir()
    (out / "table9" / "table9.json").write_text(json.dumps({"cells": [cell]}))
    (out / "table9" / "table9.md").write_text("# Table 9")
    (kept / "table8").mkdir(parents=True)
    assert keep(out, kept) == 4
    found = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    assert found == {
        "table9/table9.json",
        "table9/table9.md",
        "run/a/config.json",
        "run/a/summary.json",
    }
    assert not (kept / "table8").exists()
    assert untraced(kept, [cell]) == []
    assert untraced(kept, [cell | {"ours": 51.0}]) != []
