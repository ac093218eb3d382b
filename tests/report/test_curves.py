"""The report of a run that was scored on its way: its table and its curves over the edits made."""

from __future__ import annotations

from io import BytesIO

from matplotlib.image import imread

from tests.report.runs import part
from ultraedit.report.plots import draw_curves, whom
from ultraedit.report.reading import History, Point, _note
from ultraedit.report.run_page import curves


def checkpoint(turn, edits, made, efficacy, newest=None):
    scores = {"efficacy": efficacy, "specificity": 0.25}
    return {
        "kind": "checkpoint",
        "turn": turn,
        "edits": edits,
        "made": made,
        "seconds": 1.0,
        "scores": scores,
        "newest": newest and {"edits": newest[0], "scores": {"efficacy": newest[1]}},
    }


def turn(number, edits, total):
    return {
        "kind": "turn",
        "turn": number,
        "edits": edits,
        "total_edits": total,
        "seconds": 1.0,
        "memory_bytes": 1,
        "norms": {},
    }


def history(*rows):
    found = History()
    for row in rows:
        _note(row, found)
    return found


def inked(drawing):
    return int((imread(BytesIO(drawing.png))[..., :3].min(axis=-1) < 0.5).sum())


def test_points_stand_at_the_edits_of_the_run_and_know_those_of_their_job():
    found = history(
        checkpoint(0, 2, 0, 0.1),
        turn(1, 10, 10),
        checkpoint(1, 1, 10, 0.5, (4, 0.75)),
        checkpoint(1, 3, 0, 0.2) | {"turn": 0},
        turn(2, 5, 15),
        checkpoint(2, 2, 5, 0.4),
    )
    assert [(p.edits, p.made, p.scored, p.newest_edits) for p in found.points] == [
        (10, 10, 1, 4),
        (15, 5, 2, 0),
    ]
    assert found.points[0].newest == {"efficacy": 0.75}
    assert found.points[1].newest is None


def test_evaluations_of_older_programs_and_of_reverts_have_no_point():
    old = checkpoint(1, 10, None, 0.5)
    older = {key: value for key, value in old.items() if key not in ("made", "newest")}
    assert history(turn(1, 10, 10), old, older).points == []


def points(newest, scored=(2, 4)):
    return [
        Point(10 * (n + 1), 10 * (n + 1), scored[n], {"efficacy": 0.5 - n / 4}, 4, newest and {})
        for n in range(2)
    ]


def test_the_page_has_a_row_a_checkpoint_and_none_for_a_single_one():
    title, rows, image = part("curves", **curves(points(None))).strip().split("\n\n")
    assert title == "## Over the run"
    assert [row.split(" ")[1] for row in rows.splitlines()[2:]] == ["10", "20"]
    assert "50.0%" in rows
    assert "25.0%" in rows
    assert "newest" not in rows
    assert image.endswith("](curves.png)")
    assert part("curves", **curves(points(None)[:1])).strip() == ""


def test_the_newest_edits_have_a_panel_of_their_own():
    told = [point._replace(newest={"efficacy": 0.9}) for point in points({})]
    rows = part("curves", **curves(told))
    assert "newest efficacy" in rows
    assert "90.0%" in rows
    silent = [point._replace(newest={"efficacy": None}) for point in told]
    assert inked(draw_curves(told)) > inked(draw_curves(silent)) > 0
    assert draw_curves(told) == draw_curves(told)


def test_the_title_says_whose_scores_they_are():
    assert whom(points(None)) == "A sample of 4 edits"
    assert whom(points(None, (10, 20))) == "All edits so far"


def test_the_powers_of_ten_of_a_collapsed_model_are_labelled_with_numbers():
    points = [checkpoint(n, n, n, 0.5) for n in (1, 2, 3)]
    for point, perplexity in zip(points, (20.0, 3e4, 1e9), strict=True):
        point["scores"]["perplexity"] = perplexity
    rows = [row for n, point in enumerate(points, 1) for row in (turn(n, 1, n), point)]
    drawing = draw_curves(history(*rows).points)
    assert ">100</text>" in drawing.svg
    assert ">1e+08</text>" in drawing.svg
    assert "math" not in drawing.svg
