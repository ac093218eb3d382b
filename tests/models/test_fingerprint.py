"""The fingerprint of a model tells its weights from all others, and only from others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.errors import ConfigError
from ultraedit.models import load, save
from ultraedit.models.fingerprint import SAMPLE, fingerprint


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_survives_saving_and_loading(arch, tmp_path):
    model = tiny_model(arch, dtype=torch.bfloat16)
    save(model, tmp_path / "model")
    loaded = load(str(tmp_path / "model"), dtype="bfloat16")
    assert fingerprint(loaded.model) == fingerprint(model.model)


def test_another_model_and_another_dtype_have_another():
    prints = {
        fingerprint(tiny_model("llama").model),
        fingerprint(tiny_model("llama", seed=1).model),
        fingerprint(tiny_model("llama", layers=3).model),
        fingerprint(tiny_model("llama", dtype=torch.bfloat16).model),
        fingerprint(tiny_model("gpt2").model),
    }
    assert len(prints) == 5
    assert all(text.startswith("sha256:") and len(text) == 71 for text in prints)


@pytest.mark.parametrize("place", range(0, 48 * 32, 97))
def test_one_changed_element_of_any_weight_changes_it(place):
    model = tiny_model("llama", dtype=torch.bfloat16).model
    before = fingerprint(model)
    weight = model.get_parameter("model.layers.1.mlp.down_proj.weight").data.view(-1)
    weight[place] += 1
    assert fingerprint(model) != before
    weight[place] -= 1


def large(dtype: torch.dtype, shape: tuple[int, ...]) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight = nn.Parameter(torch.randn(shape).to(dtype), requires_grad=False)
    return layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(512, 1024), (1023, 517)])
def test_elements_outside_the_sample_and_the_last_ones_count_too(dtype, shape):
    layer = large(dtype, shape)
    assert layer.weight.numel() > SAMPLE
    before = fingerprint(layer)
    flat = layer.weight.data.view(-1)
    for place in (1, 7, flat.numel() // 2 + 1, flat.numel() - 2, flat.numel() - 1):
        old = flat[place].clone()
        flat[place] = old + 1
        assert fingerprint(layer) != before
        flat[place] = old
    assert fingerprint(layer) == before


def test_rows_that_changed_places_are_seen():
    layer = large(torch.float32, (2048, 2048))
    before = fingerprint(layer)
    layer.weight.data = layer.weight.data.flip(0)
    assert fingerprint(layer) != before


def test_where_a_weight_lies_in_memory_does_not_matter():
    layer = large(torch.bfloat16, (300, 301))
    before = fingerprint(layer)
    values = layer.weight.data
    layer.weight.data = values.T.contiguous().T
    assert fingerprint(layer) == before
    room = torch.zeros(values.numel() + 1, dtype=values.dtype)
    room[1:] = values.reshape(-1)
    layer.weight.data = room[1:].view(values.shape)
    assert fingerprint(layer) == before


def test_tied_weights_count_the_same_whether_they_share_memory_or_not():
    model = nn.ModuleDict({"a": nn.Linear(8, 8), "b": nn.Linear(8, 8)})
    model["b"].weight = model["a"].weight
    tied = fingerprint(model)
    model["b"].weight = nn.Parameter(model["a"].weight.detach().clone())
    assert fingerprint(model) == tied
    model["b"].weight.data += 1
    assert fingerprint(model) != tied


def test_scalars_and_empty_weights_are_fine():
    model = nn.ParameterDict({"scale": torch.tensor(2.0), "none": torch.zeros(0, 4)})
    assert fingerprint(model) == fingerprint(model)


def test_weights_that_are_not_in_memory_are_refused():
    with pytest.raises(ConfigError, match="bias is not in memory"):
        fingerprint(nn.Linear(4, 4, device="meta"))


@pytest.mark.gpu
def test_it_is_the_same_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    layer = large(torch.bfloat16, (1024, 1024))
    before = fingerprint(layer)
    assert fingerprint(layer.cuda()) == before


@pytest.mark.real
def test_it_takes_a_moment_for_a_real_model(smollm2):
    import time

    start = time.perf_counter()
    assert fingerprint(smollm2.model) == fingerprint(smollm2.model)
    assert time.perf_counter() - start < 10
