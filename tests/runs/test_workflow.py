"""A run from its settings to its folder, and what is left of one that ends early."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit import models, report
from ultraedit.core.errors import ConfigError, DataError, NumericalError, StorageError
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.lifelong import session
from ultraedit.models import preset as presets
from ultraedit.runs import workflow
from ultraedit.runs.config import RunConfig, make_config, read_config

FACTS = [
    {
        "prompt": f"What is the native language of {name}?",
        "target": target,
        "rephrases": [f"{name} speaks"],
        "locality": [{"prompt": "Which river flows through Vienna?", "target": "The Danube"}],
    }
    for name, target in [("Ada", "French"), ("Jane", "Dutch"), ("George", "English")]
]

SCORES = {"efficacy", "generalization", "specificity", "agreement"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tiny model and a file of facts."""
    folder = tmp_path_factory.mktemp("place")
    models.save(tiny_model("llama"), folder / "tiny")
    (folder / "facts.jsonl").write_text("".join(f"{json.dumps(fact)}\n" for fact in FACTS))
    return folder


@pytest.fixture
def config(place):
    def make(**values) -> RunConfig:
        base = {
            "model": str(place / "tiny"),
            "data": f"jsonl:{place / 'facts.jsonl'}",
            "edits_per_turn": 2,
            "options": {"eta": "auto", "alpha": 2.0, "passes": 1},
        }
        return make_config(base | values)

    return make


@pytest.fixture
def without_report(monkeypatch):
    """Plots take a second and are not the point."""
    monkeypatch.setattr(report, "write", lambda folder: None)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def finished(place):
    """A whole run with its folder."""
    values = {
        "model": str(place / "tiny"),
        "data": f"jsonl:{place / 'facts.jsonl'}",
        "edits_per_turn": 2,
        "options": {"alpha": 2.0},
        "free_answers": 1,
    }
    return workflow.run(make_config(values), place / "deep" / "run")


def test_the_folder_holds_all_that_a_run_leaves(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert {"config.json", "records.jsonl", "summary.json", "answers.jsonl", "report.md"} <= names
    assert {"config.json", "model.safetensors"} <= set(files(finished.folder / "model"))
    plots = [finished.folder / name for name in names if name.endswith(".png")]
    assert len(plots) >= 3
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)
    assert {name for name in names if name.startswith(".")} == {".lock"}


def test_the_summary_has_the_promised_keys_and_numbers_that_fit(finished):
    summary = read(finished.folder / "summary.json")
    assert summary == json.loads(json.dumps(finished.summary))
    assert {"edits", "turns", "edit_seconds", "edits_per_second", "peak_memory_bytes"} <= set(
        summary
    )
    assert (summary["edits"], summary["turns"], summary["overruled"]) == (3, 2, 0)
    assert summary["edit_seconds"] > 0
    assert summary["edits_per_second"] == summary["edits"] / summary["edit_seconds"]
    # Python alone takes some MiB; a wrong unit would give a thousandth of it.
    assert isinstance(summary["peak_memory_bytes"], int)
    assert 2**24 < summary["peak_memory_bytes"] < 2**40
    for when in ("before", "after"):
        scores = summary[when]
        assert set(scores) == SCORES | {"probes", "generation", "perplexity"}
        generation = scores["generation"]
        assert set(generation) == SCORES | {"probes", "begins", "stops"}
        shares = [scores[name] for name in SCORES] + [generation[name] for name in SCORES]
        assert all(0 <= share <= 1 for share in shares)
    assert summary["before"]["agreement"] == 1.0
    assert summary["after"]["efficacy"] > summary["before"]["efficacy"]


def test_the_records_tell_the_run_in_order(finished):
    records = lines(finished.folder / "records.jsonl")
    assert [(r["kind"], r["turn"]) for r in records] == [
        *[("checkpoint", 0), ("turn", 1), ("turn", 2), ("checkpoint", 2)]
    ]
    assert [r["edits"] for r in records] == [3, 2, 1, 3]
    summary = finished.summary
    assert sum(r["seconds"] for r in records[1:3]) == pytest.approx(summary["edit_seconds"])
    assert (records[0]["scores"], records[3]["scores"]) == (summary["before"], summary["after"])
    assert records[2]["memory_bytes"] == summary["peak_memory_bytes"]


def test_every_free_answer_is_kept(finished):
    answers = lines(finished.folder / "answers.jsonl")
    assert [answer["kind"] for answer in answers] == [
        *["efficacy", "generalization", "specificity"]
    ]
    assert answers[0]["prompt"] == FACTS[0]["prompt"]
    assert answers[0]["before"] != answers[0]["after"]


def test_the_settings_say_where_each_default_came_from(finished):
    config = read(finished.folder / "config.json")
    assert {"ultraedit", "torch", "transformers", "python"} == set(config["versions"])
    assert config["settings"]["options"] == {"alpha": 2.0}
    assert config["settings"]["modules"] is None
    resolved = config["resolved"]
    assert resolved == finished.summary["resolved"]
    assert (resolved["preset"], resolved["preset_source"]) == ("relative-depth", "relative depth")
    assert resolved["modules"] == ["layers.[0].mlp.down_proj"]
    assert (resolved["options"]["eta"], resolved["options"]["alpha"]) == ("auto", 2.0)
    assert resolved["options"]["variance"] == "pooled"
    assert (resolved["dtype"], resolved["device"]) in [
        (dtype, device) for dtype in ("float32", "bfloat16") for device in ("cpu", "cuda:0")
    ]


def test_the_saved_model_is_the_edited_one(finished):
    from transformers import AutoModelForCausalLM

    saved = AutoModelForCausalLM.from_pretrained(finished.folder / "model").state_dict()
    edited = finished.result.language_model.model.state_dict()
    # What is not edited stays as the source stores it, whatever the run computed in.
    again = {name: tensor.to(edited[name].dtype) for name, tensor in saved.items()}
    assert all(torch.equal(edited[name], again[name]) for name in again)
    unedited = tiny_model("llama", dtype=finished.result.language_model.dtype).model.state_dict()
    different = {name for name in again if not torch.equal(unedited[name], again[name])}
    assert different == {"model.layers.0.mlp.down_proj.weight"}


def test_the_same_seed_gives_the_same_scores_and_the_same_files(config, tmp_path, without_report):
    runs = [workflow.run(config(seed=3, free_answers=1), tmp_path / name) for name in "ab"]
    for when in ("before", "after"):
        assert runs[0].summary[when] == runs[1].summary[when]
    one, two = (files(run.folder) for run in runs)
    assert one.keys() == two.keys()
    same = [name for name in one if name.startswith("model/") or name == "answers.jsonl"]
    assert len(same) > 3
    assert all(one[name] == two[name] for name in same)


def test_without_the_model_all_the_rest_is_there(config, tmp_path, without_report):
    values = {"save_model": False, "free_answers": 0, "edits_per_turn": 100}
    run = workflow.run(config(**values), tmp_path / "run")
    assert not (run.folder / "model").exists()
    assert {"summary.json", "records.jsonl", "answers.jsonl"} <= set(files(run.folder))
    assert run.summary["after"]["generation"] is None
    assert run.summary["turns"] == 1


@pytest.mark.parametrize(
    ("limits", "edits"), [({"limit": 1}, 1), ({"turns": 1}, 2), ({"turns": 1, "limit": 1}, 1)]
)
def test_both_limits_hold(config, tmp_path, without_report, limits, edits):
    run = workflow.run(config(save_model=False, free_answers=0, **limits), tmp_path / "run")
    assert run.summary["edits"] == edits


def test_what_the_user_chose_beats_the_preset(config, tmp_path):
    preset = tmp_path / "mine.toml"
    preset.write_text('modules = "layers.[1].mlp.up_proj"\neta = 0.5\nprotocol = "official"\n')
    lm = tiny_model("llama")
    settings = workflow.resolve(config(preset=str(preset), options={"eta": 0.25}), lm)
    assert settings.editor == UltraEdit(eta=0.25, protocol="official")
    assert settings.modules == ("layers.[1].mlp.up_proj",)
    chosen = config(preset=str(preset), options={}, modules="layers.[0].mlp.up_proj")
    settings = workflow.resolve(chosen, lm)
    assert settings.editor == UltraEdit(eta=0.5, protocol="official")
    assert settings.modules == ("layers.[0].mlp.up_proj",)


def test_modules_are_enough_for_a_model_that_no_preset_fits(config, monkeypatch):
    def unknown(*_):
        raise ConfigError("There is no preset for this model.")

    monkeypatch.setattr(presets, "find_preset", unknown)
    lm = tiny_model("llama")
    with pytest.raises(ConfigError, match="no preset"):
        workflow.resolve(config(), lm)
    settings = workflow.resolve(config(modules="layers.[1].mlp.up_proj", options={}), lm)
    assert settings.modules == ("layers.[1].mlp.up_proj",)
    assert settings.editor == UltraEdit(eta="auto")
    assert settings.preset_source == "no preset for this model"


def test_any_whole_number_is_a_seed():
    state = torch.get_rng_state()
    for seed in (-1, 10**30):
        workflow._seed(seed)
    torch.set_rng_state(state)


# Runs that end early


def test_folder_and_settings_are_there_before_the_model_loads(config, tmp_path, monkeypatch):
    seen = {}

    def load(*args, **kwargs):
        seen.update(read(tmp_path / "new" / "run" / "config.json"))
        raise ConfigError("no such model")

    monkeypatch.setattr(models, "load", load)
    with pytest.raises(ConfigError, match="no such model"):
        workflow.run(config(limit=2), tmp_path / "new" / "run")
    assert seen["settings"]["limit"] == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"editor": "ultraedt"}, ConfigError),
        ({"options": {"eta": 0}}, ConfigError),
        ({"modules": "layers.[9].mlp.down_proj"}, ConfigError),
        ({"preset": "nobody/zsre"}, ConfigError),
        ({"dtype": "float7"}, ConfigError),
        ({"data": "jsonl:nowhere.jsonl"}, DataError),
    ],
)
def test_a_run_that_cannot_begin_leaves_no_folder(config, tmp_path, values, error):
    with pytest.raises(error):
        workflow.run(config(**values), tmp_path / "new" / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays_where_a_run_cannot_begin(config, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError):
        workflow.run(config(modules="layers.[9].mlp.down_proj"), tmp_path / "run")
    assert files(tmp_path) == {}
    assert (tmp_path / "run").is_dir()


def test_a_folder_with_another_run_is_left_alone(config, finished):
    before = files(finished.folder)
    with pytest.raises(ConfigError, match="already holds a run"):
        workflow.run(config(), finished.folder)
    assert files(finished.folder) == before


def fail_in_turn(number, monkeypatch, error):
    step = UltraEdit.step

    def failing(self, host, turn, state):
        if turn.number == number:
            raise error
        return step(self, host, turn, state)

    monkeypatch.setattr(UltraEdit, "step", failing)


@pytest.mark.parametrize("error", [NumericalError("not finite."), KeyboardInterrupt()])
def test_a_run_that_fails_on_its_way_keeps_what_it_did(config, tmp_path, monkeypatch, error):
    fail_in_turn(2, monkeypatch, error)
    with pytest.raises(type(error)):
        workflow.run(config(free_answers=0), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir() if not path.name.startswith(".")}
    assert names == {
        *("config.json", "records.jsonl", "journal.sqlite", "journal.sha256", "state"),
    }
    records = lines(tmp_path / "run" / "records.jsonl")
    assert [(r["kind"], r["turn"]) for r in records] == [("checkpoint", 0), ("turn", 1)]
    assert "resolved" in read(tmp_path / "run" / "config.json")


def test_a_disk_that_fills_up_while_the_model_is_saved_keeps_the_rest(
    config, tmp_path, monkeypatch
):
    def full(lm, folder):
        raise StorageError("Could not write the model.")

    monkeypatch.setattr(session, "save", full)
    with pytest.raises(StorageError):
        workflow.run(config(free_answers=1), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"summary.json", "records.jsonl", "answers.jsonl", "report.md"} <= names


# The settings


def test_settings_from_a_file_or_an_earlier_run(tmp_path, finished):
    (tmp_path / "run.toml").write_text('model = "m"\ndata = "zsre:d"\n[options]\neta = 0.5\n')
    values = read_config(tmp_path / "run.toml")
    assert make_config(values).options == {"eta": 0.5}
    again = make_config(read_config(finished.folder / "config.json"))
    assert again == finished.config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limits": 1}, r"Unknown setting 'limits'\. Did you mean: limit\?"),
        ({"data": "d"}, r"--model is missing\."),
        ({"turns": 0}, r"turns must be at least 1, got 0\."),
        ({"edits_per_turn": "many"}, r"edits-per-turn must be a whole number, got 'many'\."),
        ({"save_model": "perhaps"}, r"save-model must be true or false, got 'perhaps'\."),
    ],
)
def test_settings_that_cannot_be_are_refused(values, message):
    base = {} if "data" in values else {"model": "m", "data": "d"}
    with pytest.raises(ConfigError, match=f"^{message}"):
        make_config(base | values)


def test_a_run_with_a_trunk_scores_as_one_without(config, tmp_path, without_report):
    scores = []
    for name, trunk in (("plain", False), ("cut", True)):
        run = workflow.run(
            config(trunk=trunk, evaluate_every=1, free_answers=0, save_model=False),
            tmp_path / name,
        )
        scores.append([r["scores"] for r in lines(run.folder / "records.jsonl") if "scores" in r])
        norms = [r["norms"] for r in lines(run.folder / "records.jsonl") if "norms" in r]
    assert scores[0] == scores[1]
    assert norms == [
        r["norms"] for r in lines(tmp_path / "plain" / "records.jsonl") if "norms" in r
    ]
