"""Divergence and agreement of two models' choices, beside their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from ultraedit.evaluation.metrics.divergence import divergence, log_probabilities, same_choice


def test_divergence_is_zero_from_itself_and_follows_its_definition():
    p, q = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.5, 0.25]])
    assert divergence(p.log(), p.log()) == 0
    expected = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    assert divergence(p.log(), q.log()) == pytest.approx(expected, rel=1e-6)
    assert divergence(torch.cat([p, p]).log(), torch.cat([p, q]).log()) == pytest.approx(
        expected / 2, rel=1e-6
    )


def test_the_same_choice_is_a_share_of_rows():
    one, other = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert same_choice(one, other) == 0.5


def test_log_probabilities_sum_to_one():
    found = log_probabilities(torch.randn(3, 9, dtype=torch.bfloat16))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3))
