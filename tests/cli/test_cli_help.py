"""Help pages, the start-up, and what becomes of mistyped commands."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import Field
from typer.main import get_command
from typer.testing import CliRunner

from ultraedit.cli import _settings
from ultraedit.cli._table import COMMANDS
from ultraedit.cli.main import app
from ultraedit.core.settings import EVALUATION, PANELS, default_of, shown, shown_of
from ultraedit.runs.config import RunConfig

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


def options_of(name):
    command = get_command(app).commands[name]
    return {p.name: p for p in command.params if p.param_type_name == "option"}


@pytest.mark.parametrize("name", ["run", "edit"])
def test_the_main_panel_has_the_ten_options_that_people_use_first(name):
    options = options_of(name).values()
    first = [option.name for option in options if option.rich_help_panel is None]
    assert len(first) == 10
    assert {"model", "limit", "edits_per_turn", "editor", "out", "dry_run"} <= set(first)
    assert {option.rich_help_panel for option in options if option.name not in first} <= set(PANELS)


def test_every_setting_of_a_run_is_an_option_with_its_description_and_default():
    options = options_of("run")
    for name, field in RunConfig.model_fields.items():
        how = shown_of(field)
        if how is None:
            assert name == "options"  # which are --set, --eta and so on
            continue
        option = options[(how.option or f"--{name}").strip("-").replace("-", "_")]
        assert option.help.startswith(field.description)
        if default_of(field) is not None:
            assert option.help.endswith(rf"\[default: {default_of(field)}]")
        else:
            assert field.is_required() or option.is_flag


def test_a_new_setting_is_checked_and_given_to_the_command(monkeypatch):
    field = Field(default=3, ge=1, description="A test.", json_schema_extra=shown(EVALUATION))
    field.annotation = int
    monkeypatch.setattr(_settings, "FIELDS", _settings.FIELDS | {"some_number": field})
    seen = []

    @_settings.with_settings(("some_number", "trunk", "save_model", "guard"))
    def command(given: dict[str, Any]) -> None:
        seen.append(given)

    program = typer.Typer()
    program.command()(command)
    run = CliRunner().invoke
    page = run(program, ["--help"], env={"TERMINAL_WIDTH": "100"}).stdout
    assert "A test. [default: 3]" in page
    for args in (
        [],
        ["--some-number", "0"],
        ["--trunk", "--no-save-model"],
        ["--guard", "norm=1", "--guard", "kl=2"],
    ):
        assert run(program, args).exit_code == 0
    assert seen == [
        {},
        {"some_number": 0},  # which is no absent value; the model refuses it
        {"trunk": True, "save_model": False},
        {"guard": ["norm=1", "kl=2"]},
    ]


def test_no_help_says_what_holds_unless_something_is_given():
    assert "unless given" not in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_each_command_of_the_table_has_its_line_and_listing_them_imports_none(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    page = cli("-h").stdout
    for name, row in COMMANDS.items():
        assert f" {name} " in page
        assert row.summary in page, "longer than a line"
        assert get_command(app).commands[name].name == name
    code = (
        "import sys; from ultraedit.cli.main import app\n"
        "app(['-h'], standalone_mode=False)\n"
        "print(sorted(m for m in sys.modules if m in ('pydantic', 'ultraedit.cli.run')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
