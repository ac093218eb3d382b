"""Does a freely generated answer say the target, the whole target and then stop?

Three shares, each a part of the one before: answers that begin with a target, exact matches, which
end a sentence there, and answers after which nothing follows at all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)")
_SURROUNDING = " .,;:!?\"'`*“”„‘’‚«»"  # noqa: RUF001
_CLOSING = 2
"""So many marks may stand behind an answer that has stopped."""

_ARTICLE = re.compile(r"^(a|an|the)\s+")


def answer_line(generated: str) -> str:
    """The first line with any text in what a model wrote: its answer."""
    stripped = generated.strip()
    return stripped.splitlines()[0].strip() if stripped else ""


def exact_match(generated: str, targets: Iterable[str]) -> bool:
    """Whether the answer equals a target, or says it and ends the sentence there.

    Only the first line counts. It matches when it is the target, or when one of its sentences
    ends just where the target does: "Lyon" and "Lyon. It lies on the Rhone" match "Lyon", and
    "Lyon, or Paris" and "Lyon Lyon" do not. Case, surrounding punctuation, a leading article
    and runs of white space are ignored.

    Args:
        generated: What the model wrote after the prompt.
        targets: The target and its aliases.
    """
    line = answer_line(generated)
    ends = [match.start() for match in _SENTENCE_END.finditer(line)] + [len(line)]
    candidates = {_normalize(line[:end]) for end in ends}
    return any(wanted and wanted in candidates for wanted in map(_normalize, targets))


def begins(generated: str, targets: Iterable[str]) -> bool:
    """Whether the answer begins with a target, as a whole word, whatever it goes on with.

    "Lyon, or Paris", "Lyon Lyon" and all exact matches begin with "Lyon"; "Lyonnaise" does not.
    What is ignored is what `exact_match` ignores.

    Args:
        generated: What the model wrote after the prompt.
        targets: The target and its aliases.
    """
    line = _normalize(answer_line(generated))
    said = (wanted for wanted in map(_normalize, targets) if wanted and line.startswith(wanted))
    return any(not line[len(wanted) :][:1].isalnum() for wanted in said)


def stops(generated: str, targets: Iterable[str]) -> bool:
    r"""Whether the answer is a target and nothing follows it up to the end of the text or line.

    A closing mark, and one more such as a quotation mark, may follow: "Lyon" and "Lyon.\"" stop;
    "Lyon. It lies on the Rhone", an exact match too, does not, and neither does "Lyon......".

    Args:
        generated: What the model wrote after the prompt, cut at its end-of-text token.
        targets: The target and its aliases.
    """
    line = answer_line(generated)
    marks = len(line) - len(line.rstrip(_SURROUNDING))
    targets = list(targets)
    own = max((len(text) - len(text.rstrip(_SURROUNDING)) for text in targets), default=0)
    return marks <= own + _CLOSING and _normalize(line) in {*map(_normalize, targets)} - {""}


def _normalize(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    text = " ".join(text.split()).strip(_SURROUNDING)
    return _ARTICLE.sub("", text)
