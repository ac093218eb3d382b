"""The reproduction that was kept in the repository: every number is one of a record beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.reproduction import keep

from tests.tools.reproduce.tracing import untraced
from ultraedit.tools.reproduce import ARTIFACTS

KEPT = Path(__file__).parents[3] / "benchmarks" / "results" / "small"


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
