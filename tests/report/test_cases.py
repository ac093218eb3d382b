"""The edits that went best and worst are those that did, and chance is the same every time."""

from __future__ import annotations

from tests.report.runs import answer, write_run
from ultraedit.report.examples import choose_cases


def names(cases):
    return [case.answer.edit_id for case in cases]


def edit(number, *rights, **more):
    """Answers to an edit's own question, a rephrase and an unrelated question."""
    kinds = ("efficacy", "generalization", "specificity")
    return [
        answer(number, kind=kind, right=right, **more)
        for kind, right in zip(kinds, rights, strict=True)
    ]


def test_best_and_worst_are_ordered_by_their_own_question_and_then_by_all(tmp_path):
    answers = [
        *edit(1, False, True, True),
        *edit(2, True, True, False),
        *edit(3, True, True, True, before="new"),
        *edit(4, False, False, False),
        *edit(5, True, True, True),
        *edit(6, True, False, False),
    ]
    cases = choose_cases(write_run(tmp_path / "run", answers=answers), 2)
    assert names(cases.best) == ["e5", "e3"]
    assert names(cases.worst) == ["e4", "e1"]
    assert [(case.right, case.asked) for case in (*cases.best, *cases.worst)] == [
        (3, 3),
        (3, 3),
        (0, 3),
        (2, 3),
    ]
    assert cases.worst[0].answer.prompt == "efficacy question 4"


def test_no_edit_is_among_the_best_and_the_worst(tmp_path):
    answers = [row for number in range(5) for row in edit(number, True, True, True)]
    cases = choose_cases(write_run(tmp_path / "run", answers=answers), 10)
    assert len(cases.best) == 3
    assert len(cases.worst) == 2
    assert not set(names(cases.best)) & set(names(cases.worst))
    assert sorted(names(cases.drawn)) == ["e0", "e1", "e2", "e3", "e4"]


def test_the_lot_is_the_same_every_time_and_no_order_of_the_file(tmp_path):
    rows = [answer(number) for number in range(100)]
    one = choose_cases(write_run(tmp_path / "one", answers=rows), 10)
    two = choose_cases(write_run(tmp_path / "two", answers=rows[::-1]), 10)
    assert one == two
    drawn = [int(name[1:]) for name in names(one.drawn)]
    assert drawn != sorted(drawn)
    assert max(drawn) > 20


def test_questions_without_an_edit_of_their_own_are_no_cases(tmp_path):
    rows = [answer(number, kind="specificity") for number in range(3)]
    assert choose_cases(write_run(tmp_path / "run", answers=rows), 10) == ([], [], [])
