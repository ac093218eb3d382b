"""Find words in the pages, help texts and docstrings that a reader would stop at.

    python docs/check_words.py          # part of `make check`
    python docs/check_words.py --list   # every place that is still to be changed

Code in blocks is not read, and what stands between backticks is not either. Of the package,
strings and comments are read. Words of `WAITING` are still in old pages: their number may fall and
must not grow.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

WORDS = {
    r"asked freely": "in free generation",
    r"asks? freely": "free generation",
    r"free answers?": "free generation (greedy decoding)",
    r"unless given": "[default: ...]",
    r"laid over": "overlay",
    r"(told|tells?) how far": "receives progress updates",
    r"whom a \w+ asks": "which edits are evaluated",
    r"edits? that holds?": "active edits",
    r"no turn stands": "no active turn",
    r"let through": "exceeds the limit",
    r"carry the edits away|carried away|carries away": "export",
    r"what comes of it|what came of": "the outcome, the result",
    r"judgements?": "loss value",
    r"lamda|pesudo": "lambda, pseudo",
    r"neighbours?|colours?|behaviours?|normalis\w+|tokenis\w+|quantis\w+|licences?|grey": (
        "American spelling"
    ),
    r"simply|obviously|of course|very easy|just works": "nothing: leave it out",
    r"cutting[- ]edge|state[- ]of[- ]the[- ]art|seamless\w*|leverag\w+|robust\w*|powerful": (
        "the number that shows it"
    ),
}
"""What not to write, as patterns, and what to write instead."""

WAITING: dict[str, int] = {
    r"asked freely": 8,
    r"free answers?": 24,
    r"edits? that holds?": 3,
    r"unless given": 126,
}
"""Patterns that old pages still have, with the number of places."""

NAMES = re.compile(r"\b(?:normalise|quantised)\b")
"""Names of an option and of a key that are on disks, so that they stay."""


class Place(NamedTuple):
    """A word in a page."""

    page: Path
    line: int
    words: str
    pattern: str


def pages() -> list[Path]:
    """What readers read: the README and all pages; the help texts are in `docs/cli.md`."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def places(page: Path, text: str) -> Iterator[Place]:
    """The words of a page that should be others."""
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
            continue
        if in_code:
            continue
        prose = re.sub(r"`[^`]*`|\]\([^)]*\)", lambda code: " " * len(code[0]), line)
        for pattern in WORDS:
            for match in re.finditer(rf"\b(?:{pattern})\b", prose, flags=re.IGNORECASE):
                yield Place(page, number, match[0], pattern)


def modules() -> list[Path]:
    """The files of the package, whose docstrings and messages are read too."""
    return sorted((ROOT / "src").rglob("*.py"))


def prose(source: str) -> str:
    """Strings and comments of a module, each on its line, without names and code in braces."""
    lines = [""] * (source.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (tokenize.STRING, tokenize.COMMENT):
            continue
        if re.fullmatch(r"[\"'\w]+", token.string):
            continue
        text = NAMES.sub("", re.sub(r"\{[^{}\n]*\}", "", token.string))
        for number, line in enumerate(text.split("\n"), token.start[0]):
            lines[number] += f" {line}"
    return "\n".join(lines[1:])


def main(arguments: list[str]) -> int:
    """Check all pages; the exit code."""
    seen = [place for page in pages() for place in places(page, page.read_text("utf-8"))]
    for module in modules():
        seen += places(module, prose(module.read_text("utf-8")))
    counts = {pattern: 0 for pattern in WORDS}
    for place in seen:
        counts[place.pattern] += 1
    too_many = {pattern for pattern, n in counts.items() if n > WAITING.get(pattern, 0)}
    for place in seen:
        if place.pattern in too_many or "--list" in arguments:
            where = f"{place.page.relative_to(ROOT)}:{place.line}"
            print(f"{where}: {place.words!r}: write {WORDS[place.pattern]!r}")  # noqa: T201
    for pattern in sorted(too_many):
        allowed = WAITING.get(pattern, 0)
        print(f"{pattern!r}: {counts[pattern]} places, at most {allowed} allowed.")  # noqa: T201
    return 1 if too_many else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
