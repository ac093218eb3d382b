"""What the template writer takes for a name, and what a wording asks for."""

from __future__ import annotations

import pytest

from ultraedit.core.types import Edit
from ultraedit.data.enrichment.template import TemplateWriter


def wording(prompt, target="x"):
    (made,) = TemplateWriter().write([Edit(prompt, target)])
    return made


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("What kind of work does Andrew W.K. do?", "Andrew W.K."),
        ("Where is the headquarter of TAPE Inc.?", "TAPE Inc."),
        ("Which language was The Portrait of Mr. W. H. written in?", "The Portrait of Mr. W. H."),
        ("Who is the author of At Heaven's Gate?", "At Heaven's Gate"),
        ("Who is the author of What Is to Be Done?", "What Is to Be Done"),
    ],
)
def test_a_name_ends_in_an_abbreviation_or_begins_as_a_question_does(prompt, subject):
    made = wording(prompt)
    assert made.subject == subject
    assert len(made.rephrases) >= 3
    assert all(subject in rephrase for rephrase in made.rephrases)


def test_a_sentence_before_the_prompt_is_no_name():
    assert wording("Where it rained is located in").reason is not None
    assert wording("That it rained. is located in").reason is not None


def test_a_wording_is_not_wider_than_the_prompt():
    """ "Is located in" would let a town through, where a country is asked for."""
    made = wording("Which country is Morodvis located in?", "North Macedonia")
    assert "Which country is Morodvis in?" in made.rephrases
    assert not any(rephrase.endswith("located in") for rephrase in made.rephrases)
    wide = wording("Where is Tänassilma located?", "Viljandi")
    assert "Tänassilma is located in" in wide.rephrases
    assert not any("administrative" in text for text in wording("Sarn is located in").rephrases)
