"""Second moments equal the outer products written out, and the pass ends where it may."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Additive
from ultraedit.host.host import ModelHost
from ultraedit.host.second_moments import OfPrompts
from ultraedit.host.second_moments.collection import tokenize
from ultraedit.host.trace import MomentSums, add_moments
from ultraedit.models import find_modules
from ultraedit.models.modules import shape_of

TEXTS = [
    "The native language is French.",
    "The tower stands in Paris, the capital of France, where Jane Austen never lived.",
    "Apple",
    "The Danube flows there. " * 8,
]


def modules_of(tiny, pattern="layers.[0-1].mlp.down_proj"):
    modules = find_modules(tiny.model, [pattern])
    return modules, {path: shape_of(module).d_in for path, module in modules.items()}


def written_out(tiny, module, texts):
    """The mean outer product over all tokens, one passage at a time, in float64."""
    seen = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0][0].double()))
    with torch.no_grad():
        for ids in tokenize(tiny, texts):
            tiny.model(torch.tensor([ids]))
    handle.remove()
    rows = torch.cat(seen)
    return rows.T @ rows / len(rows), len(rows)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_moments_equal_the_outer_products_written_out(arch):
    tiny = tiny_model(arch)
    kind = {"gptj": "mlp.fc_out", "gpt2": "mlp.c_proj"}.get(arch, "mlp.down_proj")
    modules, sizes = modules_of(tiny, f"layers.[0-1].{kind}")
    sums = MomentSums.zeros(modules, sizes)
    add_moments(tiny.model, modules, tokenize(tiny, TEXTS), sums)
    for path, module in modules.items():
        expected, tokens = written_out(tiny, module, TEXTS)
        assert sums.tokens == tokens
        torch.testing.assert_close(sums.mean(path).double(), expected, rtol=1e-4, atol=1e-6)


def test_what_lies_above_the_highest_layer_is_not_computed():
    tiny = tiny_model("llama", layers=3)
    modules, sizes = modules_of(tiny)
    calls = []
    tiny.model.get_output_embeddings().register_forward_hook(lambda *_: calls.append("head"))
    tiny.model.model.layers[2].register_forward_hook(lambda *_: calls.append("layer 2"))
    add_moments(tiny.model, modules, tokenize(tiny, TEXTS), MomentSums.zeros(modules, sizes))
    assert calls == []
    tiny.model(torch.tensor([[5, 6]]))
    assert calls == ["layer 2", "head"]


def test_a_layer_that_is_never_used_is_named():
    tiny = tiny_model("llama")
    modules, sizes = modules_of(tiny)
    modules["stray"], sizes["stray"] = torch.nn.Linear(4, 4), 4
    with pytest.raises(ConfigError, match="The model never used stray"):
        add_moments(tiny.model, modules, [[5, 6, 7]], MomentSums.zeros(modules, sizes))


def test_a_hosts_moments_are_those_of_the_unedited_model():
    edited, fresh = (
        ModelHost(tiny_model("llama"), ["layers.[0-1].mlp.down_proj"], statistics=OfPrompts(TEXTS))
        for _ in range(2)
    )
    noise = {path: torch.ones(48, 32) for path in edited.modules}
    edited.weights.apply(Additive(noise))
    kept = edited.weights.snapshot()
    for path in fresh.modules:
        assert torch.equal(edited.second_moment(path).moment, fresh.second_moment(path).moment)
        assert edited.second_moment(path).source == "prompts of the edits"
    assert all(torch.equal(w, kept[p]) for p, w in edited.weights.snapshot().items())


def test_a_host_without_statistics_says_what_to_give():
    host = ModelHost(tiny_model("llama"), ["layers.0.mlp.down_proj"])
    with pytest.raises(ConfigError, match="Give ModelHost statistics=OfPrompts"):
        host.second_moment(next(iter(host.modules)))
