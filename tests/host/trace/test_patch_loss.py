"""What a patch does to a loss, against a model whose weights were changed for it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.encoding import encode, longest_first
from ultraedit.core.errors import NumericalError
from ultraedit.core.types import Additive, LossTerm, LowRank
from ultraedit.host.trace import loss_of_patch
from ultraedit.host.trace import signals as trace
from ultraedit.models import describe_modules, find_modules
from ultraedit.models.weights import weight_view

PAIRS = (
    ("What is the native language of Danielle Darrieux?", "French"),
    ("Who wrote it?", "Jane Austen"),
    ("Where?", "Paris, the capital"),
    ("Which river flows through Vienna and Budapest?", "Danube"),
)


def setting(arch="llama"):
    tiny = tiny_model(arch, layers=3, dtype=torch.float64)
    kind = next(g for g in describe_modules(tiny.model) if "mlp" in g.kind and g.d_out == 32)
    modules = find_modules(tiny.model, [f"layers.[1-2].{kind.kind}"])
    generator = torch.Generator().manual_seed(1)
    changes = {}
    for path, module in modules.items():
        d_in, d_out = weight_view(module).shape
        left, right = (
            torch.randn(*size, generator=generator, dtype=torch.float64) / 10
            for size in ((d_in, 3), (3, d_out))
        )
        changes[path] = LowRank(left, right)
    first = next(iter(changes))
    changes[first] = changes[first].dense()
    return tiny, modules, Additive(changes), encode(tiny.tokenizer, PAIRS)


def naive(tiny, modules, patch, term, items):
    """One item at a time, the patch in the weights, gradients from autograd."""
    model = tiny.model
    weights = {path: module.weight for path, module in modules.items()}
    groups = [longest_first(items)[s : s + term.micro_batch] for s in (0, term.micro_batch)]
    total = 0.0
    for index, item in enumerate(items):
        ids, first = torch.tensor([item.input_ids]), len(item.prompt_ids) - 1
        reference = model(input_ids=ids).logits[0, first:].log_softmax(-1).detach()
        for path, module in modules.items():
            change = patch.changes[path]
            change = change.dense() if isinstance(change, LowRank) else change
            stored = change.T if isinstance(module, torch.nn.Linear) else change
            module.weight = torch.nn.Parameter(weights[path] + stored)
        found = model(input_ids=ids).logits[0, first:].log_softmax(-1)
        if term.kind == "answer":
            losses = F.nll_loss(found, torch.tensor(item.answer_ids), reduction="none")
        else:
            losses = (reference.exp() * (reference - found)).sum(-1)
        group = next(g for g in groups if index in g)
        if term.average == "edit":
            loss = losses.mean() / term.micro_batch
        else:
            loss = losses.sum() / sum(len(items[i].answer_ids) for i in group)
        loss.backward()
        total += loss.item()
        for path, module in modules.items():
            linear = isinstance(module, torch.nn.Linear)
            yield path, module.weight.grad.T if linear else module.weight.grad, None
            module.weight = weights[path]
    yield None, None, total


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["answer", "drift"])
def test_values_and_gradients_equal_those_of_changed_weights(arch, kind, monkeypatch):
    tiny, modules, patch, items = setting(arch)
    monkeypatch.setitem(trace.MAX_TOKENS, "cpu", 40)  # several batches
    for average in ("edit", "micro-batch"):
        term = LossTerm(PAIRS, 0.7, kind, average, micro_batch=3)
        expected = {path: 0 for path in modules}
        *gradients, (_, _, total) = naive(tiny, modules, patch, term, items)
        for path, gradient, _ in gradients:
            expected[path] = expected[path] + 0.7 * gradient
        found = {path: 0 for path in modules}

        def sink(path, keys, grads, found=found):
            found[path] = found[path] + keys.T @ grads

        before = {name: p.clone() for name, p in tiny.model.named_parameters()}
        value = loss_of_patch(tiny.model, modules, patch, term, items, sink)
        assert value.loss == pytest.approx(total, rel=1e-6)
        assert loss_of_patch(tiny.model, modules, patch, term, items).loss == pytest.approx(
            value.loss
        )
        for path in modules:
            # Some architectures compute norms and rotations in float32 whatever they are given.
            torch.testing.assert_close(found[path], expected[path], rtol=1e-3, atol=1e-7)
        assert all(torch.equal(p, before[n]) for n, p in tiny.model.named_parameters())
        assert all(p.grad is None for p in tiny.model.parameters())


def test_reverted_gradients_flow_back_through_the_unpatched_weights():
    tiny, modules, patch, items = setting()
    model = tiny.model
    first, last = modules
    term = LossTerm(PAIRS[:1], 1.0, "answer", "edit", 1, "reverted")
    found = {}
    loss_of_patch(
        model, modules, patch, term, items[:1], lambda p, k, g: found.update({p: k.T @ g})
    )
    # As the released code: activations of the patched model, weights put back before backward.
    ids, start = torch.tensor([items[0].input_ids]), len(items[0].prompt_ids) - 1
    changes = {p: c.dense() if isinstance(c, LowRank) else c for p, c in patch.changes.items()}
    live = {p: weight_view(m) for p, m in modules.items()}
    base = {p: w.clone() for p, w in live.items()}
    seen = {}

    def hook(path):
        def record(_, args, output):
            output = output if output.requires_grad else output.detach().requires_grad_()
            output.retain_grad()
            seen[path] = (args[0], output)
            return output

        return record

    handles = [m.register_forward_hook(hook(p)) for p, m in modules.items()]
    for path, weight in live.items():
        weight += changes[path]
    logits = model(input_ids=ids).logits[0, start:]
    for path, weight in live.items():
        weight.copy_(base[path])
    F.cross_entropy(logits, torch.tensor(items[0].answer_ids)).backward()
    for handle in handles:
        handle.remove()
    edited = {}
    plain = term._replace(backward="edited")
    loss_of_patch(
        model, modules, patch, plain, items[:1], lambda p, k, g: edited.update({p: k.T @ g})
    )
    for path in modules:
        keys, output = seen[path]
        torch.testing.assert_close(found[path], keys[0].T @ output.grad[0], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found[last], edited[last], rtol=1e-4, atol=1e-7)
    assert not torch.allclose(found[first], edited[first], rtol=1e-3)


def test_no_pair_is_no_loss_and_a_patch_of_nothing_drifts_nowhere():
    tiny, modules, _, items = setting()
    nothing = LossTerm((), 1.0, "drift")
    assert loss_of_patch(tiny.model, modules, Additive({}), nothing, []) == (0.0, 0.0)
    still = loss_of_patch(tiny.model, modules, Additive({}), LossTerm(PAIRS, 1.0, "drift"), items)
    assert still.loss == pytest.approx(0, abs=1e-12)
    assert still.agreement == 1.0


def test_a_collapsed_model_is_an_error():
    tiny, modules, _, items = setting()
    broken = Additive({p: torch.full_like(weight_view(m), 1e308) for p, m in modules.items()})
    with pytest.raises(NumericalError, match="collapsed"):
        loss_of_patch(tiny.model, modules, broken, LossTerm(PAIRS, 1.0, "answer"), items)


def test_all_tokens_are_rows_where_they_are_asked_for(monkeypatch):
    tiny, modules, _, items = setting()
    monkeypatch.setitem(trace.MAX_TOKENS, "cpu", 40)
    answers = trace.layer_signals(tiny.model, modules, items)
    everything = trace.layer_signals(tiny.model, modules, items, "all")
    for path in modules:
        some, all_ = answers[path], everything[path]
        assert len(all_.keys) == sum(len(item) for item in items) > len(some.keys)
        kept = all_.supervised
        torch.testing.assert_close(all_.keys[kept], some.keys)
        torch.testing.assert_close(all_.grads[kept], some.grads)
        assert torch.equal(all_.segments[kept], some.segments)
        assert some.supervised is None
    # Below the last edited layer, tokens of the prompt have gradients too.
    first = everything[next(iter(modules))]
    assert first.grads[~first.supervised].abs().max() > 0
