"""Where the edits of a job come from: a list, or a file that is read as it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from ultraedit import data
from ultraedit.core.encoding import about_appended
from ultraedit.core.types import CheckingEditor, Edit, Editor, write_rephrases
from ultraedit.data import DataSpec, OddWordings
from ultraedit.data.streams.sampling import EditPanel, draw, whole

CHECKED_AT_ONCE = 1000
"""Edits that an editor looks at together before the first turn."""


class EditSource(Protocol):
    """Edits in their order, to be read from any place and as often as needed."""

    @property
    def total(self) -> int:
        """How many there are."""
        ...

    @property
    def panel(self) -> EditPanel:
        """Those that are scored."""
        ...

    @property
    def wording(self) -> OddWordings:
        """What is odd in how they are written."""
        ...

    def after(self, done: int = 0) -> Iterator[Edit]:
        """All edits behind the first so many."""
        ...


class InMemory:
    """A list of edits as a source. All of them are scored unless a sample is asked for."""

    def __init__(self, edits: Sequence[Edit], sample: int | None = None, seed: int = 0) -> None:
        """Take a list, and draw the sample if there is to be one."""
        self._edits = edits
        self.panel = whole(edits) if sample is None else draw(edits, sample, seed)[1]

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._edits)

    @property
    def wording(self) -> OddWordings:
        """What is odd in how they are written."""
        return OddWordings.of(self._edits)

    def after(self, done: int = 0) -> Iterator[Edit]:
        """All edits behind the first so many."""
        return islice(iter(self._edits), done, None)


@dataclass(frozen=True)
class FromFile:
    """A file of edits as a source: every reader opens it anew, nobody holds it."""

    spec: DataSpec | str
    limit: int | None
    seed: int
    total: int
    panel: EditPanel
    use_rephrases: int = 0
    wording: OddWordings = field(default_factory=OddWordings, compare=False)

    @classmethod
    def survey(
        cls,
        spec: DataSpec | str,
        *,
        limit: int | None,
        seed: int,
        sample: int,
        use_rephrases: int = 0,
    ) -> FromFile:
        """Read a file once from end to end: look at each row, count them, and draw the sample.

        Args:
            spec: The file and its format.
            limit: Take the first so many rows. None takes all.
            seed: Decides what is drawn, in rows that offer a choice and for the sample.
            sample: Most edits that are scored.
            use_rephrases: How many rephrases of each are edited on.

        Raises:
            ConfigError: If the format is unknown or the limit is not positive.
            DataError: If the file, or any row within the limit, cannot be used.
        """
        wording = OddWordings()
        edits = wording.watched(data.stream(spec, limit=limit, seed=seed))
        total, panel = draw((write_rephrases(e, use_rephrases) for e in edits), sample, seed)
        return cls(spec, limit, seed, total, panel, use_rephrases, wording)

    def after(self, done: int = 0) -> Iterator[Edit]:
        """All edits behind the first so many, which are passed over without being made."""
        if done >= self.total:
            return iter(())
        edits = data.stream(self.spec, limit=self.limit, seed=self.seed, skip=done)
        return (write_rephrases(edit, self.use_rephrases) for edit in edits)


def oddities(source: EditSource, tokenizer: Any) -> list[str]:
    """What a user should know before the first turn, of the facts and of the tokenizer.

    None of it stops a run; `encoding` has what is done about it. Facts are named by their rows.

    Args:
        source: The edits.
        tokenizer: The model's.
    """
    appended = about_appended(tokenizer)
    return [*source.wording.sentences(), *([appended] if appended else [])]


def check(editor: Editor, source: EditSource) -> None:
    """Let an editor refuse edits that it could not make, before the first turn.

    Raises:
        DataError: If there are any.
    """
    if not isinstance(editor, CheckingEditor):
        return
    edits = source.after()
    while part := list(islice(edits, CHECKED_AT_ONCE)):
        editor.check(part)
