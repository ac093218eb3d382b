"""The check of words in pages: it reads prose, leaves code alone, and what waits cannot grow."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def words():
    spec = importlib.util.spec_from_file_location("check_words", ROOT / "docs" / "check_words.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_are_found_in_prose_with_their_lines_and_not_in_code(words):
    text = (
        "The colour `colour`\n\n```\ncolour\n```\n\nAsked freely, [it](behaviour.md) leverages.\n"
    )
    seen = [(place.line, place.words) for place in words.places(ROOT / "x.md", text)]
    assert seen == [(1, "colour"), (7, "Asked freely"), (7, "leverages")]


def test_of_a_module_strings_and_comments_are_read_and_names_are_not(words):
    source = (
        '"""Colours.\n\nOf a neighbour, `colour`."""\n'
        "colour = {'colour': 1}  # grey\n"
        "text = f'the licence {colour}'\n"
    )
    seen = [(each.line, each.words) for each in words.places(ROOT / "x.py", words.prose(source))]
    assert seen == [(1, "Colours"), (3, "neighbour"), (4, "grey"), (5, "licence")]


def test_every_word_has_something_to_write_instead(words):
    for pattern, better in words.WORDS.items():
        re.compile(pattern)
        assert better
    assert set(words.WAITING) <= set(words.WORDS)


def test_more_of_a_waiting_word_fails_the_check(words, monkeypatch, capsys):
    assert words.main([]) == 0
    pattern = r"free answers?"
    monkeypatch.setitem(words.WAITING, pattern, words.WAITING[pattern] - 100)
    assert words.main([]) == 1
    assert "free generation" in capsys.readouterr().out
