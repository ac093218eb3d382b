"""In-context: facts are remembered, the newest of a prompt holds, and no weight changes."""

from __future__ import annotations

import pytest
import torch

from tests.editors.test_contract import EDITS, host_of, parameters, run
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Edit, Turn
from ultraedit.editors import make_editor, name_of
from ultraedit.editors.in_context import InContext
from ultraedit.evaluation.outcome import Reference
from ultraedit.evaluation.scoring import evaluate


def test_no_weight_changes_and_the_view_has_every_fact():
    host, editor = host_of("in-context"), InContext(k=2, threshold=0.7)
    before = parameters(host)
    state = run(host, editor, per_turn=5).state
    assert all(torch.equal(p, before[n]) for n, p in parameters(host).items())
    view = editor.view(host, state)
    assert view.facts == tuple((edit.prompt, edit.target) for edit in EDITS)
    assert (view.k, view.threshold) == (2, 0.7)
    assert editor.remarks(host, state)["facts"] == "16 to choose from, 0 replaced by newer ones"


def test_turns_however_cut_leave_the_same_state():
    host, editor = host_of("in-context"), InContext()
    one, many = (run(host, editor, per_turn=n).state["facts"] for n in (16, 3))
    assert torch.equal(one, many)


def test_an_overruled_fact_is_replaced_by_the_newest_and_counts_as_new():
    host, editor = host_of("in-context"), InContext()
    edits = [Edit("Who leads Velmora?", "Ada"), Edit("Who leads Tarn?", "Bo")]
    state = run(host, editor, [*edits, Edit("Who leads Velmora?", "Cy")], per_turn=1).state
    assert editor.view(host, state).facts == (
        ("Who leads Tarn?", "Bo"),
        ("Who leads Velmora?", "Cy"),
    )
    assert editor.remarks(host, state)["facts"] == "2 to choose from, 1 replaced by newer ones"
    again = editor.step(host, Turn(9, (edits[0],)), state)[1]
    assert dict(editor.view(host, again).facts)["Who leads Velmora?"] == "Ada"


def test_subjects_come_along_and_a_state_of_before_has_none():
    host, editor = host_of("in-context"), InContext(embedder="some/encoder")
    facts = [Edit("Who leads Velmora?", "Ada", "Velmora"), Edit("Who leads Tarn?", "Bo")]
    state = run(host, editor, facts).state
    assert editor.view(host, state).subjects == ("Velmora", None)
    assert editor.view(host, state).embedder == "some/encoder"
    older = {"facts": torch.tensor(list(b'["Who leads Velmora?", "Ada"]\n'), dtype=torch.uint8)}
    view = InContext().view(host, older)
    assert (view.facts, view.subjects) == ((("Who leads Velmora?", "Ada"),), ())
    assert view.embedder is None


def test_texts_of_any_kind_come_back_as_they_were():
    host, editor = host_of("in-context"), InContext()
    odd = [("line\nbreak \u2028 \x85?", '"quoted" \\ back'), ("Wer führt 东京?", "🙂\ttab")]
    state = run(host, editor, [Edit(*pair) for pair in odd]).state
    assert editor.view(host, state).facts == tuple(odd)


def test_an_evaluation_sees_the_facts_only_inside_the_view():
    host, editor = host_of("in-context"), InContext()
    base = evaluate(host, EDITS[:4])
    state = run(host, editor, EDITS[:4]).state
    assert evaluate(host, EDITS[:4]).scores == base.scores
    with host.viewed(editor, state):
        found = evaluate(host, EDITS[:4], reference=Reference())
    assert [a.after for a in found.answers] != [a.after for a in base.answers]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"threshold": 0}, r"threshold must be above 0 and at most 1, got 0\.0"),
        ({"threshold": "1.5"}, r"threshold must be above 0 and at most 1, got 1\.5"),
        ({"k": "many"}, "k must be a whole number, got 'many'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_editor("in-context", options)


def test_it_has_a_name_and_nobody_wraps_it():
    assert name_of(InContext()) == "in-context"
    with pytest.raises(ConfigError, match="base must be an editor that itself changes weights"):
        make_editor("simie", {"base": "in-context"})
