"""What is in a file of edits, and what is wrong with it, without stopping at the first fault."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Edit
from ultraedit.core.writing_systems import joined
from ultraedit.data._findings import ANSWER_TOKENS, CountedEdits, EditLocation, Findings
from ultraedit.data._layout import Layout
from ultraedit.data._report import (
    EXAMPLES,
    BadRow,
    CheckReport,
    FieldFault,
    TokenLengths,
)
from ultraedit.data._rows import Row
from ultraedit.data._spec import DataSpec
from ultraedit.data._stream import no_rows, resolve
from ultraedit.data._table import TableLayout
from ultraedit.data._wording import Oddity, OddWordings

CountTokens = Callable[[str, str], int]
"""Number of tokens that a model sees for a prompt and its target."""

Knows = Callable[[Sequence[Edit]], Sequence[bool]]
"""Whether a model gives the target of each edit to its prompt."""

ASKED = 100
"""Facts that a model is asked where it is to say which it knows."""

_BAD_ROWS_KEPT = 100


def check(
    spec: DataSpec | str,
    *,
    encode: CountTokens | None = None,
    context_length: int | None = None,
    count_answer: Callable[[str], int] | None = None,
    answer_tokens: int = ANSWER_TOKENS,
    knows: Knows | None = None,
    ask_first: int = ASKED,
    run: Collection[int] = (),
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
        count_answer: Counts the tokens of an answer under a model. None counts none.
        answer_tokens: Tokens above which an answer is named.
        knows: Asks a model which facts it knows. None asks none.
        ask_first: How many facts are asked, the first of the file.
        run: The facts that a run has already, as `fact` in `_repeats` gives them.
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
    findings = Findings(count_answer=count_answer, answer_tokens=answer_tokens, run=run)
    ask_first = 0 if knows is None else ask_first
    tally = _Tally(layout, encode, context_length, findings, ask_first)
    rows = layout.rows(spec.path)
    error, columns = None, {}
    try:
        if (
            isinstance(layout, TableLayout)
            and (places := layout.find_columns(spec.path)) is not None
        ):
            columns = places.used
        for row in islice(rows, limit):
            tally.add(row)
    except DataError as failure:
        error = str(failure)
    if knows is not None:
        tally.ask(knows)
    if tally.rows == 0 and error is None:
        error = no_rows(spec)
    return tally.report(str(spec), error, columns)


class _Tally:
    """Counts that grow row by row."""

    def __init__(
        self,
        layout: Layout,
        encode: CountTokens | None,
        context_length: int | None,
        findings: Findings,
        ask_first: int,
    ) -> None:
        self.rows = 0
        self._layout = layout
        self._encode = encode
        self._context_length = context_length
        self._bad_rows = 0
        self._bad: list[BadRow] = []
        self._fields: dict[tuple[str, str], _Places] = {}
        self._findings = findings
        self._duplicates = CountedEdits()
        self._conflicts = CountedEdits()
        self._leaks = CountedEdits()
        self._too_long = CountedEdits()
        self._wording = OddWordings()
        self._odd: dict[Oddity, CountedEdits] = defaultdict(CountedEdits)
        self._coverage: Counter[str] = Counter()
        self._lengths = array("L")
        self._ask_first = ask_first
        self._known: list[tuple[EditLocation, Edit]] = []

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
        place = EditLocation(row.number, row.line)
        self._compare(place, edit)
        if appears(edit.target, edit.prompt):
            self._leaks.add(place, edit)
        for kind in self._wording.add(row.number, edit):
            self._odd[kind].add(place, edit)
        self._measure(row, edit)
        if len(self._known) < self._ask_first:
            self._known.append((place, edit))

    def ask(self, knows: Knows) -> None:
        """Ask a model the first facts."""
        edits = [edit for _, edit in self._known]
        for (place, edit), is_known in zip(self._known, knows(edits), strict=True):
            if is_known:
                self._findings.note("known", place, edit)

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
            blank_at_end=self._odd["blank_at_end"].finding(),
            blank_around_target=self._odd["blank_around_target"].finding(),
            placeholder=self._odd["placeholder"].finding(),
            wording=tuple(self._wording.sentences()),
            findings=self._findings.summed_up(),
            coverage=dict(self._coverage),
            tokens=self._token_lengths(),
        )

    def _add_bad(self, row: Row, reason: str) -> None:
        self._bad_rows += 1
        if len(self._bad) < _BAD_ROWS_KEPT:
            self._bad.append(BadRow(row.number, row.line, reason))

    def _compare(self, place: EditLocation, edit: Edit) -> None:
        """Look for the newest earlier row with this prompt, letter by letter and folded."""
        earlier = self._findings.add(place, edit).exact
        if earlier is None:
            return
        self._duplicates.add(place, edit, earlier.row)
        if not earlier.same_target:
            self._conflicts.add(place, edit, earlier.row)

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
            self._too_long.add(EditLocation(row.number, row.line), edit)

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


def appears(target: str, prompt: str) -> bool:
    """Whether `target` stands in `prompt` as whole words, in whatever case.

    Scripts that are written without spaces have no word boundaries, so there any place counts.
    """
    target, prompt = target.strip().casefold(), prompt.casefold()
    places = re.finditer(f"(?={re.escape(target)})", prompt)
    return any(_stands_apart(prompt, at.start(), at.start() + len(target)) for at in places)


def _stands_apart(text: str, start: int, end: int) -> bool:
    """Whether what is between two places of a text is of other words than what is around it."""
    before, after = text[:start][-1:], text[end : end + 1]
    return not joined(before, text[start]) and not joined(text[end - 1], after)


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


def _quantile(ordered: list[int], share: float) -> int:
    """The smallest value that at least `share` of all values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
