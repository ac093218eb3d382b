"""The file of facts of a command: its columns as the user names them, and a look at its rows."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError

if TYPE_CHECKING:
    from ultraedit.core.types import Edit
    from ultraedit.data._report import Finding
    from ultraedit.models import LanguageModel

ByKind = Mapping[str, "Finding"]
"""Findings by their kind, a key of `ultraedit.data.KINDS`."""

SHOWN = 3
"""Rows that are shown before anything is written."""


def with_columns(data: str | None, columns: str | None) -> str | None:
    """Name the columns of a file of facts within its name.

    Args:
        data: The file, as ``FORMAT:PATH`` or a path; None if none was given.
        columns: ``PART=COLUMN`` pairs, as the user gave them.

    Raises:
        ConfigError: If there is no file for the columns, or they cannot be read.
    """
    if columns is None:
        return data
    if data is None:
        raise ConfigError("--columns names columns of a file of facts: give the file with --data.")
    from ultraedit.data import parse_spec
    from ultraedit.data._columns import parse_columns

    return str(parse_spec(data).with_columns(parse_columns(columns)))


def show_first_rows(data: str, *, ask: bool) -> None:
    """Show what is read from a file whose columns are found by their names.

    Args:
        data: The file, as ``FORMAT:PATH``. One with keys of its own is not shown.
        ask: Whether to ask a user at a terminal to go on.

    Raises:
        DataError: If the file cannot be read.
    """
    from ultraedit.data import stream
    from ultraedit.data._stream import resolve
    from ultraedit.data._table import TableLayout

    spec, layout = resolve(data, SHOWN)
    if not layout.guesses:
        return
    if isinstance(layout, TableLayout) and (plan := layout.find_columns(spec.path)) is not None:
        said = [f"{part} from {_listed(names)}" for part, names in plan.used.items()]
        unused = f"; not used: {_listed(plan.unused)}" if plan.unused else ""
        _output.message(f"{spec.path}: {', '.join(said)}{unused}.")
    edits = list(stream(spec, limit=SHOWN))
    _output.table(
        ["id", "prompt", "target"],
        [(edit.id, edit.prompt, edit.target) for edit in edits],
        title="The first facts" if len(edits) > 1 else "The first fact",
        stderr=True,
    )
    if ask and sys.stdin.isatty() and sys.stderr.isatty():
        typer.confirm("Write facts such as these?", default=True, abort=True, err=True)


def look_at(data: str, model: str, limit: int | None, seed: int, run: Path | None = None) -> ByKind:
    """Find what the facts of a run should be looked at for, and show it.

    Args:
        data: The file, as ``FORMAT:PATH``.
        model: Whose tokens are counted, where an answer may be too long.
        limit: Look at the first so many rows. None looks at all.
        seed: That of the run.
        run: The folder of the run that they are added to; None for a new run.

    Raises:
        UltraEditError: If a row cannot be used, or there is no such run or model.
    """
    from ultraedit.cli._check import show_findings
    from ultraedit.data import Findings, find, stream

    findings = Findings(count_answer=AnswerTokens(model), run=facts_of_run(run))
    summed_up = find(stream(data, limit=limit, seed=seed), findings)
    show_findings(summed_up, stderr=True)
    return summed_up


class AnswerTokens:
    """Counts the tokens of an answer, by a tokenizer that is loaded when it is first needed."""

    def __init__(self, model: str) -> None:
        """Name the model."""
        self._model = model
        self._tokenizer: Any = None

    def __call__(self, answer: str) -> int:
        """Count."""
        if self._tokenizer is None:
            from ultraedit.models import load_tokenizer

            self._tokenizer = load_tokenizer(self._model)
        return len(self._tokenizer(f" {answer}", add_special_tokens=False)["input_ids"])


class Knowing:
    """Asks a model which facts it knows, without teaching it any."""

    def __init__(self, model: LanguageModel) -> None:
        """Take a loaded model."""
        self._model = model

    def __call__(self, edits: Sequence[Edit]) -> list[bool]:
        """Whether its own answer to each prompt is the target; no where the prompt is too long."""
        from ultraedit.evaluation.metrics import exact_match
        from ultraedit.evaluation.scoring import MIN_TOKENS, SPARE_TOKENS
        from ultraedit.models.generation import generate

        tokenizer, longest = self._model.tokenizer, self._model.context_length
        targets = [[edit.target, *edit.aliases] for edit in edits]
        tokens = [max(len(tokenizer(text)["input_ids"]) for text in texts) for texts in targets]
        limits = [max(MIN_TOKENS, count + SPARE_TOKENS) for count in tokens]
        short = [
            at
            for at, edit in enumerate(edits)
            if longest is None or len(tokenizer(edit.prompt)["input_ids"]) + limits[at] <= longest
        ]
        with progress() as observer:
            observer.stage("Asking the model", len(short))
            answers = generate(
                self._model,
                [edits[at].prompt for at in short],
                max_new_tokens=[limits[at] for at in short],
                observer=observer,
            )
        known = {
            at for at, said in zip(short, answers, strict=True) if exact_match(said, targets[at])
        }
        return [at in known for at in range(len(edits))]


def facts_of_run(folder: Path | None) -> set[int]:
    """The facts that a run has, as `Findings` takes them; none of no run.

    Raises:
        ConfigError: If the folder holds no run.
    """
    if folder is None:
        return set()
    from ultraedit.data._repeats import fact
    from ultraedit.runs.store import JOURNAL, Journal

    journal = Journal.open(folder / JOURNAL)
    try:
        return {fact(prompt, target) for prompt, target in journal.facts()}
    finally:
        journal.close()


def _listed(names: Iterable[str]) -> str:
    return " and ".join(map(repr, names))
