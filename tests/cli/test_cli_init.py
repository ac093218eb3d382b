"""The first steps: what is shown without a command, and the file that `init` writes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from ultraedit.editors import make_editor
from ultraedit.runs.config import RunConfig, make_config, read_config


def test_without_a_command_the_ways_in_are_shown_and_not_all_commands(cli):
    page = cli().stdout
    assert len(page.splitlines()) <= 14
    for way in ("demo", "edit facts.csv", "compare"):
        assert f"$ ultraedit {way}" in page
    assert "rollback" not in page
    assert "ultraedit --help" in page
    assert "rollback" in cli("--help").stdout


def test_every_command_of_the_ways_in_is_one(cli):
    shown = [line.split() for line in cli().stdout.splitlines() if line.startswith("  $ ")]
    assert len(shown) >= 4
    for _, program, name, *_ in shown:
        assert program == "ultraedit"
        assert "Usage" in cli(name, "-h").stdout


def test_init_writes_settings_that_run_takes(cli, tiny):
    said = cli("init", "--model", tiny, "--facts", "facts.jsonl").stdout
    assert "project.toml is written, for 5 facts." in said
    settings = read_config(Path("project.toml"))
    assert settings["model"] == tiny
    assert settings["data"] == "jsonl:facts.jsonl"
    assert set(settings) <= set(RunConfig.model_fields)
    (command,) = (line for line in said.splitlines() if line.startswith("Try next: "))
    words = shlex.split(command.removeprefix("Try next: "))[1:]
    cli(*words, "--free-answers", "0", "--control-questions", "0")
    done = json.loads(Path("edited", "config.json").read_text("utf-8"))
    assert done["settings"]["editor"] == "anchored"
    assert Path("edited", "model").is_dir()


def test_every_setting_that_is_commented_out_is_one(cli, tiny):
    cli("init", "--model", tiny, "--facts", "facts.jsonl")
    text = Path("project.toml").read_text("utf-8")
    given = "\n".join(
        line.removeprefix("# ") if " = " in line and line.startswith("# ") else line
        for line in text.splitlines()
    )
    Path("all.toml").write_text(given, encoding="utf-8")
    settings = read_config(Path("all.toml"))
    assert settings["guard"] == {"agreement": 0.8}
    options = settings.pop("options")
    assert make_editor("anchored", options | {"anchors": "none"}).written == options["written"]
    assert make_config(settings).monitor == ("locality",)


def test_init_names_columns_and_says_what_it_did_as_json(cli, tiny):
    Path("own.csv").write_text("Ask,Say\nWho runs Ulm?,Ada\n", encoding="utf-8")
    given = ("--facts", "own.csv", "--columns", "prompt=Ask,target=Say", "--out", "own.toml")
    said = json.loads(cli("init", "--model", tiny, *given, "--json").stdout)
    assert said == {
        "file": "own.toml",
        "facts": 1,
        "next": "ultraedit run --config own.toml --out edited",
    }
    settings = read_config(Path("own.toml"))
    assert settings["data"] == "csv[prompt=Ask,target=Say]:own.csv"


def test_init_replaces_no_file(refused, tiny):
    Path("project.toml").write_text("mine")
    assert "project.toml" in refused("init", "--model", tiny, "--facts", "facts.jsonl")
    assert Path("project.toml").read_text() == "mine"


@pytest.mark.parametrize("facts", ["none.jsonl", "zsre:facts.jsonl"])
def test_init_writes_nothing_for_facts_that_cannot_be_read(refused, tiny, facts):
    assert refused("init", "--model", tiny, "--facts", facts)
    assert not Path("project.toml").exists()
