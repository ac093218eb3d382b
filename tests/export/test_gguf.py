"""``export --as gguf``: the base file with the edited tensors of the run."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind

from tests.cli.conftest import FACTS, lines
from tests.cli.test_cli_export import do_run
from tests.export.conftest import DOWN
from tests.tiny_gguf import gguf_model, write_gguf
from ultraedit.core.errors import StorageError
from ultraedit.core.files import sha256
from ultraedit.export import gguf as export_gguf
from ultraedit.models import find_modules, load, save
from ultraedit.models.gguf_file import GgufFile, same_bytes

IDS = torch.arange(24).view(2, 12)


def printed(cli, *args):
    return json.loads(cli(*args, "--json").stdout)


def logits(name, dtype="float32"):
    with torch.no_grad():
        return load(str(name), dtype=dtype).model(IDS).logits.float()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_float32_file_is_the_edited_model_and_else_the_base(cli, made, runs, dtype):
    run = runs[dtype]
    result = printed(cli, "export", run, "--as", "gguf", "--type", "f32", "--out", "edited.gguf")
    base, edited = GgufFile(made / "base.gguf"), GgufFile(Path("edited.gguf"))
    assert result["base_file"] == str(base.path)
    assert result["base_sha256"] == sha256(base.path)
    assert result["bytes"] == edited.path.stat().st_size
    changed = {name for name in base.tensors if not same_bytes(base, edited, name)}
    assert changed == {each["tensor"] for each in result["tensors"]}
    assert changed == {f"blk.{layer}.ffn_down.weight" for layer in (0, 1)}
    ours = load("edited.gguf", dtype=dtype).model.state_dict()
    theirs = load(str(run / "model"), dtype=dtype).model.state_dict()
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name
    before = logits(made / "base.gguf", dtype)
    assert (logits("edited.gguf", dtype) - before).abs().max() > 0.05
    assert all(each["kept"] == pytest.approx(1, abs=2e-2) for each in result["tensors"])


@pytest.mark.parametrize(
    ("kind", "error"), [("f16", 2**-11), ("bf16", 2**-8), ("q8_0", 0.01), ("f32", 0)]
)
def test_every_type_keeps_the_change_within_its_rounding(cli, run, kind, error):
    result = printed(cli, "export", run, "--as", "gguf", "--type", kind, "--out", "edited.gguf")
    for each in result["tensors"]:
        assert each["type"] == kind.upper()
        assert 0 <= each["error"] <= error
        assert each["kept"] == pytest.approx(1, abs=0.01)
    wanted = load(str(run / "model"), dtype="float32")
    for path, module in find_modules(wanted.model, [DOWN]).items():
        name = f"blk.{path.split('.')[2]}.ffn_down.weight"
        stored = GgufFile(Path("edited.gguf")).weight(name)
        distance = np.linalg.norm(stored - module.weight.numpy()) / module.weight.norm()
        assert distance <= error


def test_queries_and_keys_are_put_in_the_order_of_llama_cpp(cli, made, runs):
    modules = ",".join(f"layers.[0-1].self_attn.{name}_proj" for name in "qkvo")
    run = do_run(made / "base.gguf", "facts.jsonl", "attention", "--modules", modules)
    result = printed(cli, "export", run, "--as", "gguf", "--type", "f32", "--out", "edited.gguf")
    assert {each["tensor"].split(".")[2] for each in result["tensors"]} >= {"attn_q", "attn_k"}
    difference = logits("edited.gguf") - logits(run / "model")
    assert difference.abs().max() < 1e-5
    assert (logits("edited.gguf") - logits(made / "base.gguf")).abs().max() > 0.01


def test_a_run_on_a_folder_takes_the_file_that_was_made_of_it(cli, refused, runs):
    lm = gguf_model(dtype=torch.bfloat16)
    save(lm, "folder")
    for name, kind in (("f16", Kind.F16), ("q8", Kind.Q8_0), ("q4", Kind.Q4_1)):
        write_gguf(Path(f"{name}.gguf"), lm, kind)
    write_gguf(Path("other.gguf"), gguf_model(seed=1), Kind.F16)
    run = do_run("folder", "facts.jsonl", "run", dtype="bfloat16")
    without = refused("export", run, "--as", "gguf", "--out", "edited.gguf")
    assert "convert_hf_to_gguf.py" in without
    assert "--base base.gguf" in without
    wrong = ("export", run, "--as", "gguf", "--base", "other.gguf", "--out", "edited.gguf")
    assert "other.gguf does not hold the weights that the run edited" in refused(*wrong)
    assert not Path("edited.gguf").exists()
    wanted = load(str(run / "model"), dtype="float32").model
    for name in ("f16", "q8", "q4"):
        out = f"{name}-edited.gguf"
        cli("export", run, "--as", "gguf", "--base", f"{name}.gguf", "--out", out)
        stored = GgufFile(Path(out)).weight("blk.1.ffn_down.weight")
        expected = wanted.get_submodule("model.layers.1.mlp.down_proj").weight.numpy()
        assert np.allclose(stored, expected, rtol=2**-10, atol=1e-6)


def test_the_types_of_four_bits_lose_a_part_of_the_change_and_say_so(cli, refused, made, runs):
    shutil.copy(made / "facts.jsonl", "facts.jsonl")
    write_gguf(Path("q4.gguf"), kind=Kind.Q4_1)
    run = do_run("q4.gguf", "facts.jsonl", "run", "--eta", "0.002")
    words = ("export", run, "--as", "gguf", "--type", "same", "--out", "edited.gguf")
    said = refused(*words)
    assert "Stored as Q4_1, as the base file has it, of the change survives" in said
    assert "blk.1.ffn_down.weight" in said
    assert not Path("edited.gguf").exists()
    result = printed(cli, *words, "--yes")
    assert {each["type"] for each in result["tensors"]} == {"Q4_1"}
    files = [GgufFile(Path(name)) for name in ("q4.gguf", "edited.gguf")]
    wanted = load(str(run / "model"), dtype="float32").model
    for each in result["tensors"]:
        before, stored = (file.weight(each["tensor"]) for file in files)
        change = wanted.get_submodule(each["module"]).weight.numpy() - before
        share = float(((stored - before) * change).sum() / (change * change).sum())
        assert each["kept"] == pytest.approx(share, rel=1e-4)
        assert each["error"] > 0.02
        assert f"{100 * share:.2f}% in {each['tensor']}" in said


def test_a_file_says_where_it_comes_from(cli, made, run):
    cli("export", run, "--as", "gguf", "--out", "edited.gguf")
    file = GgufFile(Path("edited.gguf"))
    about = {key: file.value(f"ultraedit.{key}") for key in ("editor", "edits", "turns", "dtype")}
    assert about == {"editor": "ultraedit", "edits": "5", "turns": "3", "dtype": "float32"}
    assert file.value("ultraedit.base_sha256") == sha256(made / "base.gguf")
    after = json.loads((run / "summary.json").read_text())["after"]
    scores = json.loads(file.value("ultraedit.scores"))
    assert scores["efficacy"] == after["efficacy"]
    modelfile = Path("edited.Modelfile").read_text()
    assert modelfile.startswith("FROM ./edited.gguf\nTEMPLATE ")


def test_what_is_printed_can_be_typed(cli, run):
    out = cli("export", run, "--as", "gguf", "--out", "My Model.gguf").stdout
    assert "Run it: llama-cli -m 'My Model.gguf'" in out
    assert "Run it: ollama create my-model -f 'My Model.Modelfile' && ollama run my-model" in out
    assert "100.00%" in out


def test_what_is_read_back_wrongly_is_not_kept(cli, run, monkeypatch):
    right = export_gguf.encoded
    monkeypatch.setattr(export_gguf, "encoded", lambda weight, kind: right(weight * 1.01, kind))
    with pytest.raises(StorageError, match="read back is not its weight rounded to F16"):
        export_gguf.export_gguf(run, Path("edited.gguf"))
    assert not Path("edited.gguf").exists()
    assert not Path("edited.Modelfile").exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--type", "q4_0"], "--type must be one of f16, q8_0, bf16, f32, same, got 'q4_0'"),
        (["--out", "facts.jsonl"], "facts.jsonl is already there"),
        (["--base", "facts.jsonl"], "facts.jsonl is not a GGUF file"),
        (["--base", "nowhere.gguf"], "There is no file nowhere.gguf"),
        (["--rank", "3"], "--rank is for --as lora; --as gguf does not take it"),
    ],
)
def test_bad_input_is_refused(refused, run, more, expected):
    out = [] if "--out" in more else ["--out", "x.gguf"]
    assert expected in refused("export", run, "--as", "gguf", *out, *more)
    assert not Path("x.gguf").exists()


def test_a_weight_that_float16_cannot_hold_is_refused(made, run, monkeypatch, tmp_path):
    Path("facts.jsonl").write_text(lines(FACTS))
    right = export_gguf.run_weights

    def huge(model, delta):
        return {
            path: weight._replace(after=weight.after * 1e7)
            for path, weight in right(model, delta).items()
        }

    monkeypatch.setattr(export_gguf, "run_weights", huge)
    with np.errstate(over="ignore"), pytest.raises(StorageError, match="beyond 65504"):
        export_gguf.export_gguf(run, tmp_path / "x.gguf")


def test_the_memory_of_an_export_does_not_grow_with_the_edited_tensors(tmp_path):
    """A file of zeros but for the edited tensors, as the benchmark of 7 billion weights has it."""
    from benchmarks.gguf_export import Weights, export_edited, write_base

    base, layers = tmp_path / "base.gguf", 6
    write_base(base, "f16", layers, 256, 4, layers)
    peaks = []
    for count in (1, 1, layers):  # the first call imports and caches
        weights = Weights(GgufFile(base), layers, count)
        tracemalloc.start()
        _, written = export_edited(GgufFile(base), weights, "f16", tmp_path / "edited.gguf")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(written) == count
        (tmp_path / "edited.gguf").unlink()
    assert peaks[2] < peaks[1] + 256 * 896 * 4  # one tensor in float32
