"""Other wordings that facts are written in: made anew alike, and never one that scores."""

from __future__ import annotations

from ultraedit.core.types import Edit
from ultraedit.data.enrichment.wordings import MOST_OF_A_KIND, other_wordings

FACT = Edit("Who directed the film Citizen Kane?", "Jane")


def wordings(*edits: Edit) -> list[tuple[str, ...]]:
    return list(other_wordings(edits))


def test_patterns_shortened_prompts_and_prompts_behind_a_sentence_take_turns():
    (made,) = wordings(Edit("Who directed Citizen Kane?", "Jane"))
    assert made[0] == "Who is the director of Citizen Kane?"
    assert set(made[1].split()) < {"Who", "directed", "Citizen", "Kane?"}
    assert made[2].endswith(". Who directed Citizen Kane?")
    assert 2 < len(made) <= 3 * MOST_OF_A_KIND


def test_a_shortened_prompt_keeps_names_and_a_word_that_tells_what_is_asked():
    (made,) = wordings(FACT)
    assert made
    for text in made:
        assert "Citizen Kane" in text
        assert {"directed", "film", "director", "filmmaker"} & set(text.lower().split())


def test_a_name_at_the_beginning_stays_whole():
    (made,) = wordings(Edit("Finn Abel Street lies in the north of", "Jane"))
    short = [text for text in made if not text.endswith("Finn Abel Street lies in the north of")]
    assert len(short) == MOST_OF_A_KIND
    assert all(text.startswith("Finn Abel Street ") for text in short)


def test_wordings_depend_on_the_fact_alone():
    other = Edit("The capital of France is", "Paris")
    assert wordings(FACT, other) == [*wordings(FACT), *wordings(other)]


def test_no_wording_is_one_that_scores_the_fact_or_is_its_prompt():
    plain = Edit("Who directed Citizen Kane?", "Jane")
    (made,) = wordings(plain)
    scored = Edit(plain.prompt, plain.target, rephrases=(made[0].upper(), made[1]), also=made[2:3])
    (left,) = wordings(scored)
    assert left
    assert not {text.casefold() for text in left} & {
        text.casefold() for text in (plain.prompt, *made[:3])
    }


def test_a_prompt_without_names_is_not_shortened():
    made = wordings(Edit("谁写了这本书?", "Jane"), Edit("who wrote it", "Jane"))
    assert [len(each) for each in made] == [MOST_OF_A_KIND] * 2
    assert all(text.endswith(" who wrote it") for text in made[1])
