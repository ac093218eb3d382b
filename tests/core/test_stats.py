"""Running moments against numpy, and against the recurrence of the released code."""

import numpy as np
import pytest
import torch

from ultraedit.core.stats import EPS, RunningMoments, pack, unpack


def rows(n, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1e-3, 1.0, 30.0, 1.0, 1e-6], dtype=torch.float64)
    return torch.randn(n, d, dtype=torch.float64, generator=generator) * scale + 2 * scale


def fold(parts, variance="pooled"):
    moments = RunningMoments.zeros(5)
    for part in parts:
        moments = moments.update(part, variance)
    return moments


@pytest.mark.parametrize("split", [(30, 10), (1, 39), (13, 1, 26), (1,) * 40, (0, 20, 20)])
def test_moments_do_not_depend_on_the_split(split):
    data = rows(40)
    moments = fold(torch.split(data, split))
    np.testing.assert_allclose(moments.mean, data.numpy().mean(0), rtol=1e-12)
    # The paper's denominator is N - 1 + eps.
    expected = data.numpy().std(0, ddof=1) * np.sqrt(39 / (39 + EPS))
    np.testing.assert_allclose(moments.std(), expected, rtol=1e-12)


def test_the_first_turn_alone_uses_the_population_variance_plus_epsilon():
    data = rows(20)
    expected = np.sqrt(data.numpy().var(0) + EPS)
    np.testing.assert_allclose(fold([data]).std(), expected, rtol=1e-12)


@pytest.mark.parametrize("variance", ["pooled", "released"])
def test_one_row_keeps_everything_finite(variance):
    moments = fold([rows(1)], variance)
    assert torch.isfinite(moments.normalize(rows(1), variance)).all()
    moments = moments.update(rows(10, seed=1), variance).update(rows(1, seed=2), variance)
    assert torch.isfinite(moments.normalize(rows(3), variance)).all()


def test_the_released_variance_follows_its_recurrence():
    parts = [rows(4, seed=0), rows(2, seed=1), rows(9, seed=2)]
    count, mean, scatter = 0, torch.zeros(5, dtype=torch.float64), torch.zeros(5)
    for part in parts:
        m = len(part)
        delta = part.mean(0) - mean
        total = count + m
        mean = mean + m * delta / total
        scatter = scatter + m * part.var(0, unbiased=True) + count * m / total * delta**2
        count = total
    expected = (scatter / (count - 1 + EPS)).sqrt()
    moments = fold(parts, "released")
    torch.testing.assert_close(moments.std("released"), expected)
    assert (moments.std("released") > fold(parts).std()).all()


def test_normalized_rows_have_mean_zero_and_variance_one():
    data = rows(50)[:, :4]  # the last coordinate is near epsilon, which is added to its deviation
    moments = RunningMoments.zeros(4)
    for part in torch.split(data, 10):
        moments = moments.update(part)
    normalized = moments.normalize(data)
    np.testing.assert_allclose(normalized.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(normalized.std(0), 1, rtol=1e-3)


def test_an_update_leaves_the_earlier_value_alone():
    before = fold([rows(5)])
    copy = RunningMoments(*(tensor.clone() for tensor in before))
    before.update(rows(5, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(before, copy, strict=True))


def test_packed_moments_come_back_the_same():
    moments = {"model.layers.0/odd": fold([rows(5)]), "8x3": fold([rows(7)])}
    back = unpack(pack(moments) | {"eta/8x3": torch.tensor(1.0)})
    assert back.keys() == moments.keys()
    for name, value in moments.items():
        assert all(torch.equal(a, b) for a, b in zip(back[name], value, strict=True))
