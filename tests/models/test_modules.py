"""Choosing modules by pattern, on every architecture."""

from __future__ import annotations

import pytest
from torch import nn

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.errors import ConfigError
from ultraedit.models import describe_modules, find_modules, split_patterns

MLP_OUTPUT = {
    "gptj": "transformer.h.{}.mlp.fc_out",
    "gpt2": "transformer.h.{}.mlp.c_proj",
    "mistral": "model.layers.{}.mlp.down_proj",
    "llama": "model.layers.{}.mlp.down_proj",
    "qwen2": "model.layers.{}.mlp.down_proj",
    "phi3": "model.layers.{}.mlp.down_proj",
    "gemma3": "model.layers.{}.mlp.down_proj",
    "gemma3-multimodal": "model.language_model.layers.{}.mlp.down_proj",
}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_way_to_write_the_mlp_output_finds_it(arch: str) -> None:
    model = tiny_model(arch, layers=3).model
    expected = [MLP_OUTPUT[arch].format(layer) for layer in (1, 2)]
    kind = expected[0].partition(".1.")[2]
    for pattern in (
        f"layers.[1-2].{kind}",
        f"h.[1,2].{kind}",
        f"[1, 2].{kind}",
        f"[1\u20132].{kind}",
        MLP_OUTPUT[arch].format("[1-2]"),
    ):
        assert list(find_modules(model, [pattern])) == expected, pattern
    assert list(find_modules(model, kind)) == [MLP_OUTPUT[arch].format(i) for i in range(3)]


def test_modules_come_in_the_order_of_the_patterns_then_of_the_layers_without_doubles() -> None:
    model = tiny_model("llama", layers=4).model
    found = find_modules(model, ["[2,1].mlp.up_proj, [0].mlp.gate_proj", "layers.1.mlp.up_proj"])
    assert [path.removeprefix("model.layers.") for path in found] == [
        "1.mlp.up_proj",
        "2.mlp.up_proj",
        "0.mlp.gate_proj",
    ]
    assert found["model.layers.2.mlp.up_proj"] is model.model.layers[2].mlp.up_proj


def test_a_star_stays_within_one_part_and_takes_linear_layers_alone() -> None:
    model = tiny_model("llama").model
    found = [path.removeprefix("model.layers.0.") for path in find_modules(model, "layers.0.mlp.*")]
    assert found == ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    assert len(find_modules(model, "layers.*.self_attn.*_proj")) == 8
    with pytest.raises(ConfigError, match="No module matches"):
        find_modules(model, "layers.*.down_proj")


def test_a_layer_pattern_means_the_language_model_and_a_full_path_reaches_the_vision_tower() -> (
    None
):
    model = tiny_model("gemma3-multimodal").model
    found = list(find_modules(model, "layers.[0-1].self_attn.q_proj"))
    assert found == [f"model.language_model.layers.{i}.self_attn.q_proj" for i in (0, 1)]
    assert list(find_modules(model, "self_attn.q_proj")) == found
    (vision,) = [
        path
        for path, _ in model.named_modules()
        if "vision" in path and path.endswith("layers.1.self_attn.q_proj")
    ]
    assert list(find_modules(model, vision)) == [vision]
    assert all(group.layers == (0, 1) for group in describe_modules(model))


def test_conv1d_is_described_by_inputs_and_outputs_as_linear_is() -> None:
    groups = {group.kind: group for group in describe_modules(tiny_model("gpt2").model)}
    assert groups["mlp.c_proj"] == ("mlp.c_proj", (0, 1), 128, 32, "Conv1D")
    groups = {group.kind: group for group in describe_modules(tiny_model("phi3").model)}
    assert groups["mlp.gate_up_proj"] == ("mlp.gate_up_proj", (0, 1), 32, 96, "Linear")


def test_patterns_are_split_at_commas_outside_brackets() -> None:
    assert split_patterns(" [3,5-7].a.b , c.[1,2],") == ["[3,5-7].a.b", "c.[1,2]"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "layers.[40].mlp.down_proj",
            r"No module matches 'layers.\[40\].mlp.down_proj': the model has layers 0-1, each with "
            r".*mlp.down_proj \(48 -> 32\). Run `ultraedit models show tiny`.",
        ),
        ("layers.[1-3].mlp.up_proj", r"at 2-3: the model has layers 0-1"),
        ("layers.[0].mlp.upp_proj", r"No module matches .* mlp.up_proj \(32 -> 48\)"),
        ("layers.[1-0].mlp.up_proj", r"runs backwards. Write 0-1"),
        ("layers.[1.mlp.up_proj", r"brackets of .* do not match"),
        ("layers.[all].mlp.up_proj", r"has 'all' where a layer number"),
        ("layers.0..mlp", r"cannot be read at ''"),
        (" , ", r"No edit modules were given"),
        ("layers.0.mlp", r"model.layers.0.mlp, which cannot .*: it is a Gemma3MLP, not a linear"),
        ("lm_head", r"it shares its weight with model.embed_tokens"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_explained(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_modules(tiny_model("gemma3").model, pattern, name="tiny")


def test_a_quantized_layer_is_refused_and_an_untied_head_is_not() -> None:
    class Packed(nn.Parameter):
        pass

    model = tiny_model("llama").model
    assert list(find_modules(model, "lm_head")) == ["lm_head"]
    layer = model.model.layers[0].mlp.up_proj
    layer.weight = Packed(layer.weight, requires_grad=False)
    with pytest.raises(ConfigError, match=r"layers.0.mlp.up_proj.*its weight is quantized"):
        find_modules(model, "layers.[0].mlp.up_proj")
