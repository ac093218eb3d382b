"""The parts of the builder by themselves: order, partners, repeats, checks."""

from __future__ import annotations

import random

import pytest

from ultraedit.tools.bench_builder import (
    Pair,
    Questions,
    Relation,
    TemplateQuestionWriter,
    TripleFact,
    Unwritten,
)
from ultraedit.tools.bench_builder import shuffle as shuffling
from ultraedit.tools.bench_builder.checks import faults
from ultraedit.tools.bench_builder.facts import MAX_NAME, REASONS, merged, name_faults
from ultraedit.tools.bench_builder.pairing import Pool
from ultraedit.tools.bench_builder.seen import AnsweredQuestions
from ultraedit.tools.bench_builder.shuffle import Shuffle

BIRTH = Relation(
    "P19",
    "place of birth",
    ("Where was [X] born?", "What is the birthplace of [X]?", "In which town was [X] born?"),
)


def fact(subject="Ada Veltra", answer="Lyon", **more) -> TripleFact:
    return TripleFact(**{"place": "00", "relation": BIRTH, **more}, subject=subject, answer=answer)


PAIR = Pair(fact(), fact("Ines Okafor", "Graz"))
GOOD = Questions(
    "Where was Ada Veltra born?",
    "What is the birthplace of Ada Veltra?",
    "In which town was Ines Okafor born?",
)


def shuffled(folder, keys, seed=0) -> Shuffle:
    folder.mkdir()
    found = Shuffle(folder, seed)
    for number, key in enumerate(keys):
        found.add(key, f"{key} {number} ü")
    return found


def test_records_of_a_key_stay_together_and_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffling, "BUFFER", 200)  # to disk every few records
    keys = [f"key {n % 50}" for n in range(400)]
    found = shuffled(tmp_path / "s", keys)
    groups = list(found.groups())
    assert len(found) == 400
    assert len(groups) == 50
    for group in groups:
        numbers = [int(record.split()[2]) for record in group.records]
        assert len(numbers) == 8
        assert numbers == sorted(numbers)
        assert all(record.endswith(" ü") for record in group.records)


def test_the_order_is_random_but_depends_on_the_seed_and_the_keys_alone(tmp_path):
    keys = [f"key {n}" for n in range(300)]
    mixed = random.Random(0).sample(keys, len(keys))

    def order(name, keys, seed):
        groups = shuffled(tmp_path / name, keys, seed).groups()
        return [group.records[0].rsplit(" ", 2)[0] for group in groups]

    first = order("a", keys, 1)
    assert first == order("b", mixed, 1)
    assert first != order("c", keys, 2)
    assert first != keys
    assert sorted(first) == sorted(keys)


@pytest.mark.parametrize("count", [1, 37, 300])
def test_the_order_can_be_cut_from_its_end(tmp_path, count):
    found = shuffled(tmp_path / "s", [f"key {n}" for n in range(300)])
    start = found.last(count)
    front = [group.place for group in found.groups(stop=start)]
    back = [group.place for group in found.groups(start=start)]
    assert len(back) == count
    assert front + back == [group.place for group in found.groups()]


def test_a_group_is_never_cut(tmp_path):
    found = shuffled(tmp_path / "s", ["one"] * 10 + ["two"] * 10)
    assert [len(group.records) for group in found.groups(start=found.last(3))] == [10]


def test_partners_share_neither_subject_nor_object_nor_id(tmp_path):
    near = [
        fact("ada veltra", "Graz"),
        fact("Ines Okafor", "LYON"),
        fact("Lyon", "France"),
        fact("Ines Okafor", "Graz", other_answers=("Lyon",)),
        fact("Another Name", "Graz", ids=("Q1", "Q2")),
    ]
    far = fact("Tomas Brandt", "Riga")
    for facts, expected in ((near, None), ([*near, far], far)):
        pool = Pool(tmp_path / "pool")
        for each in facts:
            pool.add(each)
        assert pool.partner(fact(ids=("Q1", "Q9"))) == expected
        pool.close()


def test_every_partner_is_taken_before_one_comes_again(tmp_path):
    pool = Pool(tmp_path / "pool")
    for number in range(10):
        pool.add(fact(f"Subject {number}", f"Answer {number}"))
    taken = [pool.partner(fact()).subject for _ in range(25)]
    assert sorted(taken[:10]) == sorted(taken[10:20]) == [f"Subject {n}" for n in range(10)]
    pool.close()


def test_a_partner_that_was_passed_over_is_not_lost(tmp_path):
    pool = Pool(tmp_path / "pool")
    pool.add(fact("Ada Veltra", "Graz"))
    pool.add(fact("Tomas Brandt", "Riga"))
    assert pool.partner(fact()).subject == "Tomas Brandt"
    assert pool.partner(fact("Ines Okafor", "Brno")).subject == "Ada Veltra"
    pool.close()


def test_repeats_and_conflicts_are_told_apart(tmp_path):
    seen = AnsweredQuestions(tmp_path / "seen")
    assert seen.fault(["Who?", "What?"], "Lyon") == ""
    seen.claim(["Who?", "What?"], "Lyon")
    assert seen.fault(["WHO?", "new"], "lyon") == "duplicate"
    assert seen.fault(["new", "What?"], "Graz") == "conflicting-answer"
    seen.hold_out("held")
    assert seen.fault(["held"], "Lyon") == "held-out"
    assert seen.is_edited("what?")
    assert not seen.is_edited("held")
    assert not seen.is_edited("new")
    seen.close()


def test_facts_of_one_question_become_one_and_say_what_they_left_out():
    first = fact(answer="Lyon", other_answers=("Nice",))
    found, rejects = merged(
        [first, fact(answer="LYON"), fact(answer="Nice"), fact(answer="Graz"), fact(answer="graz")]
    )
    assert (found.answer, found.other_answers) == ("Lyon", ("Nice", "Graz"))
    assert [reject.reasons[0] for reject in rejects] == [
        "duplicate",
        "duplicate",
        "conflicting-answer",
        "duplicate",
    ]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (fact(), ()),
        (fact(answer=""), ("no-name",)),
        (fact(subject="Q4115189"), ("no-name",)),
        (fact(answer="x" * (MAX_NAME + 1)), ("long-name",)),
        (fact("LYONESS", "Lyon"), ("answer-in-subject",)),
        (fact("Music", "US"), ("answer-in-subject",)),
    ],
)
def test_facts_that_nobody_could_ask_for_are_found_before_anybody_tries(bad, expected):
    assert name_faults(bad) == expected


def test_a_good_row_has_no_fault():
    assert faults(PAIR, GOOD, "en") == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"prompt": "Where was Ms Veltra born?"}, "subject-missing"),
        ({"prompt": "Was Ada Veltra born in LYON?"}, "answer-in-prompt"),
        ({"rephrase": "Which Lyonnaise place was she born in?"}, "answer-in-rephrase"),
        ({"unrelated": "Was Ines Okafor born in Graz?"}, "answer-in-unrelated"),
        ({"prompt": "where was Ada Veltra born?"}, "not-a-question"),
        ({"prompt": "Where was Ada Veltra born"}, "not-a-question"),
        ({"rephrase": "Her birthplace? Where was she born?"}, "not-a-question"),
        ({"rephrase": "Where was  she born?"}, "not-a-question"),
        ({"rephrase": "Where was she\nborn?"}, "not-a-question"),
        ({"unrelated": "Where from?"}, "length"),
        ({"unrelated": "Where" + " was she" * 20 + " born?"}, "length"),
        ({"rephrase": "WHERE was Ada Veltra born ?"}, "same-question"),
        ({"unrelated": "What is the birthplace of Ada Veltra?"}, "same-question"),
        ({"rephrase": "Wo wurde Ada Veltra geboren?"}, "language"),
        ({"rephrase": "Was ist der Geburtsort von Ada Veltra?"}, "language"),
        ({"rephrase": "Où est née Ada Veltra?"}, "language"),
        ({"rephrase": "Где родилась Ada Veltra?"}, "language"),
    ],
)
def test_every_check_finds_what_it_is_for(change, expected):
    assert faults(PAIR, GOOD._replace(**change), "en") == (expected,)
    assert expected in REASONS


def test_every_fault_of_a_row_is_named():
    found = faults(PAIR, Questions("lyon", "lyon", "Graz?"), "en")
    assert set(found) == {
        "subject-missing",
        "answer-in-prompt",
        "answer-in-rephrase",
        "answer-in-unrelated",
        "not-a-question",
        "length",
        "same-question",
        "language",
    }


def test_another_name_of_the_answer_counts_as_a_whole_word_only():
    pair = PAIR._replace(fact=fact(answer_aliases=("Born", "rth", "AD")))
    assert faults(pair, GOOD, "en") == ("alias-in-question",)
    pair = PAIR._replace(fact=fact(answer_aliases=("rth", "AD")))
    assert faults(pair, GOOD, "en") == ()


def test_other_languages_pass_where_none_is_asked_for():
    german = GOOD._replace(rephrase="Was ist der Geburtsort von Ada Veltra?")
    assert faults(PAIR, german, "any") == ()


def test_a_question_mark_in_a_name_is_no_second_one():
    pair = PAIR._replace(fact=fact("Who's That Girl?"))
    asked = GOOD._replace(
        prompt="Where was Who's That Girl? made?", rephrase="Who made Who's That Girl??"
    )
    assert faults(pair, asked, "en") == ()


def test_the_template_passes_over_a_wording_with_the_answer_in_it():
    for place in range(20):
        pair = Pair(fact(answer="town", place=f"{place:016x}"), PAIR.unrelated)
        (written,) = TemplateQuestionWriter().write([pair])
        assert "town" not in written.prompt + written.rephrase
    (written,) = TemplateQuestionWriter().write([Pair(fact(answer="born"), PAIR.unrelated)])
    assert written == Unwritten("no-wording")


def test_all_wordings_are_drawn_and_no_row_asks_twice_the_same():
    facts = [fact(place=f"{n:016x}") for n in range(200)]
    written = list(TemplateQuestionWriter().write([Pair(each, PAIR.unrelated) for each in facts]))
    assert all(len(set(questions)) == 3 for questions in written)
    pairs = {(q.prompt, q.rephrase) for q in written}
    assert len(pairs) == 6
    assert len({q.unrelated for q in written}) == 3
