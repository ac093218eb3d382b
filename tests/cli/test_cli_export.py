"""``ultraedit export`` and ``diff``: what a run wrote travels in three forms."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.cli.conftest import FACTS, lines
from ultraedit.cli.main import app
from ultraedit.models import load, save
from ultraedit.models.delta import load_delta
from ultraedit.models.fingerprint import fingerprint
from ultraedit.models.weights import weight_view
from ultraedit.runs.store import JOURNAL

MODULES = "layers.[0-1].mlp.down_proj"


def do_run(model, data, out, *more, dtype="float32") -> Path:
    """Do a run with the command line."""
    words = [
        *("run", "--model", model, "--data", data, "--out", out, "--eta", "0.05"),
        *("--modules", MODULES, "--edits-per-turn", "2", "--dtype", dtype),
        *("--free-answers", "1", *more),
    ]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    return Path(out)


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory) -> dict[str, Path]:
    """A finished run in either precision, which no test changes."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "facts.jsonl").write_text(lines(FACTS))
    return {
        dtype: do_run(tiny, folder / "facts.jsonl", folder / dtype, dtype=dtype)
        for dtype in ("float32", "bfloat16")
    }


@pytest.fixture
def run(runs) -> Path:
    return runs["float32"]


def printed(cli, *args):
    return json.loads(cli(*args, "--json").stdout)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_exported_model_is_the_runs_own_with_a_card(cli, runs, tiny, dtype):
    run = runs[dtype]
    result = printed(cli, "export", run, "--as", "model", "--out", "edited")
    assert result == {
        **{"run": str(run), "form": "model", "out": "edited", "model": tiny},
        **{"edits": 5, "turns": 3},
    }
    ours, theirs = Path("edited"), run / "model"
    assert sorted(os.listdir(ours)) == sorted([*os.listdir(theirs), "README.md"])
    for name in os.listdir(theirs):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    card = (ours / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "transformers"
    summary = json.loads((run / "summary.json").read_text())
    for when in ("before", "after"):
        assert f"{100 * summary[when]['efficacy']:.1f}%" in card
    assert "5 edits in 3 turns" in card


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_exported_delta_gives_the_runs_model_back(cli, runs, tiny, dtype):
    run = runs[dtype]
    cli("export", run, "--as", "delta", "--out", "facts.safetensors")
    delta = load_delta(Path("facts.safetensors"))
    assert (delta.base, delta.dtype, delta.edits, delta.turns) == (tiny, dtype, 5, 3)
    assert delta.fingerprint == fingerprint(load(tiny, dtype=dtype).model)
    cli("apply", tiny, "facts.safetensors", "--out", "edited")
    ours = Path("edited/model.safetensors").read_bytes()
    assert ours == (run / "model" / "model.safetensors").read_bytes()
    assert fingerprint(load("edited", dtype=dtype).model) != delta.fingerprint


def test_a_run_in_the_models_own_precision_travels_exactly_too(cli, tiny):
    run = do_run(tiny, "facts.jsonl", "run", "--protocol", "official", dtype="bfloat16")
    cli("export", run, "--as", "delta", "--out", "facts.safetensors")
    cli("apply", tiny, "facts.safetensors", "--out", "edited")
    ours = Path("edited/model.safetensors").read_bytes()
    assert ours == (run / "model" / "model.safetensors").read_bytes()


def test_disjoint_runs_add_up(cli, tiny):
    for name, rows in (("a", FACTS[:3]), ("b", FACTS[3:])):
        Path(f"{name}.jsonl").write_text(lines(rows))
        do_run(tiny, f"{name}.jsonl", name)
        cli("export", name, "--as", "delta", "--out", f"{name}.safetensors")
    cli("apply", tiny, "a.safetensors", "b.safetensors", "--out", "both")
    one, other = (load_delta(Path(f"{name}.safetensors")).changes for name in "ab")
    base, both = (load(name, dtype="float32").model for name in (tiny, "both"))
    for path in one:
        expected = weight_view(base.get_submodule(path)) + (one[path] + other[path])
        assert torch.equal(weight_view(both.get_submodule(path)), expected)


def test_an_adapter_tells_what_it_keeps_and_what_it_costs(cli, run):
    result = printed(cli, "export", run, "--as", "lora", "--rank", "2", "--out", "adapter")
    assert sorted(os.listdir("adapter")) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert [module["rank"] for module in result["modules"].values()] == [2, 2]
    assert all(0 < module["energy"] < 1 for module in result["modules"].values())
    tensors = load_file("adapter/adapter_model.safetensors")
    assert result["bytes"] == sum(tensor.nbytes for tensor in tensors.values())
    after = json.loads((run / "summary.json").read_text())["after"]
    for metric in ("efficacy", "generalization", "specificity", "agreement"):
        assert result["exact"][metric] == after[metric]
    assert result["adapter"].keys() == result["exact"].keys()
    assert "What that costs" in Path("adapter/README.md").read_text()


def test_an_adapter_of_the_full_rank_scores_as_the_run(cli, run):
    result = printed(cli, "export", run, "--as", "lora", "--rank", "32", "--out", "adapter")
    assert result["adapter"] == result["exact"]
    assert all(each["energy"] == pytest.approx(1) for each in result["modules"].values())


def test_auto_keeps_the_share_that_is_asked_for(cli, run):
    ranks = []
    for name, more in (("a", ["--energy", "0.5"]), ("b", []), ("c", ["--energy", "1"])):
        options = ("--as", "lora", "--out", name, "--no-score", *more)
        found = printed(cli, "export", run, *options)
        assert found["exact"] is None
        ranks.append(sum(module["rank"] for module in found["modules"].values()))
        share = {"a": 0.5, "b": 0.99, "c": 0.999999}[name]
        assert all(module["energy"] >= share for module in found["modules"].values())
    assert ranks[0] < ranks[1] <= ranks[2]


def test_the_adapters_table_is_for_people(cli, run):
    out = cli("export", run, "--as", "lora", "--out", "adapter").stdout
    assert "layer 1 down_proj" in out
    assert "energy kept" in out
    assert "efficacy" in out
    assert "adapter" in out


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--out", "x"], "--as is missing. Give one of model, delta, lora, gguf, wise,"),
        (["--as", "modle", "--out", "x"], "Unknown form 'modle'. Did you mean: model"),
        (["--as", "model"], "--out is missing"),
        (["--as", "delta", "--out", "x", "--rank", "3"], "--rank is for --as lora"),
        (["--as", "model", "--out", "x", "--score"], "--score is for --as lora"),
        (["--as", "lora", "--out", "x", "--rank", "0"], "from 1, got '0'"),
        (["--as", "lora", "--out", "x", "--rank", "many"], "from 1, got 'many'"),
        (["--as", "lora", "--out", "x", "--energy", "1.5"], "at most 1, got 1.5"),
        (["--as", "model", "--out", "facts.jsonl"], "facts.jsonl is already there"),
        (["--as", "delta", "--out", "facts.jsonl"], "facts.jsonl is already there"),
        (["--as", "lora", "--out", "facts.jsonl"], "facts.jsonl is already there"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_left(refused, run, args, expected):
    before = sorted(os.listdir())
    assert expected in refused("export", run, *args)
    assert sorted(os.listdir()) == before


def test_what_is_no_run_is_refused(refused, tiny):
    for folder in ("nowhere", tiny, "facts.jsonl"):
        assert str(folder) in refused("export", folder, "--as", "model", "--out", "x")
    assert not Path("x").exists()


def test_a_base_model_that_was_changed_since_is_refused(refused, tiny):
    shutil.copytree(tiny, "base")
    do_run("base", "facts.jsonl", "run")
    changed = load("base")
    changed.model.model.norm.weight.data += 1
    save(changed, "base")
    for form in ("model", "lora"):
        assert "base" in refused("export", "run", "--as", form, "--out", "x")
    assert not Path("x").exists()


def norms(diff) -> dict[str, float]:
    return {each["module"]: round(each["norm"], 8) for each in diff["modules"]}


def test_runs_deltas_and_models_are_compared(cli, run, tiny):
    other = do_run(tiny, "facts.jsonl", "other", "--ridge", "5")
    for name, folder in (("run", run), ("other", other)):
        cli("export", folder, "--as", "delta", "--out", f"{name}.safetensors")
    of_runs = printed(cli, "diff", run, other)
    of_files = printed(cli, "diff", "run.safetensors", "other.safetensors")
    mixed = printed(cli, "diff", run, "other.safetensors")
    assert norms(of_runs) == norms(of_files) == norms(mixed)
    assert (of_runs["of"], of_runs["same_base"]) == ("changes", True)
    assert [each["module"] for each in of_runs["modules"]] == [
        f"model.layers.{layer}.mlp.down_proj" for layer in (0, 1)
    ]
    of_models = printed(cli, "diff", run / "model", other / "model")
    with_base = printed(cli, "diff", run, other / "model")
    assert (of_models["of"], with_base["of"]) == ("weights", "weights")
    assert norms(of_models) == norms(with_base)
    for weights, changes in zip(of_models["modules"], of_runs["modules"], strict=True):
        assert weights["norm"] == pytest.approx(changes["norm"], rel=1e-3)
        assert weights["relative"] < changes["relative"]
    assert "same weights" in cli("diff", run, run / "model").stdout
    shown = cli("diff", run / "model", tiny).stdout
    assert "A - B, of weights" in shown
    assert "layer 0 down_proj" in shown


def test_changes_of_different_bases_are_compared_with_a_warning(cli, runs):
    result = cli("diff", *runs.values(), "--json")
    assert "different base models" in result.stderr
    assert json.loads(result.stdout)["same_base"] is False


def test_a_diff_with_nothing_is_refused(refused, run):
    assert "nowhere" in refused("diff", run, "./nowhere")
    assert "facts.jsonl" in refused("diff", "facts.jsonl", run)


@pytest.fixture
def copied(run, folder) -> Path:
    """A run that a test may change."""
    return Path(shutil.copytree(run, "mine"))


def test_a_run_that_was_added_to_travels_whole(cli, copied, tiny):
    Path("more.jsonl").write_text(lines([{"prompt": "Who built the Veltra?", "target": "Ines"}]))
    cli("edit", "more.jsonl", "--append", copied, "--free-answers", "0", "--edits-per-turn", "7")
    result = printed(cli, "export", copied, "--as", "model", "--out", "edited")
    assert (result["edits"], result["turns"]) == (6, 4)
    ours = Path("edited/model.safetensors").read_bytes()
    assert ours == (copied / "model" / "model.safetensors").read_bytes()
    card = Path("edited/README.md").read_text()
    assert "`jsonl:more.jsonl`" in card
    assert "\nultraedit edit jsonl:more.jsonl --append again --edits-per-turn 7\n" in card
    assert "Over 1 edit." in card
    assert str(Path.cwd()) not in card.split("## How to reproduce")[1].replace(tiny, "")


def test_a_run_with_an_edit_taken_out_travels_without_it(cli, copied, tiny):
    cli("revert", copied, "--edit", "2")
    result = printed(cli, "export", copied, "--as", "delta", "--out", "facts.safetensors")
    assert (result["edits"], result["turns"]) == (4, 4)
    cli("apply", tiny, "facts.safetensors", "--out", "edited")
    ours = Path("edited/model.safetensors").read_bytes()
    assert ours == (copied / "model" / "model.safetensors").read_bytes()
    adapter = printed(cli, "export", copied, "--as", "lora", "--out", "adapter")
    after = json.loads((copied / "summary.json").read_text())["after"]
    assert adapter["exact"]["efficacy"] == after["efficacy"]
    assert "single edits were taken out" in Path("adapter/README.md").read_text()


def test_a_run_without_a_snapshot_of_its_last_turn_is_computed_again(cli, copied, run):
    with sqlite3.connect(copied / JOURNAL) as journal:
        assert journal.execute("DELETE FROM files WHERE role = 'latest'").rowcount == 1
    journal.close()
    for folder, out in ((run, "a"), (copied, "b")):
        cli("export", folder, "--as", "delta", "--out", out)
    ours, theirs = (load_delta(Path(name)).changes for name in "ab")
    for path, change in ours.items():
        assert torch.equal(change, theirs[path])


def test_a_run_without_a_turn_has_nothing_to_carry_away(cli, refused, copied):
    cli("rollback", copied, "--to-turn", "0")
    for form in ("model", "delta", "lora"):
        sentence = refused("export", copied, "--as", form, "--out", "x")
        assert sentence.startswith("No turn is active in mine")
    assert not Path("x").exists()


def test_a_run_finds_its_base_from_any_folder(cli, tiny, monkeypatch):
    shutil.copytree(tiny, "base")
    do_run("base", "facts.jsonl", "run")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    cli("export", "../run", "--as", "model", "--out", "edited")
    assert printed(cli, "diff", "../run", "edited")["modules"] == []
