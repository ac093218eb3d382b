"""Losses and weight gradients equal autograd's at weights that really are trainable."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.editors.test_contract import EDITS, host_of, parameters
from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.encoding import Encoded
from ultraedit.core.errors import ConfigError, NumericalError
from ultraedit.core.types import Edit
from ultraedit.host.host import ModelHost
from ultraedit.host.trace import weight_gradients
from ultraedit.models import find_modules
from ultraedit.models.weights import weight_view


def by_autograd(model, modules, items, at):
    """Mean loss per edit, one forward pass each, and gradients that autograd forms itself."""
    for module in modules.values():
        module.weight.requires_grad_()
    losses = []
    for item in items:
        answer = torch.tensor(item.answer_ids)
        if at == "answer":
            logits = model(torch.tensor([item.input_ids])).logits[0, -len(answer) :]
        else:
            logits = model(torch.tensor([item.prompt_ids])).logits[0, -1:].expand(len(answer), -1)
        losses.append(cross_entropy(logits, answer))
    weights = [module.weight for module in modules.values()]
    grads = torch.autograd.grad(torch.stack(losses).mean(), weights)
    for module in modules.values():
        module.weight.requires_grad_(False)
    as_stored = zip(modules.items(), grads, strict=True)
    return torch.stack(losses).detach(), {
        path: grad.T if isinstance(module, torch.nn.Linear) else grad
        for (path, module), grad in as_stored
    }


@pytest.mark.parametrize("at", ["answer", "last-prompt"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_losses_and_gradients_are_autograds_in_float64(arch, at):
    tiny = tiny_model(arch, layers=3, dtype=torch.float64)
    kind = {"gptj": "mlp.fc_out", "gpt2": "mlp.c_proj"}.get(arch, "mlp.down_proj")
    modules = find_modules(tiny.model, [f"layers.[1-2].{kind}"])
    items = ModelHost(tiny, None).encode([(edit.prompt, edit.target) for edit in EDITS[:6]])
    found = weight_gradients(tiny.model, modules, items, at)
    losses, grads = by_autograd(tiny.model, modules, items, at)
    # GPT-J's attention and some norms compute in float32 whatever the weights are.
    torch.testing.assert_close(found.losses, losses, rtol=1e-6, atol=0)
    for path, grad in grads.items():
        tolerance = 1e-6 * float(grad.abs().max())
        torch.testing.assert_close(found.grads[path], grad, rtol=0, atol=tolerance)


def test_gradients_do_not_depend_on_the_batches(monkeypatch):
    tiny = tiny_model("llama", dtype=torch.float64)
    modules = find_modules(tiny.model, ["layers.1.mlp.down_proj"])
    items = ModelHost(tiny, None).encode([(e.prompt, e.target) for e in EDITS])
    together = weight_gradients(tiny.model, modules, items)
    monkeypatch.setitem(weight_gradients.__globals__["batches"].__globals__["MAX_TOKENS"], "cpu", 1)
    alone = weight_gradients(tiny.model, modules, items)
    torch.testing.assert_close(together.losses, alone.losses)
    for path in modules:
        torch.testing.assert_close(together.grads[path], alone.grads[path])


def test_at_the_last_prompt_position_the_answer_is_not_read():
    tiny = tiny_model("llama")
    modules = find_modules(tiny.model, ["layers.1.mlp.down_proj"])
    prompt, answer = (5, 6, 7), (20, 21, 22)
    there_and_back = [Encoded(prompt, order) for order in (answer, answer[::-1])]
    forth, back = (
        weight_gradients(tiny.model, modules, [item], "last-prompt") for item in there_and_back
    )
    torch.testing.assert_close(forth.grads, back.grads)
    torch.testing.assert_close(forth.losses, back.losses)
    forth, back = (weight_gradients(tiny.model, modules, [item]) for item in there_and_back)
    assert not torch.allclose(forth.losses, back.losses)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_a_host_takes_gradients_at_other_weights_and_keeps_its_own(arch, dtype):
    host = host_of("ultraedit", arch, dtype)
    before = parameters(host)
    path = list(host.modules)[1]
    other = 0.5 * host.weight(path)
    found = host.weight_gradients(EDITS[:3], {path: other})
    assert set(found.grads) == {path}
    assert found.grads[path].dtype == torch.float32
    assert found.grads[path].shape == host.modules[path]
    assert all(torch.equal(p, before[n]) for n, p in parameters(host).items())
    module = host.language_model.model.get_submodule(path)
    weight_view(module).copy_(other)
    items = host.encode([(edit.prompt, edit.target) for edit in EDITS[:3]])
    written = weight_gradients(host.language_model.model, {path: module}, items)
    assert torch.equal(written.losses, found.losses)
    assert torch.equal(written.grads[path], found.grads[path])


def test_the_end_token_is_one_more_answer_token():
    host = host_of("ultraedit")
    path = next(iter(host.modules))
    weights = {path: host.weight(path)}
    edit = EDITS[0]
    (item,) = host.encode([(edit.prompt, edit.target)])
    end = host.language_model.tokenizer.eos_token_id
    module = {path: host.language_model.model.get_submodule(path)}
    ended = Encoded(item.prompt_ids, (*item.answer_ids, end))
    expected = weight_gradients(host.language_model.model, module, [ended])
    found = host.weight_gradients([edit], weights, end_token=True)
    assert torch.equal(found.losses, expected.losses)
    assert not torch.equal(found.losses, host.weight_gradients([edit], weights).losses)


def test_a_tokenizer_without_an_end_token_is_named(monkeypatch):
    host = host_of("ultraedit")
    tokenizer = type(host.language_model.tokenizer)
    monkeypatch.setattr(tokenizer, "eos_token_id", None, raising=False)
    path = next(iter(host.modules))
    with pytest.raises(ConfigError, match="tokenizer of tiny-llama has no end-of-text token"):
        host.weight_gradients([Edit("a b", "c")], {path: host.weight(path)}, end_token=True)


def test_a_loss_that_is_not_finite_is_refused():
    host = host_of("ultraedit")
    path = next(iter(host.modules))
    with pytest.raises(NumericalError, match="loss is not finite"):
        host.weight_gradients(EDITS[:1], {path: host.weight(path) * float("nan")})
    assert torch.isfinite(host.weight(path)).all()


def test_a_layer_that_is_never_used_is_named():
    tiny = tiny_model("llama")
    modules = {"stray": torch.nn.Linear(4, 4)}
    with pytest.raises(ConfigError, match="The model never used stray"):
        weight_gradients(tiny.model, modules, [Encoded((5, 6), (7,))])
