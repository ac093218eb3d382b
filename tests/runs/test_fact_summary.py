"""What a run says of its facts beside their scores."""

from __future__ import annotations

from ultraedit.core.types import Answer, Edit
from ultraedit.data.streams import draw, whole
from ultraedit.runs.fact_summary import known_before, remarks, with_rephrases

BARE = [
    Edit("Where was Jane Austen born?", "Lund", id="1"),
    Edit("Wer war das?", "Bo", id="2"),
    Edit("Who wrote Emma?", "Ann", id="3", subject="Emma"),
]


def _answer(id, before, *, kind="efficacy", target="Lund"):
    return Answer(kind, id, "p", target, before, "x", False)


def test_facts_that_the_unedited_model_answers_are_counted_and_named():
    answers = [
        _answer("1", "Lund."),
        _answer("2", "Rome"),
        _answer("1", "Lund", kind="generalization"),
        _answer("3", "lund"),
        _answer("4", "", target=None),
    ]
    assert known_before(answers) == {
        "known before": "the unedited model answers 2 of the 3 facts asked in free generation, "
        "with the ids 1, 3"
    }
    assert known_before(answers[1:3]) == {}


def test_bare_facts_get_rephrasings_that_are_named_and_nothing_else():
    panel = with_rephrases(whole(BARE))
    assert [len(edit.rephrases) for edit in panel.edits] == [2, 0, 2]
    assert [edit.subject for edit in panel.edits] == [None, None, "Emma"]
    assert not any(edit.locality or edit.probes for edit in panel.edits)
    assert remarks(BARE, panel) == {
        "generalization": "on rephrasings made by English patterns, of 2 of 3 edits"
    }


def test_facts_with_rephrasings_are_left_as_they_are():
    edits = [*BARE, Edit("p", "t", rephrases=("r",))]
    panel = whole(edits)
    assert with_rephrases(panel) is panel
    assert remarks(edits, panel) == {}


def test_a_sample_keeps_its_places():
    _, panel = draw(BARE, 2, 0)
    scored = with_rephrases(panel)
    assert (scored.places, scored.newest) == (panel.places, panel.newest)
    assert [edit.id for edit in scored.edits] == [edit.id for edit in panel.edits]
