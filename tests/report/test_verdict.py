"""The verdict of a run, from records written by hand."""

from __future__ import annotations

import pytest

from ultraedit.core.types import Answer, Changed, ControlScores, GenerationScores, Scores, to_json
from ultraedit.report import judge
from ultraedit.report.verdict import ENOUGH


def answers(kind, right, asked):
    return [
        Answer(kind, str(n), f"{kind} {n}?", "new", "old", "new" if n < right else "odd", n < right)
        for n in range(asked)
    ]


def unrelated(kept, asked):
    said = ["as before. And more" if n < kept else "otherwise" for n in range(asked)]
    return [
        Answer("specificity", str(n), f"unrelated {n}?", None, "as before", text, False)
        for n, text in enumerate(said)
    ]


def summary(*, controls=None, perplexity=(None, None), **forced):
    after = Scores(**forced, perplexity=perplexity[1])
    before = Scores(perplexity=perplexity[0])
    asked = {"before": None, "after": None if controls is None else to_json(controls)}
    return {"before": to_json(before), "after": to_json(after), "controls": asked}


WORST = Changed("What is a haiku?", "A haiku is a short poem", 'Velmora Velmora "Velmora"')


def test_a_good_run_is_ready_and_every_part_is_said():
    said = [
        *answers("efficacy", 24, 25),
        *answers("generalization", 19, 25),
        *answers("chat efficacy", 20, 25),
        *answers("chat generalization", 15, 25),
        *unrelated(20, 25),
    ]
    controls = ControlScores(questions=100, agreement=0.97, generation=0.94, worst=WORST)
    found = judge(summary(controls=controls, efficacy=0.99, agreement=0.9), said)
    assert found.text == (
        '24 of 25 facts are answered (1 is not: "efficacy 24?"). In other words: 19 of 25 '
        "questions. In chat: 20 of 25, and in other words 15 of 25. Other answers changed: 6 of "
        '100 control questions (the worst: "What is a haiku?" was "A haiku is a short poem" '
        "and is now \"Velmora Velmora 'Velmora'\"), and 5 of 25 unrelated questions of the facts' "
        "own. Ready to ship."
    )
    assert found.ready is True and found.because == ()
    assert found.forced == (
        "Teacher-forced: efficacy 99.0%, agreement 90.0%, agreement on 100 control questions 97.0%."
    )
    assert found.to_json()["counts"]["in other words"] == {"right": 19, "asked": 25}


def test_a_bad_run_is_not_yet_ready_and_says_all_that_is_short():
    said = [*answers("efficacy", 7, 40), *answers("generalization", 0, 80)]
    controls = ControlScores(questions=100, agreement=0.5, generation=0.2, worst=WORST)
    found = judge(summary(controls=controls, perplexity=(20.0, 30.0)), said)
    assert found.ready is False
    assert found.text.startswith(
        '7 of 40 facts are answered (33 are not: "efficacy 7?"; "efficacy 8?"; "efficacy 9?"; ...).'
    )
    assert found.text.endswith(
        "Not ready to ship, because 17.5% of the facts are answered (90% wanted); 0.0% of the "
        "questions in other words are answered (50% wanted); 20.0% of the answers to control "
        "questions are what they were (80% wanted); and the text has 1.50 times its former "
        "perplexity (at most 1.1 wanted)."
    )


@pytest.mark.parametrize("name", ["facts", "in other words", "in chat", "in chat, in other words"])
def test_each_share_decides_just_where_the_table_says(name):
    kinds = {
        "facts": "efficacy",
        "in other words": "generalization",
        "in chat": "chat efficacy",
        "in chat, in other words": "chat generalization",
    }
    least = round(ENOUGH[name].share * 100)
    for right, ready in ((least, True), (least - 1, False)):
        said = [
            each
            for other, kind in kinds.items()
            for each in answers(kind, right if other == name else 100, 100)
        ]
        found = judge(summary(), said)
        assert found.ready is ready
        assert [ENOUGH[name].needs in reason for reason in found.because] == [True] * (not ready)


@pytest.mark.parametrize(
    ("share", "ready"), [(ENOUGH["control questions"].share, True), (0.79, False)]
)
def test_control_questions_decide(share, ready):
    controls = ControlScores(questions=100, agreement=1.0, generation=share)
    assert judge(summary(controls=controls), answers("efficacy", 1, 1)).ready is ready


@pytest.mark.parametrize(("kept", "ready"), [(7, True), (6, False)])
def test_unrelated_questions_of_the_file_decide_and_shared_ones_count_once(kept, ready):
    said = [*answers("efficacy", 1, 1), *unrelated(kept, 10), *unrelated(kept, 10)]
    found = judge(summary(), said)
    assert found.counts["unrelated questions"] == (kept, 10)
    assert found.ready is ready


def test_what_was_not_asked_is_not_mentioned_and_asks_for_nothing():
    found = judge(summary(), answers("efficacy", 1, 1))
    assert found.text == "1 of 1 fact is answered. Ready to ship."
    nothing = judge(summary(efficacy=1.0), [])
    assert nothing.ready is None and "Free generation was not evaluated" in nothing.text
    assert nothing.forced == "Teacher-forced: efficacy 100.0%."
    controls = ControlScores(questions=100, agreement=0.9)
    assert judge(summary(controls=controls), answers("efficacy", 1, 1)).counts.keys() == {"facts"}


def test_records_of_an_older_program_are_judged_too():
    older = {
        "before": {"efficacy": 0.1},
        "after": {"efficacy": 0.9, "generation": to_json(GenerationScores(efficacy=0.5))},
    }
    found = judge(older, answers("efficacy", 1, 2))
    assert found.ready is False and found.counts["facts"] == (1, 2)


def test_long_texts_and_line_breaks_are_cut():
    said = [Answer("efficacy", "1", "Why\n\tnot " + "x" * 99, "new", "", "", False)]
    assert '"Why not ' in judge(summary(), said).text
    assert len(judge(summary(), said).text) < 250
