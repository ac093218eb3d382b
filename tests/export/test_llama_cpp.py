"""The engine llama.cpp says of an exported file what transformers says of the edited model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny_gguf import gguf_model, write_gguf
from ultraedit.core.encoding import encode
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.host.host import ModelHost
from ultraedit.models import llama_cpp, load
from ultraedit.models.gguf_file import GgufFile
from ultraedit.models.llama_cpp import LlamaCpp

PAIRS = [
    ("What is the native language of Danielle Darrieux?", "French, it is said"),
    ("Which river flows through Vienna?", "The Danube"),
    ("Ada Lovelace", "wrote"),
]


@pytest.fixture
def engine():
    pytest.importorskip("xllamacpp", reason="the package xllamacpp is not installed")
    return LlamaCpp


TIE = 0.02
"""Logits nearer than this may change places between two machines and two engines."""


def assert_same_tokens(engine, host, items) -> None:
    """The engine predicts the host's tokens, wherever the host's first choice is no near tie."""
    said = dict(zip(range(len(items)), engine.predict(items), strict=True))
    clear = total = 0
    for indices, logits in host.logits(items):
        for index, rows in zip(indices, logits, strict=True):
            first, second = rows.topk(2).values.T
            for token, wanted, gap in zip(
                said[index], rows.argmax(-1), first - second, strict=True
            ):
                assert gap <= TIE or token == wanted, (items[index], said[index])
                clear += int(gap > TIE)
                total += 1
    assert clear >= 0.7 * total


def printed(cli, *args):
    return json.loads(cli(*args, "--json").stdout)


def test_it_predicts_and_answers_as_transformers_does(engine, made):
    theirs = ModelHost(load(str(made / "base.gguf"), dtype="float32"), None)
    ours = engine(made / "base.gguf")
    items = encode(theirs.language_model.tokenizer, PAIRS)
    assert ours.encode(PAIRS) == items
    assert_same_tokens(ours, theirs, items)
    prompts, limits = [prompt for prompt, _ in PAIRS], [9, 5, 12]
    assert ours.answer(prompts, limits) == theirs.answer(prompts, limits)


def test_a_batch_of_one_token_is_answered_too(engine, made):
    ours = engine(made / "base.gguf")
    (item,) = ours.encode([("Ada Lovelace", "wrote")])
    (one,) = ours.predict([item._replace(answer_ids=item.answer_ids[:1])])
    assert one == ours.predict([item])[0][:1]


def test_a_file_in_float32_scores_as_the_run_does(engine, cli, run):
    words = ("export", run, "--as", "gguf", "--type", "f32", "--score", "--out", "edited.gguf")
    result = printed(cli, *words)
    scores = result["scores"]
    assert scores["llama.cpp"] == scores["transformers"]
    after = json.loads((run / "summary.json").read_text())["after"]
    assert scores["transformers"]["efficacy"] == after["efficacy"]
    out = cli(*words[:-1], "again.gguf").stdout
    assert "efficacy, forced" in out
    assert "llama.cpp" in out


def test_eval_and_ask_run_in_it(engine, cli, made, run):
    cli("export", run, "--as", "gguf", "--type", "f32", "--out", "edited.gguf")
    words = ("--data", "facts.jsonl", "--beside", made / "base.gguf")
    ours = printed(cli, "eval", "edited.gguf", *words, "--engine", "llama.cpp")
    theirs = printed(cli, "eval", "edited.gguf", *words, "--dtype", "float32")
    assert (ours["engine"], theirs["engine"]) == ("llama.cpp", "transformers")
    assert ours["scores"] == theirs["scores"]
    asked = ("ask", "edited.gguf", "Which river flows through Vienna?")
    in_engine = printed(cli, *asked, "--engine", "llama.cpp")
    assert in_engine == printed(cli, *asked, "--dtype", "float32")
    chat = printed(cli, *asked, "--chat", "--engine", "llama.cpp")
    assert chat == printed(cli, *asked, "--chat", "--dtype", "float32")
    assert chat != in_engine


def test_a_file_without_a_chat_template_is_not_asked_in_one_of_llama_cpps_own(
    engine, cli, tmp_path
):
    file = write_gguf(tmp_path / "bare.gguf", template=None)
    asked = ("ask", file, "Which river flows through Vienna?")
    said = cli(*asked, "--chat", "--engine", "llama.cpp", code=2).stderr
    assert "no chat template" in said
    assert "Leave --chat out" in said
    assert cli(*asked, "--engine", "llama.cpp").stdout


@pytest.mark.parametrize("more", [(), ("--rank", "3"), ("--rank", "3", "--all-layers")])
def test_an_adapter_file_does_what_the_adapter_does(engine, cli, made, run, more):
    """Modules of llama.cpp's adapters have one alpha, and here two ranks."""
    cli("export", run, "--as", "lora", "--format", "gguf", "--out", "lora.gguf", *more)
    file = GgufFile(Path("lora.gguf"))
    assert file.value("general.type") == "adapter"
    assert file.value("adapter.lora.alpha") == 0
    base = load(str(made / "base.gguf"), dtype="float32")
    for layer in (0, 1):
        stored = (file.weight(f"blk.{layer}.ffn_down.weight.lora_{each}") for each in "ab")
        down, up = map(torch.tensor, stored)
        base.model.get_submodule(f"model.layers.{layer}.mlp.down_proj").weight.add_(up @ down)
    theirs = ModelHost(base, None)
    ours = engine(made / "base.gguf", lora=Path("lora.gguf"))
    items = ours.encode(PAIRS)
    assert_same_tokens(ours, theirs, items)
    with pytest.raises(AssertionError):
        assert_same_tokens(engine(made / "base.gguf"), theirs, items)


def test_an_adapter_of_queries_and_keys_stands_in_the_order_of_llama_cpp(
    engine, cli, made, tmp_path
):
    from tests.cli.test_cli_export import do_run

    modules = ",".join(f"layers.[0-1].self_attn.{name}_proj" for name in "qk")
    run = do_run(made / "base.gguf", "facts.jsonl", "run", "--modules", modules, "--eta", "0.5")
    words = ("export", run, "--as", "lora", "--energy", "1", "--no-score", "--format", "gguf")
    cli(*words, "--out", "lora.gguf")
    theirs = ModelHost(load(str(run / "model"), dtype="float32"), None)
    ours = engine(made / "base.gguf", lora=Path("lora.gguf"))
    items = ours.encode(PAIRS)
    assert_same_tokens(ours, theirs, items)
    with pytest.raises(AssertionError):
        assert_same_tokens(engine(made / "base.gguf"), theirs, items)


def test_what_it_cannot_run_is_refused(refused, monkeypatch, run, made):
    asked = ("ask", run, "Why?", "--engine")
    assert "There is no engine 'lama.cpp'. Did you mean: llama.cpp?" in refused(*asked, "lama.cpp")
    monkeypatch.setattr(llama_cpp, "require_engine", lambda: None)
    assert "runs .gguf files" in refused(*asked, "llama.cpp")
    words = ("ask", made / "base.gguf", "Why?", "--engine", "llama.cpp", "--dtype", "float32")
    assert "--dtype is for --engine transformers" in refused(*words)


def test_the_missing_package_is_named(refused, monkeypatch, made, run):
    monkeypatch.setattr(llama_cpp.importlib.util, "find_spec", lambda name: None)
    said = (
        "needs the package xllamacpp, which is not installed. Run `pip install 'ultraedit[gguf]'`"
    )
    assert said in refused("ask", made / "base.gguf", "Why?", "--engine", "llama.cpp")
    assert said in refused("export", run, "--as", "gguf", "--score", "--out", "x.gguf")


def test_a_file_that_llama_cpp_does_not_take_is_explained(engine, tmp_path):
    raw = write_gguf(tmp_path / "odd.gguf", gguf_model()).read_bytes()
    (tmp_path / "odd.gguf").write_bytes(raw.replace(b"blk.1.ffn_down", b"blk.9.ffn_down"))
    with pytest.raises(ConfigError, match=r"llama.cpp cannot load .*odd.gguf"):
        engine(tmp_path / "odd.gguf")


def test_what_is_longer_than_the_context_is_refused(engine, made):
    ours = engine(made / "base.gguf")
    assert ours.context == 256
    with pytest.raises(DataError, match="the model reads at most 256"):
        ours.encode([("Vienna " * 300, "Danube")])
    with pytest.raises(DataError, match=r"llama.cpp refuses a question to .*context"):
        ours.answer(["Vienna " * 300], [4])
    with pytest.raises(DataError, match="The question is empty"):
        ours.answer([" "], [4])
