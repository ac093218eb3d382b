"""Intervals of scores over facts."""

from __future__ import annotations

import numpy as np
import pytest

from ultraedit.evaluation.metrics.intervals import bootstrap, intervals


def test_an_interval_is_that_of_the_binomial_where_facts_have_one_answer_each():
    hits = [(float(n % 10 < 3), 1.0) for n in range(400)]
    low, high = bootstrap(hits)
    error = 1.96 * (0.3 * 0.7 / 400) ** 0.5
    assert low == pytest.approx(0.3 - error, abs=0.01)
    assert high == pytest.approx(0.3 + error, abs=0.01)


def test_questions_of_one_fact_are_drawn_together():
    apart = [(float(n % 2), 1.0) for n in range(100)]
    together = [(float(n % 2) * 10, 10.0) for n in range(10)]
    assert np.diff(bootstrap(together))[0] > 2 * np.diff(bootstrap(apart))[0]


def test_facts_without_the_question_do_not_count():
    assert bootstrap([(1.0, 1.0), (0.0, 0.0)]) is None
    counted = {"efficacy": [(1.0, 2.0), (2.0, 2.0)], "nothing": []}
    found = intervals(counted)
    assert found.keys() == {"efficacy"}
    assert found["efficacy"] == (0.5, 1.0)


def test_the_same_values_give_the_same_interval():
    values = [(float(n % 3), 2.0) for n in range(50)]
    assert bootstrap(values) == bootstrap(values)
