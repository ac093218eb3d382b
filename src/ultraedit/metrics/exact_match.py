"""Does a freely generated answer say the target, the whole target and then stop?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)")
_SURROUNDING = " .,;:!?\"'`*“”„‘’‚«»"  # noqa: RUF001
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


def _normalize(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    text = " ".join(text.split()).strip(_SURROUNDING)
    return _ARTICLE.sub("", text)
