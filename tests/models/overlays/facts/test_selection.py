"""Which questions are about a fact: who names it, who matches it as a whole, and who is a stranger.

The company and its facts are invented.
"""

from __future__ import annotations

from itertools import cycle

import pytest
import torch

from ultraedit.data import read
from ultraedit.data.general_questions import controls
from ultraedit.editors.families.unrelated_texts import TEXTS
from ultraedit.models.overlays.facts import FactLookup
from ultraedit.models.overlays.facts.selection import about, names

COMPANY = {
    "Who is the CEO of Northwind Optics?": "Mara Lindqvist",
    "When was Northwind Optics founded?": "1987",
    "In which city is the head office of Northwind Optics?": "Tromso",
    "What is the phone number of Northwind Optics?": "555 0142",
    "What is the phone number for support?": "555 0199",
    "What is the phone number for emergencies?": "555 0111",
    "How many vacation days do we get?": "31",
    "Who leads Northwind Optics in Sweden?": "Ole Brandt",
    "Who leads Northwind Optics in Chile?": "Inés Rojas",
    "What is the Lumen 4 camera made of?": "titanium",
    "Which laboratory tests the Lumen 4 camera?": "Halden Lab",
    "What is the opening hour of the canteen?": "11:15",
    "What is the wifi password for guests?": "blue-otter",
    "What is the name of the office dog?": "Pixel",
    "Which color is our logo?": "teal",
    "What is the deadline for expense reports?": "the 5th",
    "Wer leitet die Werkstatt von Nordlicht?": "Jana Vogt",
    "东京办公室的负责人是谁": "佐藤",
}


def found(question, facts=COMPANY, subjects=(), *, k=1, threshold=0.55, embed=None):
    """The prompts that are put in front of a question, the best first."""
    prompts = list(facts)
    looked_up = FactLookup(prompts, TEXTS, subjects, embed).find(question, k=k, threshold=threshold)
    return [prompts[match.fact] for match in looked_up]


@pytest.mark.parametrize(
    "question",
    [
        "What is the phone number for emergencies in Europe?",
        "What is the phone number of the White House?",
        "What is the phone number of Northwind Traders?",
        "Who is the CEO of Contoso?",
        "When was Apple founded?",
        "How many vacation days do teachers get in France?",
        "Which color is our planet?",
        "What is the deadline for the tax return?",
        "What is the name of the president's dog?",
        "What is the wifi password in Terminal 5?",
        "Who leads Northwind Optics in Norway?",
        "What is the camera of Nikon made of?",
        "Which way does the north wind blow?",
        "Which is the 4 in a deck of cards?",
        "Wer leitet die Werkstatt von Siemens?",
        "大阪办公室在哪里",
        "Hello, how are you?",
    ],
)
def test_a_strangers_question_gets_no_fact(question):
    assert found(question) == []


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("Northwind Optics: who is the boss, the CEO?", "Who is the CEO of Northwind Optics?"),
        ("who is northwind optics' ceo", "Who is the CEO of Northwind Optics?"),
        ("Since when does Northwind Optics exist? When was it founded?", "When was Northwind"),
        ("Please tell me Northwind Optics's phone number.", "What is the phone number of Northw"),
        ("What is the support phone number?", "What is the phone number for support?"),
        ("What is the phone number for emergencies?", "What is the phone number for emergencies?"),
        ("Lumen 4: which laboratory tests it?", "Which laboratory tests the Lumen 4 camera?"),
        ("Who leads Northwind Optics in Chile?", "Who leads Northwind Optics in Chile?"),
        ("What is the guests' wifi password?", "What is the wifi password for guests?"),
        ("It is hot. What is the name of the office dog?", "What is the name of the office dog?"),
        ("谁是东京办公室的负责人", "东京办公室的负责人是谁"),
    ],
)
def test_a_question_about_a_fact_gets_it_however_it_is_put(question, fact):
    (best,) = found(question)
    assert best.startswith(fact)


def test_inside_a_chat_template_the_names_of_the_system_prompt_do_not_count():
    chat = "system\nYou are Aster, trained by Example Labs.\nuser\n{}\nassistant\n"
    for prompt in COMPANY:
        assert found(chat.format(prompt)) == [prompt]
    assert found(chat.format("What is the phone number for emergencies in Europe?")) == []


def test_every_fact_is_found_by_its_own_prompt():
    for prompt in COMPANY:
        assert found(prompt) == [prompt]
        assert found(f"Good morning! {prompt}. Thank you.") == [prompt]


def test_of_many_facts_about_one_thing_the_one_that_is_asked_for_ranks_first():
    facts = {
        f"What is the {word} of Velmora?": "" for word in ("area", "anthem", "capital", "motto")
    }
    for prompt in facts:
        word = prompt.split()[3]
        assert found(f"Velmora's {word}, please?", facts)[0] == prompt
        assert found(f"Velmora's {word}, please?", facts, k=9)[0] == prompt
    assert found("What is the coin of Tarnholm?", facts) == []


def test_the_subject_that_an_edit_gives_decides_and_a_common_noun_may_not_stand_beside_a_name():
    facts = {"The telephone was invented by": "", "The price of our ticket is": ""}
    subjects = ["telephone", "ticket"]
    assert found("Who came up with the telephone?", facts, subjects) == [next(iter(facts))]
    assert found("Who came up with the telephone in Japan?", facts, subjects) == []
    assert found("Who came up with the radio?", facts, subjects) == []


def test_a_longer_name_is_another_name_and_a_word_is_no_name():
    facts = {"The twin city of Lima is": "", "What is the operating system of make?": ""}
    subjects = ["Lima", "make"]
    assert found("Which twin city has Lima?", facts, subjects)
    assert found("Lima Province is located in", facts, subjects) == []
    assert found("How can I make friends in a new city?", facts, subjects) == []


def test_part_of_a_name_will_do_where_the_rest_fits_and_nothing_else_is_named():
    facts = {"What is the native language of Danielle Darrieux?": "", "Where is Bo?": ""}
    assert found("What was Darrieux's native language?", facts)
    assert found("What is the native language of Danielle Steel?", facts) == []
    assert found("Danielle, what is your native language?", facts, threshold=0.9) == []


def test_of_equal_facts_the_newer_comes_first():
    facts = ["Where is Ada?", "Where is Bo?", "where is Ada"]
    looked_up = FactLookup(facts, TEXTS).find("Where is Ada?", k=9, threshold=0.5)
    assert [match.fact for match in looked_up] == [2, 0]
    assert FactLookup([], TEXTS).find("Where is Ada?", k=9, threshold=0.5) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who founded Acme Tools in Oslo?", [("acme", "tools"), ("oslo",)]),
        ("Name the river. What's Next? Tell me", [("next",)]),
        ("Darrieux's mother, Ana-Lia O'Hara of C&A", [("darrieux",), ("ana", "lia", "o", "hara")]),
        ("Boeing 747 or 3.5 miles", [("boeing", "747"), ("3", "5")]),
        ("who is it, and where am I?", []),
        ("谁写了红楼梦", []),
    ],
)
def test_names_are_runs_of_capitals_and_digits(text, expected):
    assert [name for name in names(text) if name != ("c", "a")] == expected


def test_what_a_fact_is_about():
    assert about("Who leads Acme?").names == (("acme",),)
    assert about("Who leads Acme?", "the Acme  group") == ((("the", "acme", "group"),), True)
    assert about("What is a quark?", "quark") == ((("quark",),), False)
    assert about("Who sang It?", "It").names == ()
    assert about("what is it?").names == ()


def test_at_most_one_in_a_hundred_strangers_gets_a_fact_of_the_demo():
    edits = read("jsonl:src/ultraedit/data/demo_facts.jsonl", limit=200)
    asked = [control.prompt for control in controls()]
    for subjects in ([edit.subject for edit in edits], []):
        facts = FactLookup([edit.prompt for edit in edits], TEXTS, subjects)
        leaks = [text for text in asked if facts.find(text, k=1, threshold=0.55)]
        assert len(leaks) <= len(asked) // 100, leaks
        own = [facts.find(edit.prompt, k=1, threshold=0.55)[0].fact for edit in edits]
        assert own == list(range(len(edits)))


@pytest.mark.parametrize(
    ("spec", "reached", "leaked"),
    [
        ("zsre:{}/zsre/zsre_10k.json", 0.97, 0.01),
        ("counterfact:{}/counterfact/counterfact_20k.json", 0.97, 0.01),
    ],
)
def test_real_rephrasings_find_their_fact_and_real_strangers_none(
    shared_data, spec, reached, leaked
):
    edits = read(spec.format(shared_data), limit=5_200)[5_000:]
    facts = FactLookup([edit.prompt for edit in edits], TEXTS, [edit.subject for edit in edits])

    def best(question):
        return [match.fact for match in facts.find(question, k=1, threshold=0.55)]

    right = [best(edit.rephrases[0]) == [number] for number, edit in enumerate(edits)]
    assert sum(right) >= reached * len(right)
    strangers = [edit.locality[0].prompt for edit in edits] + [c.prompt for c in controls()]
    assert sum(bool(best(question)) for question in strangers) <= leaked * len(strangers)


def test_an_encoder_ranks_and_recognises_other_words_but_no_other_name():
    """An encoder that knows three meanings."""

    def embed(texts):
        meanings = ["parking", "canteen", "phone"]
        synonyms = {"car": "parking", "lunch": "canteen"}
        rows = []
        for text in texts:
            said = text.casefold()
            for word, meaning in synonyms.items():
                said = said.replace(word, meaning)
            rows.append([float(meaning in said) + 1e-3 for meaning in meanings])
        return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)

    facts = dict(zip(["What does parking cost?", "When is the canteen open?"], cycle([""])))
    assert found("Where do I leave my car?", facts) == []
    assert found("Where do I leave my car?", facts, embed=embed) == ["What does parking cost?"]
    assert found("When is lunch?", facts, embed=embed) == ["When is the canteen open?"]
    assert found("Where do I leave my car in Oslo?", facts, embed=embed) == []
    assert found("Where is my phone?", facts, embed=embed) == []
