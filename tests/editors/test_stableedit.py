"""StableEdit: a warm-up, whitened gradients, and otherwise UltraEdit."""

from __future__ import annotations

import pytest
import torch

from tests.editors.test_contract import host_of
from tests.editors.test_malmen import FACTS
from ultraedit.core.errors import ConfigError
from ultraedit.core.nets import Net
from ultraedit.core.stats import RunningCovariance, pack, unpack_covariances
from ultraedit.core.types import LowRank, Turn
from ultraedit.editors.families.fit import Schedule, fit
from ultraedit.editors.families.trained import about_net
from ultraedit.editors.stableedit import StableEdit
from ultraedit.editors.ultraedit import UltraEdit


def correlated(n=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    return 3 + torch.randn(n, 6, generator=generator, dtype=torch.float64) @ mix


def test_the_last_coordinates_are_whitened_and_the_others_normalised():
    rows = correlated()
    moments = RunningCovariance.zeros(6, 4)
    for batch in rows.split(37):
        moments = moments.update(batch)
    expected = torch.cov(rows[:, 2:].T)
    torch.testing.assert_close(moments.cross / (len(rows) - 1), expected)
    found = moments.normalize(rows)
    torch.testing.assert_close(torch.cov(found[:, 2:].T), torch.eye(4).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[:, :2], moments.moments.normalize(rows)[:, :2])
    # Of all whitenings the one that is closest to the normalised rows.
    assert (torch.diagonal(found[:, 2:].T @ moments.moments.normalize(rows)[:, 2:]) > 0).all()


def test_few_rows_are_only_normalised():
    rows = correlated(5)
    moments = RunningCovariance.zeros(6, 4).update(rows)
    torch.testing.assert_close(moments.normalize(rows), moments.moments.normalize(rows))
    again = moments.update(correlated(1, seed=1))
    assert not torch.allclose(again.normalize(rows), again.moments.normalize(rows))


def test_covariances_survive_the_state_of_an_editor():
    moments = {"m": RunningCovariance.zeros(6, 4).update(correlated())}
    (found,) = unpack_covariances(pack(moments)).values()
    assert all(torch.equal(a, b) for a, b in zip(found, moments["m"], strict=True))
    untouched = RunningCovariance.zeros(6, 4).update(correlated(0))
    assert int(untouched.seen) == 0


def test_before_there_are_enough_rows_it_is_ultraedit():
    host = host_of("stableedit")
    turn = Turn(1, tuple(FACTS[:4]))
    stable, ultra = StableEdit(eta=0.1), UltraEdit(eta=0.1, ridge=10.0)
    assert StableEdit().ridge == 10.0
    first, state = stable.step(host, turn, stable.init(host))
    second, _ = ultra.step(host, turn, ultra.init(host))
    for path in host.modules:
        assert torch.equal(first.changes[path].dense(), second.changes[path].dense())
    for _ in range(4):
        first, state = stable.step(host, turn, state)
    second, _ = ultra.step(host, turn, {k: v for k, v in state.items() if "cross" not in k})
    for path in host.modules:
        a, b = (
            c.dense() if isinstance(c, LowRank) else c
            for c in (first.changes[path], second.changes[path])
        )
        assert not torch.allclose(a, b)


def test_a_warm_up_changes_nothing_but_the_statistics_and_a_run_begins_with_them():
    host = host_of("stableedit")
    before = {n: p.clone() for n, p in host.language_model.model.named_parameters()}
    editor = StableEdit(eta="auto", warm_up=2)
    schedule = editor.schedule(Schedule(edits_per_turn=4, epochs=5))
    learner = editor.learner(host, 0)
    fitted = fit(learner, FACTS, schedule, validation=FACTS[:2])
    assert fitted.turns == 2
    assert fitted.checks == []
    assert all(torch.equal(p, before[n]) for n, p in host.language_model.model.named_parameters())
    options = {name: getattr(editor, name) for name in ("variance", "statistics", "loss_average")}
    about = about_net(editor, host, "tiny", {**options, "micro_batch": 10})
    warmed = editor.with_net(Net(fitted.net.tensors, about))
    state = warmed.init(host)
    seen = {name: int(t) for name, t in state.items() if name.endswith("/seen")}
    assert seen.keys() == {f"{path}/seen" for path in host.modules}
    assert min(seen.values()) > 0
    _, after = warmed.step(host, Turn(1, tuple(FACTS[:4])), state)
    assert all(int(after[name]) > rows for name, rows in seen.items())


def test_a_warm_up_has_turns():
    with pytest.raises(ConfigError, match="warm_up must be at least 1, got 0"):
        StableEdit(warm_up=0)
