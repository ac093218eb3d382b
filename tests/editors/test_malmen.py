"""MALMEN's equations, and its gradients against finite differences and a dense solve."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.editors.test_contract import EDITS, host_of
from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError
from ultraedit.core.nets import Net
from ultraedit.core.stats import pack
from ultraedit.core.types import Additive, LowRank, Question, Turn
from ultraedit.editors import make_editor
from ultraedit.editors.families.hypernetwork import Pulled
from ultraedit.editors.families.hypernetwork_training import (
    Learner,
    _patch,
    fresh,
    rephrased,
    unrelated,
)
from ultraedit.editors.families.residual_blocks import run_blocks
from ultraedit.editors.malmen import MALMEN
from ultraedit.editors.mend import MEND
from ultraedit.editors.mend_original import MENDOriginal
from ultraedit.editors.rledit import RLEdit
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.host.host import ModelHost

FACTS = [
    replace(
        edit,
        rephrases=(f"Tell me: {edit.prompt}",),
        locality=(Question(f"Where is the tower number {n}?", "Paris"),),
    )
    for n, edit in enumerate(EDITS)
]
SMALL = {"rank": 4, "blocks": 2, "clip": 1e9}


class Swapped(MALMEN):
    """MALMEN with UltraEdit's coefficient: ||h_hat||^2 in the place of h . k."""

    lengths, coefficient = UltraEdit.lengths, "norm"


@pytest.mark.parametrize("official", [False, True])
def test_a_fresh_net_with_ultraedits_coefficient_is_ultraedit_bit_for_bit(official):
    options = {"protocol": "official"} if official else {"statistics": "shape"}
    host = host_of("malmen")
    malmen = Swapped(lr=1e-2, ridge=2.5, **options, **SMALL)
    net = Net(fresh(malmen, host, seed=3), {})
    assert any("blocks/" in name for name in net.tensors)
    ours, theirs = malmen.with_net(net), UltraEdit(eta=1e-2, ridge=2.5, **options)
    states = [UltraEdit.init(theirs, host)] * 2
    states[0] = states[0] | {"net/digest": net.digest}
    for number in (1, 2):
        turn = Turn(number, tuple(FACTS[8 * number - 8 : 8 * number]))
        first, states[0] = ours.step(host, turn, states[0])
        second, states[1] = theirs.step(host, turn, states[1])
        for path in host.modules:
            assert torch.equal(first.changes[path].dense(), second.changes[path].dense())
            assert second.changes[path].dense().abs().max() > 0
        host.weights.apply(second)
    plain, _ = MALMEN(lr=1e-2, ridge=2.5, **options).step(host, turn, states[1])
    other, _ = theirs.step(host, turn, states[1])
    path = next(iter(host.modules))
    assert not torch.allclose(plain.changes[path].dense(), other.changes[path].dense())


def double_host() -> ModelHost:
    """GPT-2, the one that computes all of it in float64 where it is asked to."""
    tiny = tiny_model("gpt2", layers=3, dtype=torch.float64)
    return ModelHost(tiny, ["h.[1-2].mlp.c_proj"], "model")


class Waiting:
    """Training whose optimiser never steps, so that the gradients can be looked at."""

    def recipe(self):
        return replace(super().recipe(), turns_per_step=None)


class WaitingMALMEN(Waiting, MALMEN):
    pass


class WaitingMEND(Waiting, MEND):
    pass


class WaitingOriginal(Waiting, MENDOriginal):
    pass


class WaitingRLEdit(Waiting, RLEdit):
    pass


def random_learner(editor, host, seed=0) -> Learner:
    """A learner whose net is no longer the identity, in float64."""
    learner = Learner(editor, host, seed)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in learner.parameters.items():
        if not name.endswith(("/lr", "/log_ridge")):
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            learner.parameters[name] = tensor.double() + 0.3 * noise
    return learner


@pytest.mark.parametrize(
    "editor",
    [
        WaitingMALMEN(lr=0.02, ridge=3.0, loss_average="micro-batch", **SMALL),
        WaitingMALMEN(lr=0.02, **SMALL | {"chunk": 3}),
        WaitingMEND(lr=0.002, **SMALL),
        WaitingOriginal(lr=0.002, **SMALL),
        WaitingRLEdit(lr=0.02, reg_weight=0.5, **SMALL),
    ],
    ids=["malmen", "malmen in chunks", "mend", "mend-original", "rledit"],
)
def test_gradients_of_the_net_are_those_of_finite_differences(editor):
    host = double_host()
    learner = random_learner(editor, host)
    turn = Turn(1, tuple(FACTS[:3]))
    learner.learn(turn)
    signals = learner.editor.trace(host, turn)

    def loss() -> float:
        solved = learner.editor.solve(host, signals, learner.moments, observe=False)
        patch = _patch(solved, learner.editor.steps(solved.units))
        terms = learner._terms([turn])
        values = host.patch_loss(patch, terms)
        norms = sum(
            float((c.dense() if isinstance(c, LowRank) else c).square().sum())
            for c in patch.changes.values()
        )
        weighted = sum(t.weight * v.loss for t, v in zip(terms, values, strict=True))
        return weighted + learner.recipe.reg * norms

    generator = torch.Generator().manual_seed(1)
    kinds = {name.split("/")[-1] for name in learner.gradients}
    assert kinds == {"down", "up", "bias", "scale", "shift", "lr"} | (
        {"log_ridge"} if hasattr(editor, "ridge") else set()
    )
    for name, gradient in learner.gradients.items():
        parameter = learner.parameters[name]
        flat, slopes = parameter.view(-1), gradient.view(-1)
        at = slopes.abs().argmax() if torch.rand((), generator=generator) < 0.7 else 0
        kept, size = flat[at].clone(), 1e-6 * max(1e-2, float(flat[at].abs()))
        flat[at] = kept + size
        above = loss()
        flat[at] = kept - size
        below = loss()
        flat[at] = kept
        expected = (above - below) / (2 * size)
        assert float(slopes[at]) == pytest.approx(expected, rel=2e-4, abs=1e-7), name
        assert float(slopes.abs().max()) > 0, name


def test_the_closed_form_equals_autograd_through_a_dense_solve():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n, d_in, d_out, shape = 7, 12, 5, "12x5"
    keys, rows, pull = draw(n, d_in), draw(n, d_in + d_out), draw(d_in, d_out)
    editor = MALMEN()
    leaves = {
        f"blocks/{shape}/0/down": draw(17, 4),
        f"blocks/{shape}/0/up": draw(4, 17),
        f"blocks/{shape}/0/bias": draw(17),
        "modules/m/0/scale": draw(17),
        "modules/m/0/shift": draw(17),
    }
    leaves = {name: tensor.requires_grad_() for name, tensor in leaves.items()}
    lr, log_ridge = (torch.tensor(v, dtype=torch.float64).requires_grad_() for v in (0.3, 0.8))
    # The loss <A, S> has the gradient A at S; S from autograd through the d_in x d_in system.
    pseudo = run_blocks(leaves, "m", shape, rows)
    k, g = pseudo[:, :d_in], pseudo[:, d_in:]
    v = -lr * (keys * k).sum(1, keepdim=True) * g
    matrix = keys.T @ keys + log_ridge.exp() * torch.eye(d_in, dtype=torch.float64)
    change = torch.linalg.solve(matrix, keys.T @ v)
    expected = torch.autograd.grad((pull * change).sum(), [pseudo, lr, log_ridge])
    probe = editor.probe(keys, pseudo.detach())
    found = editor.pull_back(
        "m", keys, pseudo.detach(), Pulled(probe.left @ pull), 0.3, log_ridge.exp().item()
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_a_fresh_net_learns_to_answer_rephrased_prompts_and_leaves_the_model_alone():
    host = host_of("malmen")
    before = {n: p.clone() for n, p in host.language_model.model.named_parameters()}
    learner = Learner(MALMEN(alpha=0.1, meta_lr=1e-3, rank=8, blocks=2, loc=0.1), host, 0)
    turn = Turn(1, tuple(FACTS[:8]))
    first = learner.learn(turn)
    for number in range(20):
        last = learner.learn(Turn(number + 2, tuple(FACTS[:8])))
    assert last[0].loss < 0.95 * first[0].loss
    assert learner.steps_taken() == 21
    assert all(torch.equal(p, before[n]) for n, p in host.language_model.model.named_parameters())
    assert all(p.grad is None for p in host.language_model.model.parameters())


def test_the_gradient_is_clipped():
    learner = Learner(WaitingMALMEN(lr=0.1, rank=4, blocks=1, clip=1e-3), host_of("malmen"), 0)
    learner.learn(Turn(1, tuple(FACTS[:4])))
    lengths = [float(g.double().square().sum()) for g in learner.gradients.values()]
    assert sum(lengths) ** 0.5 > 1e-3
    kept = {name: g.clone() for name, g in learner.gradients.items()}
    seen = {}
    learner.adam.step = lambda parameters, gradients, lr: seen.update(gradients)
    learner.step()
    clipped = sum(float(g.double().square().sum()) for g in seen.values()) ** 0.5
    assert clipped == pytest.approx(1e-3, rel=1e-4)
    factor = 1e-3 / sum(lengths) ** 0.5
    for name, gradient in kept.items():
        torch.testing.assert_close(seen[name], factor * gradient, rtol=1e-4, atol=1e-12)


def test_edits_without_a_rephrase_or_an_unrelated_answer_are_asked_what_they_have():
    assert rephrased(EDITS[:1]) == ((EDITS[0].prompt, EDITS[0].target),)
    silent = replace(EDITS[0], locality=(Question("Who?", None), Question("Where?", "Here")))
    assert unrelated([silent, EDITS[1]]) == (("Where?", "Here"),)
    learner = Learner(MALMEN(rank=4, blocks=1), host_of("malmen"), 0)
    found = learner.learn(Turn(1, tuple(EDITS[:4])))
    assert found[1] == (0.0, 0.0)


def test_a_learner_resumed_from_its_state_goes_on_as_if_it_had_not_stopped():
    host = host_of("rledit")
    editor = RLEdit(alpha=0.2, rank=4, blocks=1)
    whole, broken = Learner(editor, host, 0), Learner(editor, host, 0)
    learned = [Turn(n, tuple(FACTS[4 * n : 4 * n + 4])) for n in range(4)]
    for n, turn in enumerate(learned):
        whole.learn(turn, learned[:n])
    for n in (0, 1):
        broken.learn(learned[n], learned[:n])
    other = Learner(editor, host, 99)
    other.resume({name: t.clone() for name, t in broken.state().items()})
    for n in (2, 3):
        other.learn(learned[n], learned[:n])
    for each in (whole, other):
        each.end_epoch()
    expected = whole.net({}).tensors
    found = other.net({}).tensors
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_trained_net_begins_with_the_statistics_of_its_training():
    host = host_of("malmen")
    learner = Learner(MALMEN(rank=4, blocks=1), host, 0)
    learner.learn(Turn(1, tuple(FACTS[:4])))
    net = learner.net(
        {
            "editor": "malmen",
            "model": "tiny",
            "fingerprint": host.fingerprint(),
            "modules": {path: list(shape) for path, shape in host.modules.items()},
            "options": {
                "variance": "pooled",
                "statistics": "shape",
                "loss_average": "edit",
                "micro_batch": 10,
            },
        }
    )
    state = MALMEN().with_net(net).init(host)
    expected = pack(learner.moments)
    assert expected.keys() < state.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    rows = next(t for n, t in state.items() if n.endswith("/seen"))
    assert rows > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, r"lr must be a positive number or 'auto', got 0\.0"),
        ({"ridge": -1.0}, r"ridge must be a positive number, got -1\.0"),
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"loc": -1.0}, r"loc must be a number of at least 0, got -1\.0"),
        ({"net": "nowhere.net"}, "There is no net at nowhere.net"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_editor("malmen", options)


def test_a_patch_of_nothing_is_held_for_nothing():
    host = host_of("malmen")
    with host.patched(Additive({})):
        assert host.weights.relative_change(next(iter(host.modules))) == 0
