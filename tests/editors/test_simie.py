"""SimIE: recursive least squares around another editor's changes."""

from __future__ import annotations

import pytest
import torch

from tests.editors.test_contract import EDITS, host_of
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import LowRank, Turn
from ultraedit.editors import make_editor
from ultraedit.editors.simie import SimIE, updated_inverse
from ultraedit.editors.ultraedit import UltraEdit

TURNS = [Turn(n + 1, tuple(EDITS[4 * n : 4 * n + 4])) for n in range(3)]


def dense(change):
    return change.dense() if isinstance(change, LowRank) else change


@pytest.mark.parametrize("options", [{"eta": 0.1}, {"eta": 0.03, "passes": 3, "written": 0.0}])
def test_a_change_is_what_the_definition_says_turn_after_turn(options):
    host = host_of("simie")
    wrapped, base = SimIE(damping=5.0, base_options=options), UltraEdit(**options)
    state, inner = wrapped.init(host), base.init(host)
    shapes = {path: shape.d_in for path, shape in host.modules.items()}
    moments = {p: 5.0 * torch.eye(d, dtype=torch.float64) for p, d in shapes.items()}
    for turn in TURNS:
        patch, state = wrapped.step(host, turn, state)
        plain, inner = base.step(host, turn, inner)
        for path, signal in host.signals(turn).items():
            keys = signal.keys.double()
            moments[path] += keys.T @ keys
            outer = keys.T @ keys @ dense(plain.changes[path]).double()
            expected = torch.linalg.solve(moments[path], outer)
            found = dense(patch.changes[path]).double()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
            assert found.norm() < dense(plain.changes[path]).norm()
        host.weights.apply(patch)


def test_the_inverse_is_that_of_the_grown_matrix():
    generator = torch.Generator().manual_seed(0)
    inverse = torch.eye(10, dtype=torch.float64) / 3
    grown = 3 * torch.eye(10, dtype=torch.float64)
    for rows in (1, 4, 25, 2):
        keys = torch.randn(rows, 10, generator=generator, dtype=torch.float64)
        inverse, grown = updated_inverse(inverse, keys), grown + keys.T @ keys
        torch.testing.assert_close(inverse, torch.linalg.inv(grown), rtol=1e-9, atol=1e-12)
        assert torch.equal(inverse, inverse.T)


def test_what_earlier_turns_wrote_is_left_alone():
    """Without damping a turn does nothing to keys of earlier turns that are not among its own."""
    host = host_of("simie")
    seen = host.signals(TURNS[0])
    moved = {}
    for damping in (1e-6, 1e6):
        editor = SimIE(damping=damping, base_options={"eta": 0.1})
        _, state = editor.step(host, TURNS[0], editor.init(host))
        patch, _ = editor.step(host, TURNS[1], state)
        path = next(iter(host.modules))
        change, own = dense(patch.changes[path]), host.signals(TURNS[1])[path].keys
        moved[damping] = float((seen[path].keys @ change).norm() / (own @ change).norm())
    assert moved[1e-6] < 0.5 * moved[1e6]


def test_a_turn_is_run_once():
    host = host_of("simie")
    asked = []
    signals = host.signals
    host.signals = lambda turn, tokens="answer": asked.append(turn) or signals(turn, tokens)
    editor = SimIE()
    editor.step(host, TURNS[0], editor.init(host))
    assert asked == [TURNS[0]]


@pytest.mark.parametrize("base", ["ultraedit", "malmen", "mend", "ft-m"])
def test_any_editor_that_changes_weights_can_be_wrapped(base):
    host = host_of("simie")
    editor = make_editor("simie", {"base": base, "damping": 1.0})
    patch, state = editor.step(host, TURNS[0], editor.init(host))
    assert patch.changes.keys() == host.modules.keys()
    assert {name.split("/")[0] for name in state} <= {"base", "inverse"}


def test_damping_is_positive():
    with pytest.raises(ConfigError, match=r"damping must be a positive number, got 0\.0"):
        SimIE(damping=0.0)
