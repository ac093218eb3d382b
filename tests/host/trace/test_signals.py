"""Keys and gradients against what autograd says when everything is computed at once."""

import pytest
import torch
from torch.nn import functional as F

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.encoding import encode, longest_first
from ultraedit.core.errors import NumericalError
from ultraedit.host.trace import signals as trace
from ultraedit.models import describe_modules, find_modules

PAIRS = [
    ("What is the native language of Danielle Darrieux?", "French"),
    ("Who wrote it?", "Jane Austen"),
    ("Where?", "Paris, the capital"),
    ("Which river flows through Vienna and Budapest?", "Danube"),
]


def setting(arch, layers=3):
    tiny = tiny_model(arch, layers=layers)
    kind = next(g for g in describe_modules(tiny.model) if "mlp" in g.kind and g.d_out == 32)
    modules = find_modules(tiny.model, [f"layers.[1-2].{kind.kind}"])
    return tiny.model, modules, encode(tiny.tokenizer, PAIRS)


def naive_signals(model, module, items):
    """One item at a time, no padding, logits everywhere, the loss written as a loss."""
    keys, grads = [], []
    for index in longest_first(items):
        item = items[index]
        seen = {}

        def hook(_, args, output, seen=seen):
            seen["key"] = args[0]
            seen["output"] = output if output.requires_grad else output.requires_grad_()
            seen["output"].retain_grad()

        handle = module.register_forward_hook(hook)
        logits = model(input_ids=torch.tensor([item.input_ids]), use_cache=False).logits[0]
        handle.remove()
        first = len(item.prompt_ids) - 1
        loss = F.cross_entropy(logits[first:], torch.tensor(item.answer_ids), reduction="sum")
        loss.backward()
        keys.append(seen["key"][0, first:])
        grads.append(seen["output"].grad[0, first:])
    return torch.cat(keys), torch.cat(grads)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_signals_equal_one_item_at_a_time(arch, monkeypatch):
    model, modules, items = setting(arch)
    monkeypatch.setitem(trace.MAX_TOKENS, "cpu", 40)  # several batches
    signals = trace.layer_signals(model, modules, items)
    assert list(signals) == list(modules)
    order = longest_first(items)
    for path, module in modules.items():
        keys, grads = naive_signals(model, module, items)
        torch.testing.assert_close(signals[path].keys, keys, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(signals[path].grads, grads, atol=2e-5, rtol=1e-4)
        assert grads.abs().max() > 1e-3
        expected = [rank for rank, i in enumerate(order) for _ in items[i].answer_ids]
        assert signals[path].segments.tolist() == expected


def test_no_weight_gets_a_gradient_and_no_hook_stays():
    model, modules, items = setting("llama")
    trace.layer_signals(model, modules, items)
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    hooks = [h for m in model.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]
    assert not hooks


def test_layers_below_the_lowest_edited_one_keep_no_graph():
    model, modules, items = setting("llama")
    below = []
    handle = model.model.layers[0].register_forward_hook(
        lambda _, __, output: below.append(
            (output if isinstance(output, torch.Tensor) else output[0]).requires_grad
        )
    )
    trace.layer_signals(model, modules, items)
    handle.remove()
    assert below and not any(below)


def test_logits_are_computed_at_supervised_positions_alone():
    model, _, items = setting("llama")
    seen = []
    handle = model.lm_head.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[1]))
    for _, batch in trace.batches(model, items):
        trace.supervised_logits(model, batch)
    handle.remove()
    assert sum(seen) == sum(len(item.answer_ids) for item in items)


def test_the_logits_of_one_pass_stay_within_their_budget(monkeypatch):
    model, _, items = setting("llama")
    monkeypatch.setattr(trace, "MAX_LOGITS", 512 * 9)
    sizes = [len(batch.labels) for _, batch in trace.batches(model, items)]
    assert len(sizes) > 1 and max(sizes) <= 9


def test_a_model_that_says_nothing_finite_is_named():
    model, modules, items = setting("llama")
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(NumericalError, match="logits are not finite"):
        trace.layer_signals(model, modules, items)
