"""RLEdit's trajectory: what stays, what is judged, when the optimiser steps."""

from __future__ import annotations

import pytest
import torch

from tests.editors.test_contract import host_of
from tests.editors.test_malmen import FACTS
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Additive, LossTerm, Turn
from ultraedit.editors.families.fit import Schedule, fit
from ultraedit.editors.families.hypernetwork_training import Learner
from ultraedit.editors.rledit import PROTOCOLS, RLEdit

SMALL = {"rank": 4, "blocks": 1}
TURNS = [Turn(n + 1, tuple(FACTS[4 * n : 4 * n + 4])) for n in range(4)]


def trained(editor, epochs=1, host=None):
    learner = Learner(editor, host or host_of("rledit"), 0)
    schedule = editor.schedule(Schedule(edits_per_turn=4, epochs=epochs))
    return learner, fit(learner, FACTS, schedule)


@pytest.mark.parametrize("protocol", ["paper", "official"])
def test_an_epoch_is_one_step_of_the_optimiser(protocol):
    editor = RLEdit(protocol=protocol, lr=1e-3, **SMALL)
    learner, fitted = trained(editor, epochs=2)
    assert fitted.turns == 8
    assert learner.steps_taken() == 2


def test_it_can_step_after_every_turn():
    learner, _ = trained(RLEdit(steps_per_epoch="turn", **SMALL))
    assert learner.steps_taken() == 4


def test_one_step_moves_every_parameter_that_learns_by_the_meta_step():
    editor = RLEdit(lr=0.01, meta_lr=1e-4, **SMALL)
    learner, _ = trained(editor)
    fresh = Learner(editor, learner.host, 0).parameters
    for name, tensor in learner.parameters.items():
        moved = (tensor - fresh[name]).abs().max()
        if name.endswith(("/down", "/scale")):
            assert moved == 0, name  # no gradient while B is zero
        else:
            assert float(moved) == pytest.approx(1e-4, rel=2e-2), name


def test_a_turns_change_stays_for_the_turns_after_it_and_is_gone_at_the_end():
    host = host_of("rledit")
    learner = Learner(RLEdit(alpha=0.3, **SMALL), host, 0)
    assert learner.losses(TURNS[:1])[0].loss > 0  # with the step that an untrained editor has
    assert learner.editor.steps(host.modules) is None
    learner.learn(TURNS[0])
    held = {path: change.clone() for path, change in learner.carried.items()}
    assert all(change.abs().max() > 0 for change in held.values())
    seen = []
    original = host.patch_loss

    def watched(patch, terms, sink=None):
        seen.append({path: host.weights.changes[path].clone() for path in host.modules})
        return original(patch, terms, sink)

    host.patch_loss = watched
    learner.learn(TURNS[1], TURNS[:1])
    for path, change in held.items():
        torch.testing.assert_close(seen[0][path], change)
        assert host.weights.changes[path].abs().max() == 0
    learner.end_epoch()
    assert not learner.carried


def test_validation_makes_its_turns_one_after_the_other_as_a_run_does():
    host = host_of("rledit")
    editor = RLEdit(lr=0.2)
    learner = Learner(RLEdit(lr=0.2, **SMALL), host, 0)
    own, rephrases, drift = learner.losses(TURNS[:3])
    state = editor.init(host)
    for turn in TURNS[:3]:
        patch, state = editor.step(host, turn, state)
        host.weights.apply(patch)
    pairs = tuple((e.prompt, e.target) for turn in TURNS[:3] for e in turn.edits)
    (expected,) = host.patch_loss(Additive({}), [LossTerm(pairs, 1.0, "answer")])
    assert own.loss == pytest.approx(expected.loss, rel=1e-4)
    assert min(rephrases.loss, drift.loss) > 0


def test_earlier_turns_are_judged_for_less_and_not_for_ever():
    learner = Learner(RLEdit(depth=3, decay=0.5, loc=0.6, **SMALL), host_of("rledit"), 0)
    seen = []
    original = learner.host.patch_loss
    learner.host.patch_loss = lambda patch, terms, sink=None: (
        seen.append(terms) or original(patch, terms, sink)
    )
    learner.learn(TURNS[3], TURNS[:3])
    answers = [t for t in seen[0] if t.kind == "answer"]
    assert [t.weight for t in answers] == [1.0, 0.5, 0.25]
    assert [t.weight for t in seen[0] if t.kind == "drift"] == [0.6, 0.3, 0.15]
    for term, turn in zip(answers, reversed(TURNS[1:]), strict=True):
        assert [answer for _, answer in term.pairs] == [edit.target for edit in turn.edits]


def gradients(**options):
    options = {"lr": 0.05, "clip": 1e9, **SMALL, **options}
    learner = Learner(RLEdit(**options), host_of("rledit"), 0)
    learner.learn(TURNS[0])
    return torch.cat([g.flatten().double() for _, g in sorted(learner.gradients.items())])


def test_the_penalty_has_a_gradient_only_where_it_is_live():
    dead = gradients(reg="dead")
    assert torch.equal(dead, gradients(reg="dead", reg_weight=1.0))
    assert not torch.allclose(dead, gradients(reg="live", reg_weight=1.0), rtol=1e-3)


def test_the_drift_can_flow_back_through_the_weights_before_the_turn():
    edited, reverted = (gradients(loc_backward=each) for each in ("edited", "reverted"))
    assert not torch.allclose(edited, reverted, rtol=1e-3)
    assert torch.dot(edited, reverted) > 0


def test_the_running_sum_is_clipped_after_every_turn():
    learner = Learner(RLEdit(lr=0.1, clip=1e-3, **SMALL), host_of("rledit"), 0)
    for n, turn in enumerate(TURNS):
        learner.learn(turn, TURNS[:n])
        length = sum(float(g.double().square().sum()) for g in learner.gradients.values()) ** 0.5
        assert length <= 1e-3 * (1 + 1e-4)


def test_each_difference_between_the_protocols_is_an_option_of_its_own():
    paper, official = RLEdit(), RLEdit(protocol="official")
    for name, value in PROTOCOLS["official"].items():
        assert getattr(official, name) == value
        assert getattr(RLEdit(**{name: value}), name) == value
    assert {n for n in PROTOCOLS["paper"] if getattr(paper, n) == getattr(official, n)} == {
        "statistics",
        "steps_per_epoch",
    }


def test_it_is_applied_as_malmen_is():
    host = host_of("rledit")
    patches = []
    for editor in (RLEdit(lr=0.1), RLEdit.__mro__[1](lr=0.1)):
        patch, _ = editor.step(host, TURNS[0], editor.init(host))
        patches.append(patch)
    for path in host.modules:
        first, second = (p.changes[path] for p in patches)
        assert torch.equal(first.dense(), second.dense())
    assert isinstance(patches[0], Additive)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"decay": 1.5}, r"decay must be above 0 and at most 1, got 1\.5"),
        ({"reg_weight": -1.0}, r"reg_weight must be at least 0, got -1\.0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        RLEdit(**options)
