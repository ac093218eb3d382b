"""Held sequences against the whole model run with the weight in its place."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.encoding import together
from ultraedit.core.errors import DataError
from ultraedit.core.types import Edit
from ultraedit.host.host import ModelHost
from ultraedit.host.trace import HeldTogether
from ultraedit.host.trace.trunk import Trunk
from ultraedit.models import describe_modules

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
    """Of rows of 5 and 6 tokens, prompts of 3 and 4, what is behind four columns is wanted."""

    def tokenizer(texts):
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}

    tokenizer = Words(tokenizer)
    pairs = [("1 2 3", "4 5"), ("1 2 3 6", "4 5")]
    alone = together(tokenizer, pairs, [("7", "8")])
    assert alone.input_ids == ((0, 1, 2, 3, 4, 5), (1, 2, 3, 6, 4, 5), (0, 0, 0, 0, 7, 8))
    assert alone.wanted_from == (4, 4, 6)
    longer = together(tokenizer, pairs, [("1 2 3 4 5 6 7", "8")])
    assert [ids[at:] for ids, at in zip(longer.input_ids, longer.wanted_from, strict=True)] == [
        (2, 3, 4, 5),
        (3, 6, 4, 5),
        (),
    ]
    longest = together(tokenizer, pairs, [("1 2 3 4 5 6 7 8 9 1 2", "8")])
    assert longest.input_ids[0][longest.wanted_from[0] :] == (1, 2, 3, 4, 5)
    with pytest.raises(DataError, match="is 12 tokens long with its answer, but the model reads"):
        together(tokenizer, pairs, [("1 2 3 4 5 6 7 8 9 1 2", "8")], max_length=10)


class Words:
    """A tokenizer of numbers."""

    pad_token_id, eos_token_id = None, None

    def __init__(self, call):
        self._call = call

    def __call__(self, texts):
        return self._call(texts)


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_a_batch_as_it_is_runs_through_blocks_that_are_fetched_one_by_one(arch):
    host = host_of(arch, layer=2)
    lm = host.language_model
    fetched = []

    @contextmanager
    def hold(block):
        fetched.append(block)
        yield

    rows = together(lm.tokenizer, PAIRS, [("The sun rises in the", "east")])
    module = lm.model.get_submodule(next(iter(host.modules)))
    seen = []
    for trunk in (None, Trunk(host._blocks, 2), Trunk(host._blocks, 2, hold=hold)):
        held = HeldTogether(lm.model, module, rows, len(PAIRS), trunk)
        assert held.inputs.shape == (4 * len(rows.input_ids[0]), module.weight.numel() // 32)
        weight = host.weight(next(iter(host.modules))) * 1.1
        seen.append((held.inputs, *held.gradients(weight)))
    assert len(fetched) == 2
    for other in seen[1:]:
        for ours, plain in zip(other, seen[0], strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
