"""What a plan says against what there is, and that it needs no weights."""

from __future__ import annotations

import json

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit import models
from ultraedit.core.encoding import Encoded
from ultraedit.core.errors import ConfigError
from ultraedit.host import trace
from ultraedit.host.trace.cost import Cost, _LiveBytes, dry_run
from ultraedit.tools.plan.estimate import CARD_BYTES, Workload, cards, fits, plan

CPU = torch.device("cpu")
MODULES = ["layers.[1-2].mlp.down_proj"]


def kind_of(model):
    return next(g.kind for g in models.describe_modules(model) if "mlp" in g.kind and g.d_out == 32)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_dry_batch_takes_the_bytes_of_a_real_one(arch):
    real = tiny_model(arch, layers=4).model
    empty = models.empty_model(ARCHITECTURES[arch](4))
    pattern = [f"layers.[1-2].{kind_of(real)}"]
    rows, length, answers = 6, 20, 3
    cost = dry_run(empty, models.find_modules(empty, pattern), rows, length, answers)
    items = [Encoded(tuple(range(9, 9 + length - 2)), (5, 6, 7))] * rows
    live = _LiveBytes(real)
    with live:
        trace.layer_signals(real, models.find_modules(real, pattern), items)
    # Without numbers attention takes the kernel that writes its scores down, which shows where
    # heads are as narrow as here.
    assert 0.95 * live.peak < cost.bytes < 1.2 * live.peak
    assert cost.flops > 2 * rows * length * sum(
        weight.numel() for name, weight in empty.named_parameters() if "mlp" in name and weight.ndim
    )


def test_only_the_layers_above_the_lowest_edited_one_cost_a_backward_pass():
    empty = models.empty_model(ARCHITECTURES["llama"](6))

    def cost(layer):
        modules = models.find_modules(empty, [f"layers.{layer}.mlp.down_proj"])
        return dry_run(empty, modules, 4, 10, 2)

    low, high = cost(1), cost(4)
    assert isinstance(low, Cost)
    assert low.flops > high.flops
    assert low.bytes > high.bytes


def planned(config=None, patterns=MODULES, workload=Workload(20, 10, 3), **options):  # noqa: B008
    config = config or ARCHITECTURES["llama"](4)
    return plan(config, patterns, workload, **{"dtype": torch.float32, "device": CPU} | options)


def test_weights_and_copies_are_counted_exactly():
    real = tiny_model("llama", layers=4).model
    full, half = planned(), planned(dtype=torch.bfloat16)
    assert full.parameters == half.parameters == sum(p.numel() for p in real.parameters())
    assert full.weights == 2 * half.weights == 4 * full.parameters
    assert full.edited_parameters == 2 * 48 * 32
    assert full.copies == 4 * full.edited_parameters  # the master is the weight itself
    assert half.copies == (2 + 4) * full.edited_parameters
    assert planned(dtype=torch.bfloat16, master="model").copies == 2 * full.edited_parameters
    assert full.rows == 20 * 3 * 4 * 2 * (48 + 32)


def test_the_file_counts_while_it_is_converted():
    config = ARCHITECTURES["llama"](4)
    config.dtype = torch.float32
    full, half = planned(config), planned(config, dtype=torch.bfloat16)
    assert full.loading == full.runtime + full.weights
    assert half.loading == half.runtime + half.weights + full.weights
    assert config.dtype == torch.float32


def test_a_longer_turn_takes_more_memory_and_time():
    small, large = planned(), planned(workload=Workload(400, 10, 3))
    assert large.rows == 20 * small.rows
    assert large.flops > 15 * small.flops
    assert large.editing > small.editing
    assert small.seconds > 0


def test_a_card_that_is_not_there_can_be_planned_for():
    card = planned(device=torch.device("cuda"), timed=False)
    assert card.seconds is None
    assert card.runtime == CARD_BYTES
    assert card.peak > CARD_BYTES + card.weights
    assert fits(16 * 2**30) == {8: False, 16: True, 24: True, 48: True, 80: True}


def test_a_pattern_that_matches_nothing_is_refused_with_the_models_name():
    with pytest.raises(ConfigError, match="models show mine"):
        planned(patterns=["layers.9.mlp.down_proj"], name="mine")


def test_a_model_of_7b_is_planned_from_its_config(tmp_path):
    from transformers import MistralConfig

    MistralConfig(vocab_size=32768, sliding_window=None, dtype="bfloat16").save_pretrained(tmp_path)
    found = []
    for name in (str(tmp_path), str(tmp_path / "config.json")):
        config = models.load_config(name)
        patterns = models.find_preset(config, "zsre").modules
        found.append(
            plan(
                config,
                patterns,
                Workload(),
                dtype=torch.bfloat16,
                device=torch.device("cuda"),
                timed=False,
            )
        )
    assert found[0] == found[1]
    assert found[0].parameters == 7_248_023_552
    assert fits(found[0].peak) == {8: False, 16: True, 24: True, 48: True, 80: True}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_model_of_7b_is_streamed_in_a_third_of_its_weights():
    from transformers import MistralConfig

    config = MistralConfig(vocab_size=32768, sliding_window=None, dtype="bfloat16")
    patterns = models.find_preset(config, "zsre").modules
    options = {"dtype": torch.bfloat16, "timed": False}
    plain, streamed = (
        planned(config, patterns, Workload(), streamed=there, **options) for there in (False, True)
    )
    assert streamed.weights + streamed.streamed == pytest.approx(plain.weights, rel=0.04)
    # Without what this process, which has run other tests, holds already.
    assert streamed.peak - streamed.runtime < (plain.peak - plain.runtime) / 2.5


def test_a_spread_model_needs_more_of_the_smaller_cards():
    from transformers import MistralConfig

    config = MistralConfig(vocab_size=32768, sliding_window=None, dtype="bfloat16")
    patterns = models.find_preset(config, "zsre").modules
    card = planned(
        config,
        patterns,
        Workload(),
        dtype=torch.bfloat16,
        timed=False,
        device=torch.device("cuda"),
    )
    found = cards(card)
    assert found[8] == 3
    assert found[16] == found[24] == found[80] == 1


@pytest.mark.parametrize("kind", ["BloomConfig", "OPTConfig", "MixtralConfig"])
def test_models_that_take_other_masks_or_pack_experts_are_planned_too(kind):
    import transformers

    sizes = {"vocab_size": 512, "hidden_size": 32, "num_attention_heads": 4}
    own = {
        "BloomConfig": {"n_layer": 3, "n_head": 4},
        "OPTConfig": {"num_hidden_layers": 3, "ffn_dim": 48, "word_embed_proj_dim": 32},
        "MixtralConfig": {
            "num_hidden_layers": 3,
            "intermediate_size": 48,
            "num_key_value_heads": 2,
            "num_local_experts": 4,
        },
    }
    config = getattr(transformers, kind)(**(sizes | own[kind]))
    kinds = {group.kind for group in models.describe_modules(models.empty_model(config))}
    output = next(
        name for name in ("mlp.dense_4h_to_h", "fc2", "self_attn.o_proj") if name in kinds
    )
    full, half = (
        planned(config, [f"layers.[1].{output}"], dtype=dtype, timed=False)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert full.flops == half.flops > 0
    # Losses are in float32 either way.
    assert half.batch < full.batch <= 2 * half.batch


def test_a_config_that_cannot_be_run_is_explained():
    config = ARCHITECTURES["llama"](4)
    config.num_key_value_heads = 3
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM with this config cannot be run"):
        planned(config)


def test_layers_of_different_widths_are_planned_by_the_widest():
    from transformers import Gemma3nTextConfig

    config = Gemma3nTextConfig(
        vocab_size=512,
        vocab_size_per_layer_input=512,
        hidden_size=32,
        intermediate_size=[48, 64, 48],
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        laurel_rank=4,
        hidden_size_per_layer_input=8,
        altup_num_inputs=2,
        num_kv_shared_layers=0,
        activation_sparsity_pattern=[0.5, 0.0, 0.0],
    )
    assert models.language_model.intermediate_size(config) == 64
    assert models.find_preset(config, None).modules == ("layers.[0-1].mlp.down_proj",)
    assert planned(config, ["layers.[1].mlp.down_proj"]).edited_parameters == 64 * 32
