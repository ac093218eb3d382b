"""Every shipped preset names layers that its model has; a user's file is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.errors import ConfigError
from ultraedit.editors import EDITORS, make_editor
from ultraedit.models import find_modules, find_preset, list_presets, load_preset
from ultraedit.models.preset import relative_depth
from ultraedit.runs.config import RunConfig
from ultraedit.runs.resolution import resolve


def _gemma3_27b() -> Any:
    from transformers import Gemma3Config, SiglipVisionConfig

    text = {
        "num_hidden_layers": 62,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "head_dim": 128,
    }
    return Gemma3Config(text_config=text, vision_config=SiglipVisionConfig(image_size=896))


def _config(class_name: str, layers: int, hidden: int, intermediate: int, **more: Any) -> Any:
    import transformers

    return getattr(transformers, class_name)(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=intermediate, **more
    )


def _gptj() -> Any:
    from transformers import GPTJConfig

    return GPTJConfig(n_layer=28, n_embd=4096, n_head=16)


REAL_SIZES = {
    "gpt-j-6b": _gptj,
    "mistral-7b-v0.3": lambda: _config("MistralConfig", 32, 4096, 14336),
    "llama-3-8b-instruct": lambda: _config("LlamaConfig", 32, 4096, 14336),
    "llama-2-7b-hf": lambda: _config("LlamaConfig", 32, 4096, 11008),
    "qwen2.5-7b-instruct": lambda: _config(
        "Qwen2Config", 28, 3584, 18944, num_attention_heads=28, num_key_value_heads=4
    ),
    "phi-4": lambda: _config(
        "Phi3Config", 40, 5120, 17920, num_attention_heads=40, num_key_value_heads=10
    ),
    "gemma-3-27b-it": _gemma3_27b,
    "smollm2-135m": lambda: _config(
        "LlamaConfig", 30, 576, 1536, num_attention_heads=9, num_key_value_heads=3
    ),
    "gemma-3-270m": lambda: _config("Gemma3TextConfig", 18, 640, 2048, num_attention_heads=4),
}

# Table 6 of the paper, as it prints it, by family and data format.
GATE_UP = "[{0}].mlp.gate_proj,[{0}].mlp.up_proj"
LLAMA_3 = "[11-15].mlp.gate_proj, [18-24].mlp.up_proj"
TABLE_6 = {
    "gpt-j-6b": {
        "zsre": "[18-26].mlp.fc_out",
        "fever": "[25,26].mlp.fc_out",
        "wikibigedit": "[19-26].mlp.fc_out",
        "ultraeditbench": "[18-26].mlp.fc_out",
    },
    "mistral-7b-v0.3": dict.fromkeys(
        ("zsre", "fever", "wikibigedit", "ultraeditbench"), "[29, 30].mlp.down_proj"
    ),
    "llama-3-8b-instruct": {
        "zsre": LLAMA_3,
        "fever": GATE_UP.format("22-30"),
        "wikibigedit": LLAMA_3,
        "ultraeditbench": LLAMA_3,
    },
    "qwen2.5-7b-instruct": {
        "zsre": GATE_UP.format("18-26"),
        "fever": GATE_UP.format("18-26"),
        "wikibigedit": GATE_UP.format("19-26"),
        "ultraeditbench": GATE_UP.format("18-26"),
    },
    "phi-4": dict.fromkeys(("wikibigedit", "ultraeditbench"), "[30-38].mlp.down_proj"),
    "gemma-3-27b-it": dict.fromkeys(("wikibigedit", "ultraeditbench"), GATE_UP.format("52-60")),
}


def _on_meta(family: str) -> Any:
    """The model at its real size, without memory for its weights."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(REAL_SIZES[family]())


@pytest.mark.parametrize("family", REAL_SIZES)
def test_each_row_of_a_family_finds_its_modules_in_a_model_of_the_real_size(family: str) -> None:
    model = _on_meta(family)
    rows = [preset for preset in list_presets() if preset.name.startswith(f"{family}/")]
    assert rows
    for preset in rows:
        found = find_modules(model, preset.modules)
        assert found
        data_format = preset.name.partition("/")[2]
        if data_format in EDITORS:
            assert find_preset(model.config, "zsre", data_format) == preset
            make_editor(data_format, dict(preset.options))
            continue
        assert find_preset(model.config, data_format) == preset
        if family in TABLE_6:
            assert list(found) == list(find_modules(model, TABLE_6[family][data_format]))
            assert (preset.eta, preset.ridge, preset.source) == (1e-6, 1.0, "paper Table 6")


def test_the_presets_are_table_6_and_three_more_families() -> None:
    names = {p.name for p in list_presets() if p.name.partition("/")[2] not in EDITORS}
    table = {f"{family}/{row}" for family, rows in TABLE_6.items() for row in rows}
    small = {
        f"{model}/{data}"
        for model in ("smollm2-135m", "gemma-3-270m")
        for data in ("zsre", "counterfact")
    }
    assert names - table == {"llama-2-7b-hf/zsre", *small}
    assert table <= names


@pytest.mark.parametrize("data_format", ["jsonl", None])
def test_a_format_without_a_row_gets_the_default_row_of_the_family(data_format: str | None) -> None:
    assert find_preset(REAL_SIZES["gpt-j-6b"](), data_format).name == "gpt-j-6b/zsre"
    assert find_preset(REAL_SIZES["phi-4"](), data_format).name == "phi-4/wikibigedit"


def test_the_small_models_get_the_measured_step() -> None:
    smol = find_preset(REAL_SIZES["smollm2-135m"](), "zsre")
    assert (smol.modules, smol.eta) == (("layers.[25-28].mlp.down_proj",), 1e-3)
    assert find_preset(REAL_SIZES["gemma-3-270m"](), "jsonl").eta == 7e-5


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_unknown_model_is_edited_at_the_relative_depth_of_its_mlp_outputs(arch: str) -> None:
    lm = tiny_model(arch, layers=4)
    preset = find_preset(lm, "zsre")
    found = find_modules(lm.model, preset.modules)
    kind = {"gptj": "fc_out", "gpt2": "c_proj"}.get(arch, "down_proj")
    assert [path.split(".")[-3:] for path in found] == [[i, "mlp", kind] for i in ("1", "2")]
    assert (preset.source, preset.eta) == ("relative depth", None)
    assert find_preset(lm.model.config, None) == preset


def test_relative_depth_is_mistrals_and_spares_the_last_layer() -> None:
    assert list(relative_depth(32)) == [29, 30]
    assert list(relative_depth(28)) == [25, 26]
    assert list(relative_depth(80)) == [72, 73, 74, 75, 76]
    for count in range(3, 200):
        layers = relative_depth(count)
        assert len(layers) >= 2 and layers[0] >= 0 and layers[-1] <= count - 2
    assert list(relative_depth(1)) == [0]


def test_a_preset_is_read_from_a_file_or_by_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('modules = "[1].mlp.up_proj, [2,3].mlp.down_proj"\nprotocol = "official"\n')
    preset = load_preset(file)
    assert preset.modules == ("[1].mlp.up_proj", "[2,3].mlp.down_proj")
    assert (preset.eta, preset.ridge, preset.protocol) == (None, 1.0, "official")
    assert load_preset("gpt-j-6b/fever").modules == ("layers.[25,26].mlp.fc_out",)
    assert load_preset("gpt-j-6b") == load_preset("gpt-j-6b/zsre")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modules = "[1].a"\netta = 1', r"mine.toml: unknown key 'etta'. Did you mean: eta\?"),
        ('modules = "[1].a"\neta = 0', "eta must be a positive number, got 0"),
        ('modules = "[1].a"\neta = "1e-6"', "eta must be a positive number, got '1e-6'"),
        ('modules = "[1].a"\neta = nan', "eta must be a positive number, got nan"),
        ('modules = "[1].a"\nridge = -1.0', "ridge must be a positive number, got -1.0"),
        ('modules = "[1].a"\nprotocol = "mine"', 'protocol must be "paper" or "official"'),
        ("eta = 1e-6", "modules must be a pattern or a list of patterns .*, got None"),
        ("modules = [1]", r"modules must be .*, got \[1\]"),
        ("modules = []", "modules names no module"),
        ('modules = "[1].a"\noptions = 3', r"options must be a table such as .*, got 3"),
        ('modules = "[x].a"', "has 'x' where a layer number"),
        ("eta = = 1", "is not valid TOML: .*line 1"),
    ],
)
def test_a_slip_in_a_preset_file_is_explained(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_preset(file)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt-j-6b/zsrre", r"Unknown preset 'gpt-j-6b/zsrre': .*Did you mean: gpt-j-6b/zsre"),
        ("phi-4/zsre", r"Unknown preset 'phi-4/zsre'"),
        ("nowhere.toml", r"preset nowhere.toml cannot be read: No such file"),
    ],
)
def test_an_unknown_preset_is_explained(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_preset(name)


def test_an_editor_with_presets_of_its_own_gets_them_whatever_the_format() -> None:
    mistral = REAL_SIZES["mistral-7b-v0.3"]()
    for data_format in ("zsre", "fever", None):
        preset = find_preset(mistral, data_format, "ft-l")
        assert preset.name == "mistral-7b-v0.3/ft-l"
        assert preset.modules == ("layers.21.mlp.down_proj",)
        assert preset.options["norm_constraint"] == 5e-5
    assert load_preset("mistral-7b-v0.3/ft-l") == preset


def test_an_editor_without_a_row_for_the_model_edits_at_its_own_depth() -> None:
    lm = tiny_model("llama", layers=12)
    assert find_preset(lm, "zsre", "ft-l").modules == ("layers.[8].mlp.down_proj",)
    assert find_preset(lm, "zsre", "nobody") == find_preset(lm, "zsre")
    assert list(relative_depth(32, (0.67, 0.67))) == [21]


def test_memit_and_alphaedit_have_the_published_values() -> None:
    llama = REAL_SIZES["llama-3-8b-instruct"]()
    memit, alphaedit = (find_preset(llama, "zsre", name) for name in ("memit", "alphaedit"))
    assert memit.modules == alphaedit.modules == ("layers.[4-8].mlp.down_proj",)
    assert memit.options == {"clamp": 0.75, "lr": 0.1, "weight_decay": 0.5}
    assert alphaedit.options == {**memit.options, "threshold": 0.02, "ridge": 10.0}
    assert load_preset("gpt-j-6b/memit").modules == ("layers.[3-8].mlp.fc_out",)
    assert load_preset("gpt-j-6b", "memit") == load_preset("gpt-j-6b/memit")
    unknown = find_preset(tiny_model("llama", layers=32), "zsre", "memit")
    assert unknown.modules == ("layers.[4-8].mlp.down_proj",)


def test_ultraedits_numbers_are_not_for_an_editor_with_presets_of_its_own(tmp_path: Path) -> None:
    lm = tiny_model("llama", layers=8)
    config = RunConfig(model="m", data="jsonl:f", editor="memit")
    settings = resolve(config, lm)
    assert settings.offered == {}
    assert settings.editor == make_editor("memit", {})
    file = tmp_path / "mine.toml"
    file.write_text('modules = "[1].mlp.down_proj"\nridge = 7\noptions = { clamp = 2.0 }\n')
    settings = resolve(config.model_copy(update={"preset": str(file)}), lm)
    assert settings.editor == make_editor("memit", {"ridge": 7.0, "clamp": 2.0})
    file.write_text('modules = "[1].mlp.down_proj"\neta = 7\n')
    with pytest.raises(ConfigError, match="memit has no option 'eta'"):
        resolve(config.model_copy(update={"preset": str(file)}), lm)


def test_a_wrapper_gets_the_presets_of_the_editor_that_it_wraps() -> None:
    qwen = REAL_SIZES["qwen2.5-7b-instruct"]()
    config = RunConfig(model="m", data="jsonl:f", editor="rect", options={"base.lr": 0.1})
    settings = resolve(config, qwen)
    assert settings.modules == ("layers.[4-8].mlp.down_proj",)
    assert settings.preset == "qwen2.5-7b-instruct/memit"
    expected = {"clamp": 4.0, "lr": 0.1, "weight_decay": 1e-3}
    assert settings.editor == make_editor("rect", {"base_options": expected})
    other = RunConfig(model="m", data="jsonl:f", editor="prune", options={"base": "ultraedit"})
    settings = resolve(other, qwen)
    assert settings.editor == make_editor(
        "prune", {"base": "ultraedit", "base_options": {"eta": 1e-6, "ridge": 1.0}}
    )
    assert settings.modules[0] == "layers.[18-26].mlp.gate_proj"
