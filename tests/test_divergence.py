"""Perplexity, divergence and the windows of a text, beside their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from ultraedit.metrics import divergence, log_probabilities, perplexity, same_choice, windows


def test_perplexity_of_even_odds_is_their_number():
    assert perplexity(torch.full((5,), math.log(1 / 7))) == pytest.approx(7)


def test_perplexity_is_the_inverse_geometric_mean():
    assert perplexity(torch.log(torch.tensor([0.5, 0.125]))) == pytest.approx(4)


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


@pytest.mark.parametrize(
    ("tokens", "size", "stride"), [(2, 8, 4), (8, 8, 4), (9, 8, 4), (31, 8, 3)]
)
def test_every_token_but_the_first_is_scored_once_with_enough_before_it(tokens, size, stride):
    found = list(windows(tokens, size, stride))
    scored = [i for each in found for i in range(each.scored, each.end)]
    assert scored == list(range(1, tokens))
    for each in found:
        assert each.end - each.begin <= size
        assert each.scored - each.begin >= min(each.scored, size - stride) or each.scored == 1
