"""How edits hold over turns, against counts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.tiny import tiny_model
from ultraedit.core.types import Edit, Question
from ultraedit.evaluation.metrics import Aged, Scored, forgetting_curve, mean, retention, turn_means
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.loop import MemoryRecorder
from ultraedit.lifelong.session import edit
from ultraedit.report.plots import draw_retention, shared_rows

EVALUATIONS = [
    Scored(0, 1, (0.0, 0.1, 0.2)),
    Scored(1, 1, (0.9,)),
    Scored(2, 1, (0.7, 1.0)),
    Scored(3, 1, (0.5, 0.6, None)),
]


def test_scores_are_averaged_over_each_turn_the_last_of_which_may_be_short():
    assert turn_means((1.0, 0.0, None, 0.5, 0.25), range(5), 2) == (0.5, 0.5, 0.25)
    assert turn_means((None, None, 1.0), range(3), 2) == (None, 1.0)
    assert turn_means((), range(0), 2) == ()


def test_a_turn_without_a_sampled_edit_has_no_score():
    assert turn_means((1.0, 0.5, 0.25), (0, 4, 5), 2) == (1.0, None, 0.375)


def test_rows_are_turns_of_edits_and_columns_turns_of_evaluations():
    matrix = retention(EVALUATIONS)
    assert matrix.edited == (1, 2, 3)
    assert matrix.evaluated == (0, 1, 2, 3)
    assert matrix.scores == ((0.0, 0.9, 0.7, 0.5), (0.1, None, 1.0, 0.6), (0.2, None, None, None))


def test_a_list_that_begins_later_keeps_its_turns_and_a_repeat_replaces():
    matrix = retention([Scored(5, 4, (0.1, 0.2)), Scored(5, 4, (0.3, 0.4))])
    assert (matrix.edited, matrix.evaluated) == ((4, 5), (5,))
    assert matrix.scores == ((0.3,), (0.4,))


def test_the_curve_averages_over_age_and_leaves_out_what_was_not_edited_yet():
    curve = forgetting_curve(retention(EVALUATIONS))
    assert curve == [
        Aged(0, pytest.approx((0.9 + 1.0) / 2), 2),
        Aged(1, pytest.approx((0.7 + 0.6) / 2), 2),
        Aged(2, 0.5, 1),
    ]


def test_many_turns_share_rows_of_the_heat_map():
    matrix = retention([Scored(5, 1, (0.0, 1.0, 0.5, None, None))])
    rows = shared_rows(matrix, most=3)
    assert rows[:2] == [[0.5], [0.5]]
    assert math.isnan(rows[2][0])
    assert len(shared_rows(retention([Scored(900, 1, (1.0,) * 900)]))) == 180


def test_the_plot_shows_what_was_scored_and_leaves_the_rest_white():
    from io import BytesIO

    from matplotlib.image import imread

    few = retention([Scored(n, 1, (1.0,) * n) for n in (1, 2, 3, 4)])
    all_of_them = retention([Scored(n, 1, (1.0,) * 4) for n in (1, 2, 3, 4)])
    inked = [
        np.mean(imread(BytesIO(draw_retention(matrix).png))[..., :3].min(axis=-1) < 0.5)
        for matrix in (few, all_of_them)
    ]
    assert 0 < inked[0] < inked[1]


def facts(count):
    return [
        Edit(
            f"What is the native language of {'Ada ' * (n % 3)}number {n}?",
            ("French", "Dutch", "English of old")[n % 3],
            rephrases=(f"Number {n} speaks", f"The tongue of {n} is") if n != 3 else (),
            locality=(Question("Who wrote it?", "Jane Austen"),),
        )
        for n in range(count)
    ]


def test_the_scores_of_single_edits_average_to_the_scores_of_all():
    host = ModelHost(tiny_model("llama"), ["layers.[0-1].mlp.down_proj"])
    edits = facts(7)
    found = evaluate(host, edits, free_answers=0)
    assert set(found.by_edit) == {"efficacy", "generalization", "specificity"}
    assert all(len(scores) == 7 for scores in found.by_edit.values())
    assert mean(found.by_edit["efficacy"]) == pytest.approx(found.scores.efficacy)
    assert found.by_edit["generalization"][3] is None
    alone = evaluate(host, edits[5:6], free_answers=0)
    for name, scores in found.by_edit.items():
        assert scores[5] == getattr(alone.scores, name)


def test_a_run_records_its_scores_by_turn():
    kept = MemoryRecorder()
    edit(
        tiny_model("llama", layers=3),
        facts(7),
        edits_per_turn=3,
        evaluate_every=1,
        free_answers=0,
        recorder=kept,
    )
    sizes = [(c.turn, len(c.by_turn.get("efficacy", ())), c.first_turn) for c in kept.checkpoints]
    assert sizes == [(0, 3, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1)]
    last = kept.checkpoints[-1]
    means = last.by_turn["efficacy"]
    assert (3 * means[0] + 3 * means[1] + means[2]) / 7 == pytest.approx(last.scores.efficacy)
