"""Holding a model in float32 for a while."""

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.core.types import Additive, Edit
from ultraedit.host.host import ModelHost
from ultraedit.models import precision
from ultraedit.models.precision import float32_bytes, in_float32

CPU = torch.device("cpu")
MODULES = ["layers.[1-2].mlp.down_proj"]
FACTS = [Edit("Who wrote the novel?", "Jane"), Edit("The river flows through", "Zwolle")]


@pytest.fixture(autouse=True)
def plain_cpu(monkeypatch):
    """A CPU without units for products of 16 bits, whatever the tests run on."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma3"])
def test_the_very_same_tensors_are_back_afterwards(arch):
    model = tiny_model(arch, dtype=torch.bfloat16).model
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="on the way"), in_float32(model):
        assert {each.dtype for each in model.parameters()} == {torch.float32}
        raise RuntimeError("on the way")
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == before
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}


def test_a_turn_is_traced_as_in_a_model_of_32_bits():
    narrow = tiny_model("llama", layers=3, dtype=torch.bfloat16)
    wide = tiny_model("llama", layers=3, dtype=torch.float32)
    wide.model.load_state_dict(narrow.model.state_dict())
    hosts = [ModelHost(model, MODULES) for model in (narrow, wide)]
    generator = torch.Generator().manual_seed(1)
    patch = Additive(
        {
            path: torch.randn(shape.d_in, shape.d_out, generator=generator) / 100
            for path, shape in hosts[0].modules.items()
        }
    )
    before = [weight.clone() for weight in narrow.model.parameters()]
    traced = []
    for host in hosts:
        texts = host.texts(FACTS, ("plain",))
        with host.keeping_states(), host.patched(patch):
            traced.append(host.trace_texts(texts))
    assert torch.equal(traced[0].losses, traced[1].losses)
    for path, signal in traced[0].signals.items():
        assert torch.equal(signal.keys, traced[1].signals[path].keys)
        assert torch.equal(signal.grads, traced[1].signals[path].grads)
    assert all(map(torch.equal, narrow.model.parameters(), before))
    with hosts[0].patched(patch):  # Outside, it computes as it is asked: in 16 bits.
        plain = hosts[0].trace_texts(hosts[0].texts(FACTS, ("plain",)))
    assert not torch.equal(plain.losses, traced[0].losses)


@pytest.mark.parametrize(
    ("parameters", "dtype", "device"),
    [
        (precision.MOST_PARAMETERS + 1, torch.bfloat16, CPU),
        (1000, torch.float32, CPU),
        (1000, torch.float64, CPU),
        (1000, torch.bfloat16, torch.device("cuda")),
    ],
    ids=["large", "wide", "wider", "card"],
)
def test_it_is_left_out_where_it_does_not_help(parameters, dtype, device):
    assert float32_bytes(parameters, dtype, device) == 0


def test_it_is_left_out_on_a_processor_with_units_for_16_bits(monkeypatch):
    assert float32_bytes(1000, torch.bfloat16, CPU) == 4000
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert float32_bytes(1000, torch.bfloat16, CPU) == 0
    model = tiny_model("llama", dtype=torch.bfloat16).model
    with in_float32(model):
        assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
