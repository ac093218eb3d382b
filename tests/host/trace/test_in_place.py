"""Models that write into what an edited layer has put out, as Falcon does, are traced rightly."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.editors.test_contract import EDITS
from tests.host.trace.test_gradients import by_autograd
from tests.tiny import tiny_model, toy_tokenizer
from ultraedit.core.encoding import encode
from ultraedit.host.host import ModelHost
from ultraedit.host.trace import layer_signals, weight_gradients
from ultraedit.host.trace.layer_cache import HeldRows
from ultraedit.models import LanguageModel, find_modules
from ultraedit.tools.doctor import smoke_test

PAIRS = [(edit.prompt, edit.target) for edit in EDITS[:4]]


def falcon(dtype: torch.dtype = torch.float64) -> LanguageModel:
    """A tiny Falcon, whose MLP output gets the attention's added in place."""
    from transformers import AutoModelForCausalLM, FalconConfig

    torch.manual_seed(0)
    config = FalconConfig(
        vocab_size=512,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        initializer_range=0.1,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.requires_grad_(False)
    return LanguageModel(model.eval(), toy_tokenizer(), name="falcon", source="falcon")


def halving() -> LanguageModel:
    """A tiny Llama whose MLP outputs are halved in place, a change that no sum can hide."""
    lm = tiny_model("llama", layers=3, dtype=torch.float64)
    for layer in lm.model.model.layers:
        layer.mlp.register_forward_hook(lambda _, __, output: output.mul_(0.5))
    return lm


MODELS = {"falcon": (falcon, "mlp.dense_4h_to_h"), "halving": (halving, "mlp.down_proj")}


def close(ours, autograds):
    """Equal within the rounding of a softmax, which models and traces take in float32."""
    tolerance = 1e-6 * float(autograds.abs().max())
    torch.testing.assert_close(ours, autograds, rtol=0, atol=tolerance)


@pytest.fixture(params=MODELS)
def traced(request):
    """The model, its edited layers, and some pairs."""
    make, kind = MODELS[request.param]
    lm = make()
    modules = find_modules(lm.model, [f"layers.[1-2].{kind}"])
    return lm, modules, encode(lm.tokenizer, PAIRS)


def test_weight_gradients_are_autograds(traced):
    lm, modules, items = traced
    traced_gradients = weight_gradients(lm.model, modules, items)
    losses, grads = by_autograd(lm.model, modules, items, "answer")
    torch.testing.assert_close(traced_gradients.losses, losses, rtol=1e-6, atol=0)
    for path, grad in grads.items():
        close(traced_gradients.grads[path], grad)


def test_keys_and_gradients_of_all_tokens_make_autograds_weight_gradient(traced):
    lm, modules, items = traced
    # The loss of the signals is a sum over tokens; autograd's here is a mean per edit.
    for size in {len(item.answer_ids) for item in items}:
        alike = [item for item in items if len(item.answer_ids) == size]
        signals = layer_signals(lm.model, modules, alike, "all")
        _, grads = by_autograd(lm.model, modules, alike, "answer")
        for path, (keys, rows, *_) in signals.items():
            formed = keys.T @ rows / size / len(alike)
            close(formed, grads[path])


def test_held_rows_have_autograds_gradient_at_the_outputs(traced):
    lm, modules, items = traced
    path, module = next(iter(modules.items()))
    held = HeldRows(lm.model, module, items)
    weight = module.weight.T.clone()
    _, rows = held.gradients(weight)
    _, grads = by_autograd(lm.model, {path: module}, items, "answer")
    close(held.inputs.T @ rows, grads[path])


def test_a_trunk_feeds_the_same_states_twice(traced):
    lm, modules, items = traced
    host = ModelHost(copy.copy(lm), list(modules))
    plain = host.predict(items)
    host.use_trunk()
    assert host.trunk is not None and host.trunk.works_for(items)
    assert host.predict(items) == plain == host.predict(items)


def test_falcon_is_edited():
    lm = falcon(torch.float32)
    smoke = smoke_test(lm, ["layers.[1].mlp.dense_4h_to_h"])
    assert smoke.fault is None
    assert smoke.loss_after < smoke.loss_before
