"""Runs that edited a tiny model from a GGUF file, and a command line."""

from __future__ import annotations

import pytest

from tests.cli.conftest import FACTS, cli, folder, lines, log, refused, tiny  # noqa: F401
from tests.cli.test_cli_export import do_run
from tests.tiny_gguf import write_gguf

DOWN = "layers.[0-1].mlp.down_proj"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A place with a GGUF file, which no test changes."""
    place = tmp_path_factory.mktemp("gguf")
    write_gguf(place / "base.gguf")
    (place / "facts.jsonl").write_text(lines(FACTS))
    return place


@pytest.fixture(scope="session")
def runs(made, tmp_path_factory):
    """Runs on that file, in either precision; in one also queries and keys are edited."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ULTRAEDIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield {
            "float32": do_run(made / "base.gguf", made / "facts.jsonl", made / "float32"),
            "bfloat16": do_run(
                made / "base.gguf", made / "facts.jsonl", made / "bfloat16", dtype="bfloat16"
            ),
        }


@pytest.fixture
def run(runs):
    return runs["float32"]


@pytest.fixture(autouse=True)
def cache(folder, monkeypatch, tmp_path_factory):  # noqa: F811
    """Keep what is unpacked out of the user's cache folder."""
    monkeypatch.setenv("ULTRAEDIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
