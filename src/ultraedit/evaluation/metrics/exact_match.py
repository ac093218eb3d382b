"""Does a generated answer say the target, the whole target and then stop?

Three shares, each a part of the one before: answers that begin with a target, exact matches, which
end a sentence there, and answers after which nothing follows at all. Every script is treated by the
same rule; `core.writing_systems` knows what each one writes between its words and sentences.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from ultraedit.core.writing_systems import (
    answer_lines,
    joined,
    marks_behind,
    sentence_ends,
    without_blanks,
    without_marks,
)

_CLOSING = 2
"""So many marks may stand behind an answer that has stopped."""

_ARTICLE = re.compile(r"^(a|an|the)\s+")

_UNSEEN = re.compile(
    "[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0100-\U000e01ef]"
)
"""What has no shape of its own: marks of direction, places where a line may break, and which of its
shapes a sign takes. The joiners of Persian, Hindi and emoji change what is read, and stay."""


def line_count(text: str) -> int:
    """How many lines of a target have any text; at least 1."""
    return max(1, sum(bool(line.strip()) for line in text.splitlines()))


def exact_match(generated: str, targets: Iterable[str]) -> bool:
    """Whether the answer equals a target, or says it and ends the sentence there.

    As many lines count as the target has. They match when they are the target, or when one of
    their sentences ends just where the target does: "Lyon" and "Lyon. It lies on the Rhone" match
    "Lyon", "小明。他是作家。" matches "小明", and "Lyon, or Paris" and "Lyon Lyon" do not match
    "Lyon". Case, surrounding punctuation, a leading article, runs of white space, blanks in scripts
    that need none and characters without a shape are ignored.

    Args:
        generated: What the model wrote after the prompt.
        targets: The target and its aliases.
    """
    return any(_matches(answer_lines(generated, line_count(text)), text) for text in targets)


def _matches(answer: str, target: str) -> bool:
    wanted, answer = _normalize(target), _UNSEEN.sub("", answer)
    ends = (*sentence_ends(answer), len(answer))
    return bool(wanted) and any(_normalize(answer[:end]) == wanted for end in ends)


def begins(generated: str, targets: Iterable[str]) -> bool:
    """Whether the answer begins with a target, as a whole word, whatever it goes on with.

    "Lyon, or Paris", "Lyon Lyon" and all exact matches begin with "Lyon"; "Lyonnaise" does not.
    In scripts without blanks a word ends wherever the target does: "小明他" begins with "小明".
    What is ignored is what `exact_match` ignores.

    Args:
        generated: What the model wrote after the prompt.
        targets: The target and its aliases.
    """
    return any(_begins(answer_lines(generated, line_count(text)), text) for text in targets)


def _begins(answer: str, target: str) -> bool:
    wanted, said = _normalize(target), _normalize(answer)
    if not wanted or not said.startswith(wanted):
        return False
    return not joined(wanted[-1], said[len(wanted) :][:1])


def stops(generated: str, targets: Iterable[str]) -> bool:
    r"""Whether the answer is a target and nothing follows it up to the end of the text or line.

    A closing mark, and one more such as a quotation mark, may follow: "Lyon" and "Lyon.\"" stop;
    "Lyon. It lies on the Rhone", an exact match too, does not, and neither does "Lyon......".

    Args:
        generated: What the model wrote after the prompt, cut at its end-of-text token.
        targets: The target and its aliases.
    """
    targets = list(targets)
    own = max((marks_behind(_UNSEEN.sub("", text)) for text in targets), default=0)
    return any(_stops(answer_lines(generated, line_count(text)), text, own) for text in targets)


def _stops(answer: str, target: str, own: int) -> bool:
    wanted = _normalize(target)
    behind = marks_behind(_UNSEEN.sub("", answer))
    return bool(wanted) and behind <= own + _CLOSING and _normalize(answer) == wanted


def _normalize(text: str) -> str:
    text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return _ARTICLE.sub("", without_marks(_close_up(text.split())))


def _close_up(words: Sequence[str]) -> str:
    """Words with one blank between them, or none where neither side's script needs one."""
    text = ""
    for word in words:
        apart = bool(text) and not (without_blanks(text[-1]) and without_blanks(word[0]))
        text += f" {word}" if apart else word
    return text
