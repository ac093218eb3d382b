"""Held sequences against the whole model run with the weight in its place."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.encoding import Encoded, wanted_at_end
from ultraedit.host import ModelHost
from ultraedit.models import describe_modules
from ultraedit.types import Edit

PAIRS = [
    ("What is the native language of Danielle Darrieux?", "French"),
    ("Which river flows through Vienna?", "the Danube"),
    ("Ada Lovelace wrote the first", "program in 1843"),
]


def host_of(arch, layer=1, dtype=torch.float32):
    tiny = tiny_model(arch, layers=3, dtype=dtype)
    kind = next(g for g in describe_modules(tiny.model) if "mlp" in g.kind and g.d_out == 32)
    return ModelHost(tiny, [f"layers.{layer}.{kind.kind}"])


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_losses_and_gradients_are_those_of_the_whole_model(arch, layer):
    host = host_of(arch, layer, torch.float64)
    (path,) = host.modules
    drawn = torch.Generator().manual_seed(0)
    weight = host.weight(path).double()
    weight = weight + 0.05 * torch.randn(weight.shape, generator=drawn, dtype=torch.float64)
    held = host.hold(path, PAIRS)
    losses, grads = held.gradients(weight)
    expected = host.weight_gradients([Edit(*pair) for pair in PAIRS], {path: weight})
    torch.testing.assert_close(losses, expected.losses.to(losses), rtol=1e-9, atol=1e-9)
    found = held.inputs.T @ grads
    torch.testing.assert_close(found, expected.grads[path].to(found), rtol=1e-7, atol=1e-9)


def test_tokens_are_those_of_the_prompts_and_answers():
    host = host_of("llama")
    (path,) = host.modules
    held, items = host.hold(path, PAIRS), host.encode(PAIRS)
    for index, item in enumerate(items):
        own = held.pairs == index
        assert int(own.sum()) == len(item)
        assert int((own & held.asked).sum()) == len(item.prompt_ids)
    assert held.longest == max(len(item) + 1 for item in items)


def test_the_released_label_mask_wants_more_where_another_row_is_longer():
    items = [Encoded((1, 2, 3), (4, 5)), Encoded((1, 2, 3, 6), (4, 5))]
    assert wanted_at_end(items, 6) == items
    assert wanted_at_end(items, 8) == [Encoded((1,), (2, 3, 4, 5)), Encoded((1, 2), (3, 6, 4, 5))]
    assert wanted_at_end(items, 20)[0] == Encoded((1,), (2, 3, 4, 5))
