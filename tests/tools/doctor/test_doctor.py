"""`ultraedit doctor`: what is in a model, what is special about it, and if it can be edited."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.tiny import ARCHITECTURES, tiny_model, toy_tokenizer
from ultraedit.models import LanguageModel, find_modules
from ultraedit.models.inventory import inventory
from ultraedit.tools.doctor import Smoke, examine_tokenizer, judge, smoke_test

MOE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "max_position_embeddings": 256,
    "vocab_size": 512,
    "initializer_range": 0.1,
}


def mixture(kind: str) -> LanguageModel:
    """A tiny model with four experts; that of Qwen has a shared one too."""
    from transformers import AutoModelForCausalLM, MixtralConfig, Qwen2MoeConfig

    if kind == "mixtral":
        config = MixtralConfig(num_local_experts=4, **MOE)
    else:
        sizes = {"moe_intermediate_size": 24, "shared_expert_intermediate_size": 40}
        config = Qwen2MoeConfig(num_experts=4, num_experts_per_tok=2, **sizes, **MOE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    model.requires_grad_(False)
    return LanguageModel(model.eval(), toy_tokenizer(), name=kind, source=kind)


def by_pattern(model):
    return {place.pattern: place for place in inventory(model)}


def test_every_architecture_tells_what_can_be_edited():
    for arch in ARCHITECTURES:
        model = tiny_model(arch).model
        editable = [place for place in inventory(model) if place.obstacle is None]
        for place in editable:
            assert len(find_modules(model, place.pattern)) == place.number
        assert editable, arch


def test_fused_layers_are_named_as_such():
    places = by_pattern(tiny_model("phi3").model)
    assert places["layers.[0-1].mlp.gate_up_proj"].traits == ("fused: gate and up, edited as one",)
    qkv = places["layers.[0-1].self_attn.qkv_proj"]
    assert qkv.traits == ("fused: query, key and value, edited as one",)
    assert (qkv.d_in, qkv.d_out, qkv.obstacle) == (32, 64, None)
    assert places["layers.[0-1].mlp.down_proj"].traits == ()


def test_conv1d_and_tied_weights_are_named_as_such():
    places = by_pattern(tiny_model("gpt2").model)
    assert "Conv1D: stored as inputs x outputs" in places["layers.[0-1].mlp.c_fc"].traits
    head = places["lm_head"]
    assert head.traits == ("tied to transformer.wte",)
    assert "shares its weight with transformer.wte" in head.obstacle


def test_packed_experts_are_listed_and_refused_with_what_to_edit_instead():
    for kind in ("mixtral", "qwen2-moe"):
        packed = [p for p in inventory(mixture(kind).model) if "packed" in " ".join(p.traits)]
        assert {p.obstacle is None for p in packed} == {False}
        assert {p.traits[0] for p in packed} == {
            "packed: 4 experts, gate_up_proj",
            "packed: 4 experts, down_proj",
        }
        assert all("edit a shared expert or the attention output" in p.obstacle for p in packed)
    shared = by_pattern(mixture("qwen2-moe").model)["layers.[0-3].mlp.shared_expert.down_proj"]
    assert shared.traits == ("shared expert: sees every token",)
    assert (shared.d_in, shared.d_out, shared.obstacle) == (40, 32, None)


def test_quantised_weights_are_named_and_refused():
    model = tiny_model("llama").model
    weight = nn.Parameter(torch.zeros(32, 48, dtype=torch.int8), requires_grad=False)
    model.model.layers[1].mlp.down_proj.weight = weight
    place = by_pattern(model)["layers.[1].mlp.down_proj"]
    assert place.traits == ("quantised",)
    assert "load the model unquantized" in place.obstacle


@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_a_leading_token_that_says_nothing_is_found(kind):
    first = examine_tokenizer(toy_tokenizer(kind))[0]
    assert first.trouble == (kind == "sentencepiece")
    assert ("▁" in first.found) == (kind == "sentencepiece")


def test_the_tokenizer_of_another_model_is_found():
    facts = {fact.about: fact for fact in examine_tokenizer(toy_tokenizer(), vocabulary=100)}
    assert facts["vocabulary"].trouble and "another model" in facts["vocabulary"].found
    assert (
        "<s> in front"
        in {f.about: f.found for f in examine_tokenizer(toy_tokenizer("sentencepiece"))}[
            "special tokens of a prompt"
        ]
    )


@pytest.mark.parametrize("arch", ["llama", "phi3", "gpt2", "mixtral", "qwen2-moe"])
def test_one_edit_lowers_the_loss_and_leaves_no_trace(arch):
    from ultraedit.models import find_preset

    model = tiny_model(arch, layers=4) if arch in ARCHITECTURES else mixture(arch)
    before = {name: weight.clone() for name, weight in model.model.named_parameters()}
    outcome = smoke_test(model, find_preset(model, None).modules)
    assert outcome.fault is None
    assert outcome.loss_after < outcome.loss_before
    after = dict(model.model.named_parameters())
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_broken_model_fails_its_edit():
    model = tiny_model("llama")
    model.model.model.layers[0].mlp.up_proj.weight.data.fill_(float("nan"))
    assert "logits are not finite" in smoke_test(model, ["layers.[1].mlp.down_proj"]).fault
    assert "No module matches" in smoke_test(tiny_model(), ["layers.[9].mlp.down_proj"]).fault


def verdict(smoke, **values):
    base = {"preset": "p", "measured": True, "peak": 10, "room": 100}
    return judge("my model", smoke, [], **(base | values))


def test_the_verdict_says_what_to_type_next():
    good = Smoke(None, 5.0, 1.0, 0.1, True)
    assert verdict(good).command == "ultraedit demo --model 'my model'"
    assert verdict(good, data="zsre:z.json").command == (
        "ultraedit run --model 'my model' --data zsre:z.json --limit 100"
    )
    tuned = verdict(good, measured=False, data="zsre:z.json")
    assert tuned.editable and tuned.command.startswith("ultraedit tune --model 'my model' --data")
    assert "look for better modules" in verdict(Smoke(None, 5.0, 4.9)).notes[0]
    large = verdict(None, peak=2 * 10**9, room=10**9)
    assert not large.editable and "would take 2.0 GB and 1.0 GB are free" in large.sentence
    broken = verdict(Smoke("no gradient reaches x"))
    assert not broken.editable and broken.sentence.endswith("no gradient reaches x")
    nobody = verdict(None, preset=None, cause="none of its layers is known.")
    assert nobody.command == "ultraedit models show 'my model'"
