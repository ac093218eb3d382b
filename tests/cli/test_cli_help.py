"""Help pages, the start-up, and what becomes of mistyped commands."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command

from ultraedit.cli.main import app

ROOT = Path(__file__).parents[2]


def pages(command=None, path=()):
    command = command or get_command(app)
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from pages(inner, (*path, name))


@pytest.mark.parametrize("path", list(pages()), ids=" ".join)
def test_every_page_has_a_summary_and_examples_of_itself(cli, path):
    page = cli(*path, "-h").stdout
    rows = [line.strip() for line in page.splitlines()]
    summary = next(line for line in rows if line and not line.startswith("Usage:"))
    assert summary[0].isupper()
    examples = [line for line in rows if line.startswith("$ ultraedit")]
    assert 2 <= len(examples) <= 3
    assert all(example.startswith(" ".join(("$ ultraedit", *path))) for example in examples)
    assert cli(*path, "--help").stdout == page


@pytest.mark.parametrize("path", list(pages()), ids=" ".join)
def test_examples_fit_a_narrow_terminal_and_show_no_markup(cli, path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    page = cli(*path, "-h").stdout
    assert "[bold" not in page
    assert "[not dim" not in page
    for part in get_help(path).split("Examples:")[1].split("\n\n")[0].splitlines()[1:]:
        assert any(part.strip() in line for line in page.splitlines()), part


def get_help(path) -> str:
    from rich.text import Text

    command = get_command(app)
    for name in path:
        command = command.commands[name]
    return Text.from_markup(command.help).plain


def test_no_page_has_shell_completion_in_it(cli):
    assert "completion" not in cli("-h").stdout


def test_the_version_is_the_packages(cli):
    assert cli("--version").stdout == f"ultraedit {version('ultraedit')}\n"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["rum"], "run"),
        (["run", "--modle", "x"], "--model"),
        (["models", "sow"], "show"),
        (["ask", "model"], "QUESTION"),
        (["run", "--limit", "many"], "--limit"),
    ],
)
def test_a_mistyped_command_is_refused_with_what_was_meant(cli, args, expected):
    result = cli(*args, code=2)
    assert expected in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "code",
    [
        "import ultraedit.cli.main",
        "from ultraedit.cli.main import app; app(['run', '-h'], standalone_mode=False)",
        "from ultraedit.cli.main import app; app(['editors', 'list'], standalone_mode=False)",
        "from ultraedit.cli.main import app; app(['data', 'list'], standalone_mode=False)",
    ],
)
def test_starting_up_and_listing_import_neither_torch_nor_transformers(code):
    check = "import sys; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; {check}"], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_running_the_package_is_running_the_command(cli):
    command = [sys.executable, "-m", "ultraedit", "editors", "list", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == cli("editors", "list", "--json").stdout
    assert result.stderr == ""


def test_the_page_of_the_command_line_is_up_to_date():
    path = ROOT / "docs" / "make_cli.py"
    spec = importlib.util.spec_from_file_location("make_cli", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stale = "docs/cli.md is stale: run python docs/make_cli.py"
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == module.render(), stale


def test_defaults_in_brackets_are_shown_and_not_taken_for_markup(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERMINAL_WIDTH", "160")
    page = " ".join(cli("edit", "-h").stdout.split())
    assert "[default: both]" in page
    assert "\\[" not in page
