"""One rule for every script: where sentences and words end, and what matches an answer."""

# ruff: noqa: RUF001 - that letters of one script look like those of another is the point

from __future__ import annotations

import pytest

from ultraedit.core.types import Edit
from ultraedit.core.writing_systems import joined, sentence_ends
from ultraedit.data._check import appears
from ultraedit.evaluation.metrics import answer_lines, begins, exact_match, line_count, stops
from ultraedit.evaluation.probes import Asked

COUNTERPARTS = {
    "Latin": ("Lyon", "Lyon. It lies on the Rhone", "Lyon, or Paris", "Lyon."),
    "Chinese": ("小明", "小明。他是作家。", "小明，他是作家。", "小明。"),
    "Chinese, other marks": ("小明", "小明！他是谁？", "小明、小红", "「小明」。"),
    "Japanese": ("田中", "田中。彼は建築家です。", "田中、または鈴木", "『田中』。"),
    "Japanese, half width": ("ﾀﾅｶ", "タナカ｡ｿﾉ人", "タナカ､又は", "ﾀﾅｶ｡"),
    "Korean": ("리옹", "리옹. 론강에 있다.", "리옹, 또는 파리", "리옹."),
    "Arabic": ("سارن", "سارن؟ هي مدينة", "سارن، أو لوند", "سارن۔"),
    "Urdu": ("سارن", "سارن۔یہ شہر ہے", "سارن، یا", "سارن۔"),
    "Hebrew": ("סארן", "סארן. זו עיר", "סארן, או", "\u200fסארן\u200f."),
    "Hindi": ("सारन", "सारन। यह एक नगर है।", "सारन, या लुंड", "सारन।"),
    "Hindi, no blank": ("सारन", "सारन॥यह", "सारन या", "सारन।"),
    "Amharic": ("ሳርን", "ሳርን። ከተማ ነው።", "ሳርን፣ ወይም", "ሳርን።"),
    "Armenian": ("Սառն", "Սառն։ Քաղաք է", "Սառն, կամ", "Սառն։"),
    "Burmese": ("စာနန်", "စာနန်။ မြို့", "စာနန် သို့မဟုတ်", "စာနန်။"),
    "Khmer": ("សារន", "សារន។ ទីក្រុង", "សារន ឬ", "សារន។"),
    "Thai": ("ซาร์น", "ซาร์น. เป็นเมือง", "ซาร์น หรือ", "ซาร์น."),
    "Tibetan": ("ལ་ས", "ལ་ས།གྲོང་ཁྱེར།", "ལ་ས གྲོང་", "ལ་ས།"),
    "Greek": ("Λυών", "Λυών\u037e Ναι", "Λυών, ή", "«Λυών»."),
    "emoji": ("🟦⬜🟦", "🟦⬜🟦! It is a flag", "🟦⬜🟦 or 🟦", "🟦⬜🟦."),
    "emoji, then Chinese": ("🟦⬜🟦", "🟦⬜🟦。这是旗", "🟦⬜🟦，这是旗", "🟦⬜🟦。"),
}
"""Per script a target, and answers that end a sentence there, that go on, and that stop."""


@pytest.mark.parametrize("script", COUNTERPARTS)
def test_every_script_is_scored_as_latin_is(script):
    target, ended, goes_on, stopped = COUNTERPARTS[script]
    told = [
        (begins(said, [target]), exact_match(said, [target]), stops(said, [target]))
        for said in (target, stopped, ended, goes_on)
    ]
    assert told == [
        (True, True, True),
        (True, True, True),
        (True, True, False),
        (True, False, False),
    ]


@pytest.mark.parametrize(
    ("generated", "target"),
    [
        ("小明.他是作家", "小明"),  # no blank, and no letter that could go on with the word
        ("他叫。小明", "他叫"),
        ("「小明」。他是作家", "小明"),
        ("小明。」他说。", "小明"),
        ("《西游记》", "西游记"),
        ("田中 太郎", "田中太郎"),
        ("田中太郎。", "田中 太郎"),
        ("１８４３年。", "1843年"),
        ("モーニング娘。", "モーニング娘。"),
        ("\u202bسارن\u202c", "سارن"),
        ("\u2067סארן\u2069. עיר", "סארן"),
        ("سارن.\u200f هي", "سارن"),
        ("ﺳﺎﺭﻥ", "سارن"),  # presentation forms
        ("❤️", "❤"),
        ("❤", "❤️"),
        ("小明……他", "小明"),
        ('Lyon." It lies there', "Lyon"),
        ("Lyon!🎉", "Lyon"),
    ],
)
def test_an_answer_matches_whatever_its_script_ignores(generated, target):
    assert exact_match(generated, [target])


@pytest.mark.parametrize(
    ("generated", "target"),
    [
        ("他是小明。", "小明"),
        ("小明他是作家。", "小明"),
        ("سارن هي", "سارن"),
        ("१.५", "१"),  # a number, 1.5
        ("١.٥", "١"),
        ("सारना", "सारन"),
        ("👩🏽", "👩"),
        ("👩‍🚀", "👩"),
        ("می‌شود", "میشود"),  # the joiner is spelling
        ("example.org", "example"),
        ("Yahoo!Answers", "Yahoo"),
        ("New York", "NewYork"),
        ("\u200f", "\u200e"),
    ],
)
def test_an_answer_is_no_match_of_less_or_of_other_letters(generated, target):
    assert not exact_match(generated, [target])


@pytest.mark.parametrize(
    ("generated", "target"),
    [
        ("小明他是作家", "小明"),
        ("Lyon是城市", "Lyon"),
        ("ซาร์นเป็นเมือง", "ซาร์น"),
        ("서울은 도시", "서울"),
        ("🟦⬜🟦🟦", "🟦⬜🟦"),
        ("सारन है", "सारन"),
    ],
)
def test_a_word_ends_where_its_script_lets_it(generated, target):
    assert begins(generated, [target])


@pytest.mark.parametrize(
    ("generated", "target"),
    [
        ("सारना", "सारन"),  # a vowel sign belongs to the letter before it
        ("กำ", "ก"),  # too, where words may end anywhere
        ("سارنة", "سارن"),
        ("סארנית", "סארן"),
        ("👩🏽 x", "👩"),
        ("👩‍🚀", "👩"),
        ("Lyonnaise", "Lyon"),
        ("1843", "184"),
    ],
)
def test_a_word_does_not_end_inside_a_letter_or_a_word(generated, target):
    assert not begins(generated, [target])


OATH = "I stand by the river.\nI keep the bridge.\nI answer the bell."


@pytest.mark.parametrize(
    ("generated", "begun", "matched", "stopped"),
    [
        (OATH, True, True, True),
        (f"\n{OATH}\n\nWhat next?", True, True, True),
        (OATH.replace("\n", "\n\n").upper(), True, True, True),
        (f"{OATH} And then?", True, True, False),
        (f"{OATH[:-1]}, and more", True, False, False),
        (f"{OATH[:-1]}s", False, False, False),
        ("I stand by the river.\nI keep the bridge.", False, False, False),
        ("I stand by the river.", False, False, False),
        (OATH.replace("bridge", "tower"), False, False, False),
        (f"Oath:\n{OATH}", False, False, False),
    ],
)
def test_an_answer_of_several_lines_is_scored_as_a_whole(generated, begun, matched, stopped):
    assert begins(generated, [OATH]) == begun
    assert exact_match(generated, [OATH]) == matched
    assert stops(generated, [OATH]) == stopped


def test_a_target_of_one_line_is_scored_on_one_line_beside_an_alias_of_two():
    targets = ["Sarne", "Sarne\nLund"]
    assert [line_count(text) for text in (*targets, "", " \n ", "a\r\n\nb\n")] == [1, 2, 1, 1, 2]
    assert exact_match("Sarne\nMore", targets)
    assert exact_match("Sarne\nLund. More", targets[1:])
    assert not exact_match("Sarne\nMore", targets[1:])
    assert answer_lines("\n Sarne \n\n Lund\nx", 2) == "Sarne\nLund"


def test_every_end_of_a_sentence_in_unicode_ends_one():
    regex = pytest.importorskip("regex")
    terminal = regex.compile(r"\p{Sentence_Terminal}")
    marks = [mark for mark in map(chr, range(0x110000)) if terminal.match(mark)]
    assert len(marks) > 150
    assert [mark for mark in marks if list(sentence_ends(f"x{mark} y")) != [1]] == []


@pytest.mark.parametrize(
    ("text", "shown", "rest"),
    [
        ("Who is it? Lyon", "Who is it?", "Lyon"),
        ("WHO  is\nit? Lyon", " Who is it? ", "Lyon"),
        ("İstanbul nerede? Türkiye", "İstanbul nerede?", "Türkiye"),
        ("STRASSE? Lyon", "Strasse?", "Lyon"),
        ("西游记的作者是小明", "西游记的作者是", "小明"),
        ("Lyon", "Who is it?", "Lyon"),
    ],
)
def test_a_repeated_question_is_taken_off_whatever_its_script(text, shown, rest):
    asked = Asked("probe:chat", Edit("x", "y"), "prompt", "y", shown=shown, echoes=True)
    assert asked.answered(text) == rest
    assert asked._replace(echoes=False).answered(text) == text


@pytest.mark.parametrize(
    ("target", "prompt", "inside"),
    [
        ("सारन", "सारना कहाँ है", False),
        ("सारन", "वेल्मोरा में सारन है", True),
        ("ซาร์น", "เมืองซาร์นอยู่ที่ไหน", True),
        ("小明", "他是小明吗", True),
        ("سارن", "سارنة", False),
        ("Lyon", "Lyonnaise, Lyon", True),
    ],
)
def test_a_target_stands_in_a_prompt_as_words_of_its_script(target, prompt, inside):
    assert appears(target, prompt) == inside


def test_words_are_told_apart_at_their_edges_only():
    assert not joined("", "a")
    assert not joined("a", "")
    assert joined("a", "b")
    assert not joined("a", "-")
