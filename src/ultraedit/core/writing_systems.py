"""What the scripts of the world write at the end of a sentence and between two words.

The one place that knows it: whatever compares texts of models or of the data, or looks for words
in them, asks here, so that every script is treated by the same rule.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

BLANKS = (
    " \t\u00a0\u1680\u202f\u205f\u3000"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
)
"""White space inside a line. The end of a line is none: a prompt may end with one, since there
the answer begins a line of its own."""

_ALWAYS = (
    "\u037e\u0589\u061b\u061d-\u061f\u06d4\u0700-\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965"
    "\u0f0d-\u0f11\u104a\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809"
    "\u1944\u1945\u1aa8-\u1aab\u1b4e\u1b4f\u1b5a\u1b5b\u1b5e\u1b5f\u1b7d-\u1b7f\u1c3b\u1c3c"
    "\u1c7e\u1c7f\u203c\u203d\u2047-\u2049\u2cf9-\u2cfb\u2e2e\u2e3c\u2e53\u2e54\u2e60\u2e61\u3002"
    "\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d-\uaa5f"
    "\uaaf0\uaaf1\uabeb\ufe12\ufe14-\ufe16\ufe54\ufe56\ufe57\uff01\uff1b\uff1f\uff61"
    "\U00010a56\U00010a57\U00010f55-\U00010f59\U00010f86-\U00010f89\U00011047\U00011048"
    "\U000110be-\U000110c1\U00011141-\U00011143\U000111c5\U000111c6\U000111cd\U000111de\U000111df"
    "\U00011238\U00011239\U0001123b\U0001123c\U000112a9\U000113d4\U000113d5\U0001144b\U0001144c"
    "\U000115c2\U000115c3\U000115c9-\U000115d7\U00011641\U00011642\U0001173c-\U0001173e\U00011944"
    "\U00011946\U00011a42\U00011a43\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8"
    "\U00011f43\U00011f44\U00016a6e\U00016a6f\U00016af5\U00016b37\U00016b38\U00016b44"
    "\U00016d6e\U00016d6f\U00016e98\U0001bc9f\U0001da88"
)
"""Marks that end a sentence wherever they stand, as the inside of a regular expression's set.

Those with the property Sentence_Terminal in Unicode 17 (PropList.txt), without those of
`_PERHAPS`; the semicolons of Greek, Arabic and the full-width forms, as ``;`` is one of `_PERHAPS`;
and the shads, with which Tibetan ends its clauses and sentences alike.
"""

_PERHAPS = ".!?;\u2024\u2026\ufe52\uff0e"
"""Marks that stand inside words and numbers too, as in ``1.5``, ``example.org`` and ``Yahoo!``."""

_CLOSERS = (
    "\"'`*)\\]}\u00bb\u2019\u201d\u203a\u3009\u300b\u300d\u300f\u3011\u3015\u301e\u301f\uff09\uff3d"
)
"""Marks that close what a sentence has opened; they may stand behind its end."""

_QUOTES = (
    "\"'`*\u00ab\u00bb\u2018-\u201f\u2039\u203a"
    "\u3008-\u3011\u301d-\u301f"  # of East Asia
)

_COMMAS = " ,:\u060c\u07f8\u1363\u1365\u1366\u1802\u1808\u3001\uff0c\uff1a\uff64"

_AROUND = f"[{_QUOTES}{_COMMAS}{_PERHAPS}{_ALWAYS}]+"
_BEFORE, _BEHIND = re.compile(rf"\A{_AROUND}"), re.compile(rf"{_AROUND}\Z")

_END = re.compile(f"[{_ALWAYS}]|(?P<perhaps>[{_PERHAPS}])[{_PERHAPS}{_ALWAYS}{_CLOSERS}]*")

_WITHOUT_BLANKS = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x2E80, 0xA4CF),  # Chinese and Japanese, Bopomofo, Yi
    (0xA980, 0xA9FF),  # Javanese, Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xAC00, 0xD7FF),  # Hangul: has blanks, but writes particles to the word before them
    (0xF900, 0xFAFF),  # Chinese, compatibility forms
    (0xFF66, 0xFFDC),  # half-width Katakana and Hangul
    (0x16FE0, 0x18DFF),  # Tangut, Khitan, Nushu
    (0x1AFF0, 0x1B2FF),  # Kana
    (0x20000, 0x3FFFF),  # Chinese
)
"""Code points of scripts in which a word may begin or end where no blank and no mark shows it."""

_MARKS = frozenset({"Mn", "Mc", "Me"})
"""Categories of what is written onto the letter before it: vowel signs, accents, skin tones not."""

_JOINERS = frozenset("\u200c\u200d")
"""What holds two letters, or two emoji, together as one."""


def sentence_ends(text: str) -> Iterator[int]:
    """Where sentences end in a text: the index of the mark that ends each.

    A mark that no word has inside, such as ``。``, ``।`` or ``؟``, ends a sentence wherever it
    stands. ``.``, ``!``, ``?`` and ``;`` do where a blank, the end of the text, or a letter of a
    script without capitals follows, perhaps behind further marks and closing quotation marks: the
    rules of https://unicode.org/reports/tr29, but that a small letter may follow the blank.

    Args:
        text: Any text.
    """
    for match in _END.finditer(text):
        if match["perhaps"] is None or _may_follow(text[match.end() : match.end() + 1]):
            yield match.start()


def _may_follow(letter: str) -> bool:
    """Whether a new sentence may begin with a letter, without a blank before it."""
    return not letter or letter.isspace() or unicodedata.category(letter) in {"Lo", "So", "Co"}


def without_marks(text: str) -> str:
    """A text without the blanks, quotation marks, commas and ends of sentences around it."""
    return _BEHIND.sub("", _BEFORE.sub("", text))


def marks_behind(text: str) -> int:
    """How many characters at the end of a text `without_marks` takes away."""
    match = _BEHIND.search(text)
    return 0 if match is None else len(match.group())


def without_blanks(letter: str) -> bool:
    """Whether a letter is of a script in which words need not be apart."""
    point = ord(letter)
    return any(first <= point <= last for first, last in _WITHOUT_BLANKS)


def joined(before: str, after: str) -> bool:
    """Whether two letters that stand side by side are of one word, as far as can be seen.

    In scripts without blanks it cannot be seen, so there a word may end anywhere; but a letter
    keeps its accents and vowel signs in all of them, and an emoji its parts.

    Args:
        before: The first letter, or "" where a text begins.
        after: The second, or "" where it ends.
    """
    if not before or not after:
        return False
    if unicodedata.category(after) in _MARKS or after in _JOINERS or before in _JOINERS:
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff":  # a skin tone
        return True
    words = _in_word(before) and _in_word(after)
    return words and not without_blanks(before) and not without_blanks(after)


def _in_word(letter: str) -> bool:
    return letter.isalnum() or unicodedata.category(letter) in _MARKS


def answer_lines(generated: str, count: int = 1) -> str:
    r"""The first lines with any text in what a model wrote: its answer, lines joined by ``\n``.

    Args:
        generated: What the model wrote after the prompt.
        count: How many lines the answer has.
    """
    lines = (line.strip() for line in generated.strip().splitlines())
    return "\n".join([line for line in lines if line][:count])
