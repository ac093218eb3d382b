"""``editors``, ``models`` and ``data``: what there is."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from tests.cli.conftest import FACTS, lines
from tests.tiny import tiny_model
from ultraedit.data import FORMATS
from ultraedit.editors import EDITORS, find_editor
from ultraedit.models import ALIASES, list_presets, save


def test_every_editor_is_listed(cli):
    rows = json.loads(cli("editors", "list", "--json").stdout)
    assert [row["name"] for row in rows] == list(EDITORS)
    page = cli("editors", "list").stdout
    assert all(row["name"] in page for row in rows)


@pytest.mark.parametrize("name", EDITORS)
def test_every_option_of_an_editor_is_explained(cli, name):
    shown = json.loads(cli("editors", "show", name, "--json").stdout)
    options = {option["name"]: option for option in shown["options"]}
    assert list(options) == [field.name for field in fields(find_editor(name).load())]
    assert all(len(option["text"]) > 10 and option["type"] for option in options.values())
    page = cli("editors", "show", name).stdout
    assert all(option in page for option in options)


def test_the_options_of_ultraedit_are_shown_with_what_they_take(cli):
    shown = json.loads(cli("editors", "show", "ultraedit", "--json").stdout)
    options = {option["name"]: (option["type"], option["default"]) for option in shown["options"]}
    assert options["ridge"] == ("float", "1.0")
    assert options["protocol"] == ("paper|official", "paper")
    assert options["variance"] == ("pooled|released|sample", None)


def test_every_short_name_and_preset_is_listed(cli):
    shown = json.loads(cli("models", "list", "--json").stdout)
    assert [alias["name"] for alias in shown["aliases"]] == list(ALIASES)
    assert [preset["name"] for preset in shown["presets"]] == [p.name for p in list_presets()]
    page = cli("models", "list").stdout
    assert all(preset.name in page for preset in list_presets())


def test_names_stay_whole_in_a_narrow_terminal(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    page = cli("models", "list").stdout
    assert max(len(line.rstrip()) for line in page.splitlines()) <= 80
    assert all(preset.name in page for preset in list_presets())
    page = cli("data", "list").stdout
    assert all(name in page for name in FORMATS)


def test_a_model_is_shown_with_its_modules_and_its_preset(cli, tiny):
    shown = json.loads(cli("models", "show", tiny, "--json").stdout)
    assert (shown["family"], shown["layers"], shown["context_length"]) == ("llama", 2, 256)
    down = next(group for group in shown["modules"] if group["kind"] == "mlp.down_proj")
    assert (down["layers"], down["d_in"], down["d_out"]) == ([0, 1], 48, 32)
    assert shown["preset"]["modules"] == ["layers.[0].mlp.down_proj"]
    assert "layers.[0-1].mlp.down_proj" in cli("models", "show", tiny).stdout


def test_a_sound_model_passes_its_check(cli, tiny):
    assert cli("models", "check", tiny).stdout.count("✓") == 3
    faults = json.loads(cli("models", "check", tiny, "--json").stdout)["faults"]
    assert list(faults.values()) == [None] * 3


def test_a_model_with_damaged_weights_fails_its_check(cli, refused, tmp_path):
    model = tiny_model("llama")
    model.model.model.layers[1].mlp.up_proj.weight.data.fill_(float("nan"))
    save(model, tmp_path / "damaged")
    sentence = refused("models", "check", tmp_path / "damaged")
    assert "cannot be edited" in sentence
    assert "logits" in sentence


def test_every_format_is_listed(cli):
    rows = json.loads(cli("data", "list", "--json").stdout)
    assert [row["name"] for row in rows] == list(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_shown_with_its_keys(cli, name):
    shown = json.loads(cli("data", "show", name, "--json").stdout)
    assert shown["keys"] == list(FORMATS[name].keys)
    assert shown["optional_keys"] == list(FORMATS[name].optional_keys)
    assert all(key in cli("data", "show", name).stdout for key in shown["keys"])


def test_a_sound_file_passes_its_check(cli):
    report = json.loads(cli("data", "check", "facts.jsonl", "--json").stdout)
    assert (report["rows"], report["bad_rows"], report["ok"]) == (5, 0, True)
    assert report["tokens"] is None
    assert "with rephrases" in cli("data", "check", "facts.jsonl").stdout


def test_token_lengths_are_those_of_the_model(cli, refused, tiny):
    report = json.loads(cli("data", "check", "facts.jsonl", "--model", tiny, "--json").stdout)
    assert 0 < report["tokens"]["min"] <= report["tokens"]["max"] <= 256
    Path("facts.jsonl").write_text(lines([*FACTS, {"prompt": "Vienna " * 400, "target": "x"}]))
    result = cli("data", "check", "facts.jsonl", "--model", tiny, code=2)
    assert "1 of 6 rows cannot be used" in result.stderr
    assert "Too long for the model" in result.stdout


def test_a_faulty_file_is_reported_whole_before_it_is_refused(cli):
    rows = [FACTS[0], {"prompt": "Where?"}, FACTS[0] | {"target": "Norse"}, {"target": "There"}]
    Path("facts.jsonl").write_text(lines(rows))
    result = cli("data", "check", "facts.jsonl", code=2)
    assert result.stderr == "Error: jsonl:facts.jsonl: 2 of 4 rows cannot be used.\n"
    assert "target is missing" in result.stdout
    assert "prompt is missing" in result.stdout
    assert "Repeated prompts with another target" in result.stdout
    report = json.loads(cli("data", "check", "facts.jsonl", "--json", code=2).stdout)
    assert [bad["line"] for bad in report["bad"]] == [2, 4]


def test_a_check_can_stop_before_the_first_bad_row(cli):
    Path("facts.jsonl").write_text(lines([FACTS[0], {"prompt": "Where?"}]))
    cli("data", "check", "facts.jsonl", "--limit", 1)


def test_a_file_without_rows_is_refused(refused):
    Path("facts.jsonl").write_text("")
    assert "no rows" in refused("data", "check", "facts.jsonl")
