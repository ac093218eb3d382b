"""The two MENDs: a sum of outer products, over all tokens, added or taken away."""

from __future__ import annotations

import pytest
import torch

from tests.editors.test_contract import host_of
from tests.editors.test_malmen import FACTS
from ultraedit.core.errors import ConfigError
from ultraedit.core.nets import Net
from ultraedit.core.stats import RunningMoments
from ultraedit.core.types import LowRank, Turn
from ultraedit.editors.families.fit import Schedule, fit
from ultraedit.editors.families.hypernetwork_training import Learner
from ultraedit.editors.mend import MEND
from ultraedit.editors.mend_original import PROTOCOLS, MENDOriginal

TURN = Turn(1, tuple(FACTS[:4]))


def dense(change):
    return change.dense() if isinstance(change, LowRank) else change


def test_an_untrained_change_is_the_sum_of_normalised_outer_products():
    host = host_of("mend")
    patch, state = MEND(lr=0.3).step(host, TURN, MEND().init(host))
    signals = host.signals(TURN, "all")
    group = next(name for name in state if name.endswith("/seen")).removesuffix("/seen")
    sizes = torch.tensor([1 / int(n) for n in _answer_tokens(signals)], dtype=torch.float64)
    rows = {
        path: torch.cat([s.keys, s.grads * sizes[s.segments].unsqueeze(1).float()], dim=1)
        for path, s in signals.items()
    }
    moments = RunningMoments.zeros(next(iter(rows.values())).shape[1])
    for each in rows.values():
        moments = moments.update(each)
    torch.testing.assert_close(moments.mean, state[f"{group}/mean"])
    for path, each in rows.items():
        normalised = moments.normalize(each).double()
        d_in = signals[path].keys.shape[1]
        products = torch.einsum("ni,no->io", normalised[:, :d_in], normalised[:, d_in:])
        torch.testing.assert_close(
            dense(patch.changes[path]).double(), -0.3 * products, rtol=1e-4, atol=1e-5
        )


def _answer_tokens(signals):
    signal = next(iter(signals.values()))
    return torch.bincount(signal.segments, weights=signal.supervised.double())


def test_a_change_is_kept_in_its_factors_where_these_are_smaller():
    editor, generator = MEND(), torch.Generator().manual_seed(0)
    for rows, kept in ((3, True), (50, False)):
        keys = torch.randn(rows, 48, generator=generator)
        pseudo = torch.randn(rows, 48 + 32, generator=generator)
        change = editor.change("m", keys, pseudo, 1.0)
        assert isinstance(change, LowRank) == kept
        torch.testing.assert_close(dense(change), -pseudo[:, :48].T @ pseudo[:, 48:])


def test_the_official_original_adds_what_the_papers_takes_away():
    host = host_of("mend-original")
    signs = {"paper": "subtract", "official": "add"}
    changes = {}
    for protocol, sign in signs.items():
        editor = MENDOriginal(protocol=protocol, lr=0.01)
        assert editor.sign == sign == PROTOCOLS[protocol]["sign"]
        changes[protocol], _ = editor.step(host, TURN, editor.init(host))
    for path in host.modules:
        paper, official = (dense(changes[p].changes[path]) for p in signs)
        torch.testing.assert_close(paper, -official)
        assert paper.abs().max() > 0
    assert MENDOriginal(protocol="official").lr == 1e-4


def test_the_originals_statistics_end_with_the_turn_that_sets_the_step():
    host = host_of("mend-original")
    editor = MENDOriginal()
    _, first = editor.step(host, TURN, editor.init(host))
    _, second = editor.step(host, Turn(2, tuple(FACTS[4:8])), first)
    assert first.keys() == second.keys()
    assert all(torch.equal(second[name], tensor) for name, tensor in first.items())
    _, third = MEND(lr=0.1).step(host, Turn(2, tuple(FACTS[4:8])), first)
    assert any(not torch.equal(third[name], tensor) for name, tensor in first.items())


def test_the_original_normalises_its_first_turn_with_n_minus_1():
    host = host_of("mend-original")
    editor = MENDOriginal(lr=0.3, statistics="module")
    patch, _ = editor.step(host, TURN, editor.init(host))
    for path, signal in editor.trace(host, TURN).items():
        tokens = torch.bincount(signal.segments, weights=signal.supervised.double())
        grads = signal.grads / tokens[signal.segments].unsqueeze(1)
        rows = torch.cat([signal.keys.double(), grads], dim=1)
        normalised = (rows - rows.mean(dim=0)) / rows.std(dim=0)  # torch divides by n - 1
        d_in = signal.keys.shape[1]
        wanted = -0.3 * normalised[:, :d_in].T @ normalised[:, d_in:]
        # With n in its place the outcome is n / (n - 1) times as large: 1.2 % for these rows.
        torch.testing.assert_close(
            dense(patch.changes[path]).double(), wanted, rtol=2e-3, atol=2e-3
        )


def test_the_originals_net_clamps_after_scale_and_shift():
    host = host_of("mend-original")
    path = next(iter(host.modules))
    editor = MENDOriginal(lr=0.1, rank=4, blocks=1)
    learner = Learner(editor, host, 0)
    learner.parameters[f"modules/{path}/0/shift"].fill_(-1.0)
    rows = torch.ones(2, sum(host.modules[path]))
    keys = rows[:, : host.modules[path].d_in]
    assert torch.equal(learner.editor.pseudo(path, keys, rows), rows)  # clamped to no change
    other = MEND(lr=0.1, rank=4, blocks=1).with_net(Net(learner.parameters, {}))
    assert torch.equal(other.pseudo(path, keys, rows), rows - 1)


def test_the_original_learns_from_one_edit_at_a_time_and_steps_for_every_ten():
    host = host_of("mend-original")
    editor = MENDOriginal(lr=1e-3, rank=4, blocks=1)
    learner = Learner(editor, host, 0)
    schedule = editor.schedule(Schedule(edits_per_turn=100))
    assert schedule.edits_per_turn == 1
    fresh = {name: tensor.clone() for name, tensor in learner.parameters.items()}
    fitted = fit(learner, FACTS[:11], schedule)
    assert fitted.turns == 11
    assert learner.steps_taken() == 2  # ten edits, then what is left at the end
    for name, tensor in learner.parameters.items():
        step = 1e-4 if name.endswith("/lr") else 1e-6
        assert float((tensor - fresh[name]).abs().max()) <= 2 * step * 1.05, name


def test_rows_that_say_nothing_are_left_out():
    host = host_of("mend-original")
    signals = host.signals(TURN, "all")
    path = list(host.modules)[-1]
    kept = MENDOriginal().trace(host, TURN)[path]
    silent = (signals[path].grads == 0).all(dim=1)
    assert len(kept.keys) == int((~silent).sum()) <= len(signals[path].keys)
    assert (kept.grads != 0).any(dim=1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"lr_lr": 0.0}, r"lr_lr must be a positive number, got 0\.0"),
        ({"edit_weight": -1.0}, r"edit_weight must be a positive number, got -1\.0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MENDOriginal(**options)
