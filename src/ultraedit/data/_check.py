"""What is in a file of edits, and what is wrong with it, without stopping at the first fault."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice

from ultraedit.data._layout import Layout
from ultraedit.data._report import (
    EXAMPLES,
    BadRow,
    CheckReport,
    Example,
    FieldFault,
    Finding,
    TokenLengths,
)
from ultraedit.data._rows import Row, shown
from ultraedit.data._spec import DataSpec
from ultraedit.data._stream import no_rows, resolve
from ultraedit.data._table import Table
from ultraedit.errors import ConfigError, DataError
from ultraedit.types import Edit

CountTokens = Callable[[str, str], int]
"""Number of tokens that a model sees for a prompt and its target."""

_BAD_ROWS_KEPT = 100
_DIGEST_BITS = 64


def check(
    spec: DataSpec | str,
    *,
    encode: CountTokens | None = None,
    context_length: int | None = None,
    limit: int | None = None,
) -> CheckReport:
    """Read a file to its end and report what is in it.

    Bad rows are collected. Of the prompts only 64-bit digests are kept, about 150 bytes a row,
    so sets of millions of rows can be checked.

    Args:
        spec: The file and its format, as a `DataSpec` or as ``FORMAT:PATH``.
        encode: Counts the tokens of a prompt and its target under a model. A row for which it
            raises a `DataError` is a bad one. None counts none.
        context_length: Most tokens that the model takes. None takes any number.
        limit: Look at the first so many rows. None looks at all.

    Returns:
        The report. A file that cannot be read to its end gives one too, with its `error`.

    Raises:
        ConfigError: If the format is unknown, the limit is not positive, or `context_length`
            is given without `encode`.
        DataError: If there is no such file.
    """
    if context_length is not None and encode is None:
        raise ConfigError(
            f"context_length {context_length} says nothing without encode; give both."
        )
    spec, layout = resolve(spec, limit)
    tally = _Tally(layout, encode, context_length)
    rows = layout.rows(spec.path)
    error, columns = None, {}
    try:
        if isinstance(layout, Table) and (places := layout.find_columns(spec.path)) is not None:
            columns = places.used
        for row in islice(rows, limit):
            tally.add(row)
    except DataError as failure:
        error = str(failure)
    if tally.rows == 0 and error is None:
        error = no_rows(spec)
    return tally.report(str(spec), error, columns)


class _Tally:
    """Counts that grow row by row."""

    def __init__(
        self, layout: Layout, encode: CountTokens | None, context_length: int | None
    ) -> None:
        self.rows = 0
        self._layout = layout
        self._encode = encode
        self._context_length = context_length
        self._bad_rows = 0
        self._bad: list[BadRow] = []
        self._fields: dict[tuple[str, str], _Places] = {}
        self._newest: dict[int, int] = {}
        self._duplicates = _Cases()
        self._conflicts = _Cases()
        self._leaks = _Cases()
        self._too_long = _Cases()
        self._coverage: Counter[str] = Counter()
        self._lengths = array("L")

    def add(self, row: Row) -> None:
        """Take one more row into account."""
        self.rows += 1
        faults = self._layout.faults(row)
        for fault in faults:
            key = (fault.field or "", fault.problem)
            self._fields.setdefault(key, _Places()).add(row)
        if faults:
            self._add_bad(row, faults[0].sentence)
            return
        edit = self._layout.edit_of(row, seed=0)
        self._coverage.update(_parts(edit))
        self._compare(row, edit)
        if appears(edit.target, edit.prompt):
            self._leaks.add(row, edit)
        self._measure(row, edit)

    def report(
        self, data: str, error: str | None, columns: Mapping[str, Sequence[str]]
    ) -> CheckReport:
        """Sum up."""
        return CheckReport(
            data=data,
            columns=columns,
            ok=error is None and not self._bad_rows and not self._too_long.count,
            error=error,
            rows=self.rows,
            bad_rows=self._bad_rows,
            bad=tuple(self._bad),
            fields=tuple(
                FieldFault(field, problem, places.count, tuple(places.rows), tuple(places.lines))
                for (field, problem), places in self._fields.items()
            ),
            duplicates=self._duplicates.finding(),
            conflicts=self._conflicts.finding(),
            target_in_prompt=self._leaks.finding(),
            coverage=dict(self._coverage),
            tokens=self._token_lengths(),
        )

    def _add_bad(self, row: Row, reason: str) -> None:
        self._bad_rows += 1
        if len(self._bad) < _BAD_ROWS_KEPT:
            self._bad.append(BadRow(row.number, row.line, reason))

    def _compare(self, row: Row, edit: Edit) -> None:
        """Look for the newest earlier row with this prompt, and become it."""
        prompt, target = _digest(edit.prompt), _digest(edit.target)
        earlier = self._newest.get(prompt)
        # Row number and target in one integer: a tuple would take twice the memory.
        self._newest[prompt] = row.number << _DIGEST_BITS | target
        if earlier is None:
            return
        number, before = divmod(earlier, 1 << _DIGEST_BITS)
        self._duplicates.add(row, edit, number)
        if before != target:
            self._conflicts.add(row, edit, number)

    def _measure(self, row: Row, edit: Edit) -> None:
        if self._encode is None:
            return
        try:
            length = self._encode(edit.prompt, edit.target)
        except DataError as failure:
            self._add_bad(row, str(failure))
            return
        self._lengths.append(length)
        if self._context_length is not None and length > self._context_length:
            self._too_long.add(row, edit)

    def _token_lengths(self) -> TokenLengths | None:
        if not self._lengths:
            return None
        lengths = sorted(self._lengths)
        return TokenLengths(
            min=lengths[0],
            median=_quantile(lengths, 0.5),
            p95=_quantile(lengths, 0.95),
            max=lengths[-1],
            context_length=self._context_length,
            too_long=self._too_long.finding(),
        )


class _Places:
    """How many rows, and where the first of them stand."""

    def __init__(self) -> None:
        self.count = 0
        self.rows: list[int] = []
        self.lines: list[int] = []

    def add(self, row: Row) -> None:
        self.count += 1
        if len(self.rows) < EXAMPLES:
            self.rows.append(row.number)
            self.lines.append(row.line)


class _Cases:
    """How many edits, and what the first of them are."""

    def __init__(self) -> None:
        self.count = 0
        self._examples: list[Example] = []

    def add(self, row: Row, edit: Edit, earlier_row: int | None = None) -> None:
        self.count += 1
        if len(self._examples) < EXAMPLES:
            prompt, target = (
                shown(text, quote=False, length=200) for text in (edit.prompt, edit.target)
            )
            self._examples.append(Example(row.number, row.line, prompt, target, earlier_row))

    def finding(self) -> Finding:
        return Finding(self.count, tuple(self._examples))


def appears(target: str, prompt: str) -> bool:
    """Whether `target` stands in `prompt` as whole words, in whatever case.

    Scripts that are written without spaces have no word boundaries, so there any place counts.
    """
    target, prompt = target.strip().casefold(), prompt.casefold()
    if target not in prompt:
        return False
    before = r"(?<!\w)" if _is_word_edge(target[0]) else ""
    after = r"(?!\w)" if _is_word_edge(target[-1]) else ""
    return re.search(before + re.escape(target) + after, prompt) is not None


def _is_word_edge(letter: str) -> bool:
    # From U+2E80 on: Chinese, Japanese, Korean. Thai, Lao and Khmer stand lower and go without.
    return letter.isalnum() and letter < "\u2e80"


def _parts(edit: Edit) -> Iterator[str]:
    """Name what an edit has beside its prompt and target."""
    for name in ("subject", "rephrases", "locality", "aliases"):
        if getattr(edit, name):
            yield name
    if any(question.target is not None for question in edit.locality):
        yield "locality_target"
    for name, asked in edit.probes.items():
        if asked:
            yield f"probes.{name}"


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=_DIGEST_BITS // 8).digest(), "big")


def _quantile(ordered: list[int], share: float) -> int:
    """The smallest value that at least `share` of all values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
