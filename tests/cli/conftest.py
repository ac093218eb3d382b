"""A command line in a folder of its own, a tiny model and a small file of facts."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.tiny import tiny_model
from ultraedit.cli.main import app
from ultraedit.models import save

FACTS = [
    {
        "prompt": f"What is the native language of {name}?",
        "target": language,
        "rephrases": [f"{name} speaks"],
        "locality": [{"prompt": "Which river flows through Vienna?", "target": "The Danube"}],
        "subject": name,
    }
    for name, language in [
        ("Ada Lovelace", "Dutch"),
        ("Jane Austen", "French"),
        ("Danielle Darrieux", "English"),
        ("George Washington", "Dutch"),
        ("Thomas Stieltjes", "French"),
    ]
]


def lines(rows) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """A tiny random Llama on disk."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save(tiny_model("llama"), folder)
    return str(folder)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in, with ``facts.jsonl``, and no settings from outside."""
    for name in [name for name in os.environ if name.startswith("ULTRAEDIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    Path("facts.jsonl").write_text(lines(FACTS))
    return tmp_path


@pytest.fixture(autouse=True)
def log():
    """Commands turn the log on; it is turned off again, for the tests that come after."""
    log = logging.getLogger("ultraedit")
    before = log.level, log.handlers
    yield
    log.level, log.handlers = before


@pytest.fixture
def cli():
    """Run a command line; what is not meant to be raised is raised."""

    def run(*args: object, code: int = 0, **options) -> Result:
        result = CliRunner().invoke(app, [str(arg) for arg in args], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.stderr
        return result

    return run


@pytest.fixture
def refused(cli):
    """Run a command line that must end in one sentence and exit code 2; give the sentence."""

    def run(*args: object, **options) -> str:
        stderr = cli(*args, code=2, **options).stderr
        errors = [line for line in stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, stderr
        assert stderr.splitlines()[-1] == errors[0], stderr
        assert errors[0].endswith((".", "?")), stderr
        assert "Traceback" not in stderr
        return errors[0].removeprefix("Error: ")

    return run
