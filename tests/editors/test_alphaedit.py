"""AlphaEdit's projection, its memory of earlier keys, and both forms of its solution."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.editors.test_contract import EDITS, host_of, make, run
from tests.editors.test_memit import dense, random
from ultraedit.core.errors import ConfigError
from ultraedit.core.linalg import weighted_ridge_update
from ultraedit.core.types import Additive, ModuleShape, SecondMoment, Turn
from ultraedit.editors import make_editor
from ultraedit.editors.alphaedit import AlphaEdit, compacted

D_IN, D_OUT = 16, 6


class FakeHost:
    """A host with one layer whose inputs leave half of the directions almost free."""

    def __init__(self):
        self.modules = {"layer": ModuleShape(D_IN, D_OUT)}
        basis, _ = torch.linalg.qr(random(D_IN, D_IN, seed=5))
        values = torch.tensor([1e-4] * 8 + [1.0] * 8, dtype=torch.float64)
        self.moment = (basis * values) @ basis.T
        self.free = basis[:, :8] @ basis[:, :8].T  # the projector P

    def second_moment(self, path):
        return SecondMoment(self.moment, 1_000, "a made-up text")

    def layer_number(self, path):
        return 0

    def answer(self, prompts, limits):
        return ["x"] * len(prompts)


def solve(editor, host, keys, residuals, earlier=None):
    state = editor.init(host)
    for key in state:
        if state[key].is_floating_point():
            state[key] = state[key].double()
    if earlier is not None:
        state["layer/keys"] = editor._project("layer", earlier, state)
    return dense(editor.solve(host, "layer", keys, residuals, state))


def released(projector, keys, residuals, earlier, ridge):
    """The system of the released code, d_in x d_in, a row per edit."""
    memory = keys.T @ keys + earlier.T @ earlier
    system = projector @ memory + ridge * torch.eye(D_IN, dtype=torch.float64)
    return torch.linalg.solve(system, projector @ keys.T @ residuals)


@pytest.mark.parametrize("turns", [0, 5, 40])
def test_the_fast_form_equals_the_dense_one_of_the_released_code(turns):
    host, editor = FakeHost(), AlphaEdit(threshold=0.02, ridge=0.5)
    keys, residuals = random(4, D_IN), random(4, D_OUT, seed=1)
    earlier = random(turns, D_IN, seed=2)
    expected = released(host.free, keys, residuals, earlier, 0.5)
    found = solve(editor, host, keys, residuals, earlier)
    assert float((found - expected).norm()) < 1e-5 * float(expected.norm())


def test_nothing_is_written_in_the_directions_of_preserved_knowledge():
    host = FakeHost()
    delta = solve(AlphaEdit(threshold=0.02), host, random(4, D_IN), random(4, D_OUT, seed=1))
    blocked = torch.eye(D_IN, dtype=torch.float64) - host.free
    assert float((blocked @ delta).norm()) < 1e-6 * float(delta.norm())
    off = solve(AlphaEdit(projection="off"), host, random(4, D_IN), random(4, D_OUT, seed=1))
    assert float((blocked @ off).norm()) > 0.1 * float(off.norm())


def test_without_projection_and_memory_it_is_memit_with_the_identity():
    host = FakeHost()
    keys, residuals = random(4, D_IN), random(4, D_OUT, seed=1)
    found = solve(AlphaEdit(projection="off", ridge=2.0), host, keys, residuals)
    identity = torch.eye(D_IN, dtype=torch.float64)
    expected = dense(weighted_ridge_update(keys, residuals, identity, 2.0))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_earlier_keys_are_kept_from_moving():
    host, editor = FakeHost(), AlphaEdit(threshold=0.02, ridge=1e-6)
    keys, residuals, earlier = random(2, D_IN), random(2, D_OUT, seed=1), random(3, D_IN, seed=2)
    moved = (earlier @ solve(editor, host, keys, residuals)).norm()
    kept = (earlier @ solve(editor, host, keys, residuals, earlier)).norm()
    assert float(kept) < 1e-3 * float(moved)


def test_many_keys_are_compacted_without_changing_any_later_turn():
    rows = random(50, D_IN)
    few = compacted(rows)
    assert few.shape == (D_IN, D_IN)
    torch.testing.assert_close(few.T @ few, rows.T @ rows, rtol=1e-10, atol=1e-10)
    assert compacted(rows[:D_IN]) is not few
    assert torch.equal(compacted(rows[:D_IN]), rows[:D_IN])


def test_a_threshold_counts_directions_and_a_share_needs_none():
    host = FakeHost()
    assert AlphaEdit(threshold=0.02).init(host)["layer/blocked"].shape == (D_IN, 8)
    assert AlphaEdit(kept=0.75).init(host)["layer/blocked"].shape == (D_IN, 4)
    assert "layer/blocked" not in AlphaEdit(projection="off").init(host)


def test_a_short_text_blocks_few_directions():
    host = FakeHost()
    host.second_moment = lambda _: SecondMoment(host.moment, 30, "a few words")
    blocked = AlphaEdit(threshold=0.02).init(host)["layer/blocked"]
    assert blocked.shape == (D_IN, 3)
    values = ((host.moment @ blocked.double()).norm(dim=0)).tolist()
    assert values == pytest.approx([1.0, 1.0, 1.0])  # those that the text reaches most


def test_the_kept_dimension_is_remarked_and_a_strange_one_is_warned_of(caplog):
    host, editor = FakeHost(), AlphaEdit(threshold=0.02)
    assert editor.remarks(host, editor.init(host)) == {
        "null space": "8 of 16 directions in layer",
        "statistics": "1,000 tokens of a made-up text",
    }
    with caplog.at_level(logging.WARNING):
        editor.init(host)
        assert not caplog.records
        AlphaEdit(threshold=1e-6).init(host)
    assert "may write in 0 of 16 directions" in caplog.text
    off = AlphaEdit(projection="off")
    assert off.remarks(host, off.init(host)) == {"null space": "off"}


def test_the_keys_of_a_turn_are_those_of_the_changed_model():
    host, editor = host_of("alphaedit"), make("alphaedit")
    state = editor.init(host)
    turn = Turn(1, tuple(EDITS[:4]))
    patch, after = editor.step(host, turn, state)
    low, high = host.modules
    host.weights.apply(patch)
    from ultraedit.editors.families.locate_then_edit import mean_inputs

    now = mean_inputs(host, [high], editor.prompts(turn.edits, state))[high]
    expected = editor._project(high, now, state)
    assert after[f"{high}/keys"].shape == (4, 48)
    torch.testing.assert_close(after[f"{high}/keys"], expected, rtol=1e-4, atol=1e-5)
    _, later = editor.step(host, Turn(2, tuple(EDITS[4:8])), after)
    assert later[f"{low}/keys"].shape == (8, 48)
    assert torch.equal(later[f"{low}/keys"][:4], after[f"{low}/keys"])


def test_the_state_stays_below_one_square_matrix_per_layer():
    host, editor = (
        host_of("alphaedit"),
        make_editor("alphaedit", {"steps": 2, "contexts": 0, "ridge": 1.0}),
    )
    progress = run(host, editor, EDITS * 4, per_turn=16)
    path = next(iter(host.modules))
    assert progress.state[f"{path}/keys"].shape == (48, 48)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold must be a positive number, got 0.0"),
        ({"kept": 0.0}, "kept must be above 0 and at most 1, got 0.0"),
        ({"projection": "maybe"}, "projection must be on or off, got 'maybe'"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        AlphaEdit(**options)


def test_a_patch_of_a_turn_is_additive():
    host, editor = host_of("alphaedit"), make("alphaedit")
    patch, _ = editor.step(host, Turn(1, tuple(EDITS[:2])), editor.init(host))
    assert isinstance(patch, Additive)
    assert set(patch.changes) == set(host.modules)
