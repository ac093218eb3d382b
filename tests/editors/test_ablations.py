"""The ablations of the paper's Table 4, each beside its equations written out."""

from __future__ import annotations

import pytest
import torch

from tests.editors.test_contract import EDITS, host_of
from tests.editors.test_ultraedit import SIZES, FakeHost, averaged, step
from ultraedit.core.errors import ConfigError
from ultraedit.core.stats import EPS
from ultraedit.core.types import Turn
from ultraedit.editors import make_editor
from ultraedit.editors.ultraedit import UltraEdit

ETA, RIDGE = 0.3, 2.0


def rows(host):
    return averaged(host.signal, SIZES).double()


def ridge_solution(host, h_hat, g_hat, weights):
    h = host.signal.keys.double()
    v = -ETA * weights * g_hat
    return torch.linalg.solve(h.T @ h + RIDGE * torch.eye(8), h.T @ v)


def of_first_turn(z):
    mu, sigma = z.mean(0), (z.var(0, unbiased=False) + EPS).sqrt()
    return mu, sigma


def test_without_normalisation_the_raw_rows_take_the_place_of_the_normalised():
    hosts = [FakeHost(0), FakeHost(1)]
    z = rows(hosts[1])
    h, g = z[:, :8], z[:, 8:]
    expected = ridge_solution(hosts[1], h, g, h.square().sum(1, keepdim=True))
    found = step(UltraEdit(eta=ETA, ridge=RIDGE, normalise="off"), hosts)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_frozen_statistics_are_those_of_the_first_turn():
    hosts = [FakeHost(0), FakeHost(1), FakeHost(2)]
    mu, sigma = of_first_turn(rows(hosts[0]))
    z_hat = (rows(hosts[2]) - mu) / (sigma + EPS)
    h_hat, g_hat = z_hat[:, :8], z_hat[:, 8:]
    expected = ridge_solution(hosts[2], h_hat, g_hat, h_hat.square().sum(1, keepdim=True))
    found = step(UltraEdit(eta=ETA, ridge=RIDGE, frozen=True), hosts)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, step(UltraEdit(eta=ETA, ridge=RIDGE), hosts))


def test_frozen_changes_nothing_on_the_first_turn():
    first = [FakeHost(0)]
    assert torch.equal(
        step(UltraEdit(eta=ETA), first), step(UltraEdit(eta=ETA, frozen=True), first)
    )


def test_the_inner_product_weighs_by_raw_times_normalised_input():
    host = FakeHost(0)
    mu, sigma = of_first_turn(rows(host))
    z_hat = (rows(host) - mu) / (sigma + EPS)
    h_hat, g_hat = z_hat[:, :8], z_hat[:, 8:]
    weights = (host.signal.keys.double() * h_hat).sum(1, keepdim=True)
    expected = ridge_solution(host, h_hat, g_hat, weights)
    found = step(UltraEdit(eta=ETA, ridge=RIDGE, coefficient="inner"), [host])
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


class ManyModules:
    """A host of which only the names of the modules are asked."""

    def __init__(self, count):
        self.modules = dict.fromkeys((f"layers.{i}" for i in range(count)), None)


@pytest.mark.parametrize(("share", "count"), [(0.25, 2), (0.5, 4), (0.75, 6), (1.0, 8), (0.01, 1)])
def test_a_share_of_the_modules_is_normalised(share, count):
    host = ManyModules(8)
    chosen = UltraEdit(normalise=share, normalise_seed=3).normalized_modules(host)
    assert len(chosen) == len(set(chosen)) == count
    assert set(chosen) <= set(host.modules)


def test_a_smaller_share_is_part_of_a_larger_and_another_seed_draws_others():
    host = ManyModules(8)
    quarter, half = (set(UltraEdit(normalise=s).normalized_modules(host)) for s in (0.25, 0.5))
    assert quarter < half
    others = {
        frozenset(UltraEdit(normalise=0.5, normalise_seed=s).normalized_modules(host))
        for s in range(9)
    }
    assert len(others) > 1


def test_each_module_changes_as_if_all_were_treated_like_it():
    host = host_of("ultraedit")
    turn = Turn(1, tuple(EDITS))
    changes = {}
    for share in (1.0, "off", 0.5):
        editor = UltraEdit(eta=1e-3, normalise=share)
        patch, _ = editor.step(host, turn, editor.init(host))
        changes[share] = {path: change.dense() for path, change in patch.changes.items()}
    chosen = UltraEdit(normalise=0.5).normalized_modules(host)
    assert 0 < len(chosen) < len(host.modules)
    for path, change in changes[0.5].items():
        assert torch.equal(change, changes[1.0 if path in chosen else "off"][path])
        assert not torch.allclose(changes[1.0][path], changes["off"][path])


@pytest.mark.parametrize(("text", "value"), [("off", "off"), ("0.25", 0.25), ("1", 1.0)])
def test_the_share_is_taken_as_text(text, value):
    assert make_editor("ultraedit", {"normalise": text}).normalise == value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalise": 0.0}, r"normalise must be a share above 0 and at most 1, or off, got 0\.0"),
        ({"normalise": 1.5}, r"normalise must be a share above 0 and at most 1, or off, got 1\.5"),
        ({"coefficient": "cosine"}, "coefficient must be norm or inner, got 'cosine'"),
    ],
)
def test_ablations_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        UltraEdit(**options)
