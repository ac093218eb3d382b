"""Every resolved setting of a run says where its value came from."""

from __future__ import annotations

import json

import pytest

from tests.tiny import tiny_model
from ultraedit import models
from ultraedit.core.errors import ConfigError
from ultraedit.runs import workflow
from ultraedit.runs.config import make_config
from ultraedit.runs.resolution import resolve

FACTS = [
    {"prompt": f"Where was {name} born?", "target": target}
    for name, target in [("Ada", "London"), ("Jane", "Steventon"), ("George", "Paris")]
]


@pytest.fixture
def settings_of(tmp_path):
    """What settings become for a tiny model, which no preset fits."""
    (tmp_path / "facts.jsonl").write_text("".join(f"{json.dumps(fact)}\n" for fact in FACTS))

    def find(edits=None, **values):
        base = {"model": "m", "data": f"jsonl:{tmp_path / 'facts.jsonl'}"}
        return resolve(make_config(base | values), tiny_model("llama"), edits=edits)

    return find


def test_without_a_preset_the_program_and_its_defaults_decide(settings_of):
    found = settings_of(options={"master": "model"}).sources
    assert found["modules"] == "auto: relative depth"
    assert (found["eta"], found["ridge"], found["step_factor"]) == ("auto", "default", "default")
    assert (found["variance"], found["master"]) == ("default: protocol paper", "user")
    assert (found["dtype"], found["seed"], found["preset"]) == ("auto", "default", "auto")


def test_a_preset_is_named_and_the_user_beats_it(settings_of, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('modules = "layers.[0].mlp.down_proj"\neta = 0.5\nridge = 3\n')
    found = settings_of(preset=str(file), options={"ridge": 2.0}, dtype="float32").sources
    assert (found["eta"], found["modules"]) == (f"preset {file}", f"preset {file}")
    assert (found["ridge"], found["dtype"], found["preset"]) == ("user", "user", "user")
    found = settings_of(preset=str(file), modules="layers.[1].mlp.up_proj").sources
    assert (found["modules"], found["ridge"]) == ("user", f"preset {file}")


def test_what_tune_wrote_is_called_tuned(settings_of, tmp_path):
    file = tmp_path / "tuned.toml"
    file.write_text(
        'modules = "layers.[0].mlp.down_proj"\neta = "auto"\ntuned = true\n'
        "options = { step_factor = 0.7 }\n"
    )
    settings = settings_of(preset=str(file))
    assert settings.editor.eta == "auto" and settings.editor.step_factor == 0.7
    decided = {settings.sources[name] for name in ("eta", "step_factor", "ridge", "modules")}
    assert decided == {f"tuned {file}"}


def test_a_wrong_word_about_tuning_is_refused(settings_of, tmp_path):
    file = tmp_path / "tuned.toml"
    file.write_text('modules = "layers.[0].mlp.down_proj"\ntuned = "yes"\n')
    with pytest.raises(ConfigError, match="tuned must be true or false, got 'yes'"):
        settings_of(preset=str(file))


def test_the_sources_stand_in_the_folder_the_summary_and_the_report(tmp_path):
    models.save(tiny_model("llama"), tmp_path / "tiny")
    (tmp_path / "facts.jsonl").write_text("".join(f"{json.dumps(fact)}\n" for fact in FACTS))
    config = make_config(
        {
            "model": str(tmp_path / "tiny"),
            "data": f"jsonl:{tmp_path / 'facts.jsonl'}",
            "options": {"ridge": 2.0},
            "edits_per_turn": 3,
            "free_answers": 0,
            "save_model": False,
        }
    )
    done = workflow.run(config, tmp_path / "out")
    sources = json.loads((tmp_path / "out" / "config.json").read_text())["resolved"]["sources"]
    assert sources == done.summary["resolved"]["sources"]
    options = done.summary["resolved"]["options"]
    assert set(options) | {"modules", "dtype", "device", "edits_per_turn"} <= set(sources)
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| ridge | `2.0` | user |" in page
    assert "| eta | `auto` | auto |" in page
    assert "| edits per turn | 3 | user |" in page
