"""``inspect``: what exported files say of themselves, and whether a run wrote them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.test_cli_export import do_run
from tests.tiny_gguf import HEADS, KV_HEADS, write_gguf
from ultraedit.models.delta import load_delta, save_delta
from ultraedit.models.gguf_file import GgufFile, write_new

FILES = {
    "parts.safetensors": ("--as", "delta", "--shard-size", "30KB"),
    "facts.safetensors": ("--as", "delta"),
    "f32.gguf": ("--as", "gguf", "--type", "f32"),
    "f16.gguf": ("--as", "gguf"),
    "q8.gguf": ("--as", "gguf", "--type", "q8_0"),
    "adapter": ("--as", "lora", "--no-score"),
    "wide": ("--as", "lora", "--no-score", "--rank", "3", "--all-layers"),
    "lora.gguf": ("--as", "lora", "--no-score", "--format", "gguf"),
}
KINDS = {
    "parts.safetensors": "delta",
    "facts.safetensors": "delta",
    "adapter": "PEFT adapter",
    "wide": "PEFT adapter",
    "lora.gguf": "GGUF adapter",
}


def printed(cli, *args, code=0):
    return json.loads(cli(*args, "--json", code=code).stdout)


@pytest.mark.parametrize("name", list(FILES))
def test_every_form_says_where_it_comes_from_and_is_what_the_run_wrote(cli, run, name):
    cli("export", run, *FILES[name], "--out", name)
    said = printed(cli, "inspect", name, "--run", run)
    assert said["kind"] == KINDS.get(name, "GGUF model")
    about = said["about"]
    assert (about["editor"], about["edits"], about["turns"]) == ("ultraedit", "5", "3")
    assert about["facts"].startswith("sha256:")
    assert about["fingerprint"].startswith("sha256:")
    after = json.loads((run / "summary.json").read_text())["after"]
    assert json.loads(about["scores"])["efficacy"] == after["efficacy"]
    assert said["as_written"] is True
    assert len(said["checks"]) >= 7
    shown = cli("inspect", name).stdout
    assert "efficacy" in shown
    assert about["facts"][:20] in shown
    assert printed(cli, "inspect", name)["as_written"] is None


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_of_another_run_is_told(cli, run, runs, name):
    cli("export", run, *FILES[name], "--out", name)
    said = printed(cli, "inspect", name, "--run", runs["bfloat16"], code=1)
    assert said["as_written"] is False
    wrong = {each["name"] for each in said["checks"] if not each["ok"]}
    assert {"fingerprint", "dtype"} <= wrong
    assert "facts" not in wrong


def test_a_changed_weight_is_told_in_every_form(cli, run):
    for name in ("facts.safetensors", "f16.gguf", "adapter"):
        cli("export", run, *FILES[name], "--out", name)
    delta = load_delta(Path("facts.safetensors"))
    first = next(iter(delta.changes))
    delta.changes[first][0, 0] += 1e-4
    Path("facts.safetensors").unlink()
    save_delta(delta, Path("facts.safetensors"))
    raw = bytearray(Path("f16.gguf").read_bytes())
    raw[-3000] ^= 0x40  # of the last tensors, which the run did not edit
    Path("f16.gguf").write_bytes(raw)
    path = Path("adapter/adapter_model.safetensors")
    tensors = load_file(path)
    tensors[next(name for name in tensors if "lora_B" in name)][0] += 1
    save_file(tensors, path)
    for name, check in (
        ("facts.safetensors", "changes"),
        ("f16.gguf", "other tensors"),
        ("adapter", first),
    ):
        said = printed(cli, "inspect", name, "--run", run, code=1)
        wrong = [each["name"] for each in said["checks"] if not each["ok"]]
        assert any(check in each for each in wrong), (name, wrong)


def test_a_file_that_is_not_of_this_package_has_no_provenance(cli, run):
    write_gguf(Path("mine.gguf"))
    assert "none: the file was not made by ultraedit" in cli("inspect", "mine.gguf").stdout
    said = printed(cli, "inspect", "mine.gguf", "--run", run, code=1)
    assert not next(each for each in said["checks"] if each["name"] == "provenance")["ok"]


def test_an_older_delta_without_facts_and_scores_is_read(cli, run):
    cli("export", run, "--as", "delta", "--out", "new.safetensors")
    from safetensors import safe_open

    with safe_open("new.safetensors", framework="pt") as file:
        header = {k: v for k, v in file.metadata().items() if k not in ("facts", "scores")}
    save_file(load_file("new.safetensors"), "old.safetensors", metadata=header)
    said = printed(cli, "inspect", "old.safetensors", "--run", run)
    assert said["as_written"] is True
    assert "facts" not in said["about"]
    old, new = (load_delta(Path(f"{name}.safetensors")) for name in ("old", "new"))
    assert all(torch.equal(old.changes[path], new.changes[path]) for path in new.changes)


def test_what_is_no_exported_file_is_refused(refused, run, tmp_path):
    assert "is no exported file" in refused("inspect", "nowhere")
    assert "is no exported file" in refused("inspect", run)
    assert "facts.jsonl is no safetensors file" in refused("inspect", "facts.jsonl")


def test_a_gguf_is_edited_and_given_back_in_one_command(cli, refused, made):
    shutil.copy(made / "base.gguf", "model.gguf")
    words = ("edit", "facts.jsonl", "--model", "model.gguf", "--out", "fixed.gguf")
    more = ("--modules", "layers.[0-1].mlp.down_proj", "--eta", "0.05", "--free-answers", "1")
    result = printed(cli, *words, *more)
    folder = Path(result["folder"])
    assert folder.parts[0] == "runs"
    assert not (folder / "model").exists()
    assert result["gguf"]["bytes"] == Path("fixed.gguf").stat().st_size
    assert printed(cli, "inspect", "fixed.gguf", "--run", folder)["as_written"] is True
    assert Path("fixed.Modelfile").is_file()
    assert "fixed.gguf is already there" in refused(*words, *more)
    assert len(list(Path("runs").iterdir())) == 1


def test_a_model_that_is_no_gguf_is_not_given_back_as_one(refused, tiny):
    words = ("edit", "facts.jsonl", "--model", tiny, "--modules", "layers.[0-1].mlp.down_proj")
    said = refused(*words, "--out", "fixed.gguf")
    assert "is no GGUF file, so it cannot be given back as fixed.gguf" in said
    assert not Path("runs").exists()


def test_a_sharded_delta_is_applied_inspected_and_compared_by_one_name(cli, run, made):
    for name in ("facts.safetensors", "parts.safetensors"):
        result = printed(cli, "export", run, *FILES[name], "--out", name)
        assert len(result["files"]) == (3 if name == "parts.safetensors" else 1)
        assert result["bytes"] == sum(Path(file).stat().st_size for file in result["files"])
    assert not Path("parts.safetensors").exists()
    assert printed(cli, "inspect", "parts.safetensors")["holds"]["shards"] == "2"
    for name in ("facts", "parts"):
        cli("apply", made / "base.gguf", f"{name}.safetensors", "--out", name)
    files = [next(Path(name).glob("*.safetensors")).read_bytes() for name in ("facts", "parts")]
    assert files[0] == files[1]
    for other in ("facts.safetensors", run):
        assert all(each["norm"] == 0 for each in changed(cli, "parts.safetensors", other))
    words = ("export", run, "--as", "delta", "--out", "shown.safetensors", "--shard-size", "30KB")
    assert "in 2 shards and an index" in cli(*words).stdout


def test_diff_takes_a_delta_an_adapter_a_gguf_and_a_run(cli, refused, run, made):
    for name in ("facts.safetensors", "f32.gguf"):
        cli("export", run, *FILES[name], "--out", name)
    words = ("export", run, "--as", "lora", "--no-score", "--energy", "1", "--out", "adapter")
    cli(*words)
    cli("export", run, "--as", "lora", "--no-score", "--rank", "1", "--out", "narrow")
    base = made / "base.gguf"
    sizes = {each["module"]: each["norm"] for each in changed(cli, run, base)}
    assert len(sizes) == 2
    for name in ("facts.safetensors", "adapter", run):
        for other in ("facts.safetensors", "adapter", run):
            for each in changed(cli, name, other):
                assert each["norm"] < 1e-4 * max(sizes.values())
    for each in changed(cli, "narrow", "facts.safetensors"):
        assert 0.01 < each["relative"] < 1
    assert all(each["norm"] < 1e-5 for each in changed(cli, "f32.gguf", run))
    cli(*words[:-2], "--format", "gguf", "--out", "lora.gguf")
    for other in ("facts.safetensors", "adapter", run, "lora.gguf"):
        for each in changed(cli, "lora.gguf", other):
            assert each["norm"] < 1e-4 * max(sizes.values())
    to_base = {each["module"]: each["norm"] for each in changed(cli, "lora.gguf", base)}
    assert to_base == pytest.approx(sizes, rel=1e-3)
    of_files = {each["module"]: each["norm"] for each in changed(cli, "f32.gguf", "adapter")}
    assert all(norm < 1e-4 * max(sizes.values()) for norm in of_files.values())
    foreign = load_file("adapter/adapter_model.safetensors")
    save_file(foreign, "adapter/adapter_model.safetensors")
    assert "was not exported by ultraedit" in refused("diff", "adapter", run)


def test_diff_puts_the_rows_of_queries_and_keys_back_in_the_order_of_the_model(cli, made):
    shutil.copy(made / "facts.jsonl", "facts.jsonl")
    modules = ",".join(f"layers.[0-1].self_attn.{name}_proj" for name in "qkvo")
    run = do_run(made / "base.gguf", "facts.jsonl", "attention", "--modules", modules)
    more = ("--as", "lora", "--no-score", "--energy", "1", "--format", "gguf")
    cli("export", run, *more, "--out", "lora.gguf")
    found = printed(cli, "diff", "lora.gguf", run)
    assert found["same_base"] is True
    assert len(found["modules"]) == 8
    # Where the rows stand in another order the two are about as far apart as their size.
    assert all(each["relative"] < 1e-3 for each in found["modules"])
    stored = GgufFile(Path("lora.gguf"))
    heads = {name: each[1] for name, each in json.loads(stored.value("ultraedit.modules")).items()}
    assert {name.split(".")[2]: count for name, count in heads.items()} == {
        "attn_q": HEADS,
        "attn_k": KV_HEADS,
        "attn_v": 0,
        "attn_output": 0,
    }


def test_an_adapter_of_llama_cpp_is_no_model_and_one_of_others_says_nothing(cli, refused, run):
    cli("export", run, *FILES["lora.gguf"], "--out", "lora.gguf")
    for more in ((), ("--engine", "llama.cpp")):
        said = refused("ask", "lora.gguf", "Who leads Velmora?", *more)
        assert "lora.gguf is an adapter, not a model" in said
    stored = GgufFile(Path("lora.gguf"))
    about = {"general.type": "adapter", "general.architecture": "llama"}
    write_new(Path("foreign.gguf"), about, {name: stored.weight(name) for name in stored.tensors})
    said = refused("diff", "foreign.gguf", run)
    assert "does not say which modules it changes" in said


def changed(cli, a, b):
    return printed(cli, "diff", a, b)["modules"]
