"""What a server tells of its run: facts with their status, turns, and the health of the model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ultraedit import data
from ultraedit.core.errors import DataError
from ultraedit.core.types import Edit
from ultraedit.data.enrichment import TemplateWriter, enrich
from ultraedit.evaluation.monitors import LIMITS
from ultraedit.runs.store import Journal, StoredEdit
from ultraedit.serve.engine import Engine
from ultraedit.serve.questions import Asked
from ultraedit.serve.turns import Preview, Taught

REVIEWED = 2000
"""Rows of a file that are reviewed at once."""


@contextmanager
def reading(engine: Engine) -> Iterator[Journal]:
    """The run's journal, to be read."""
    journal = engine.journal()
    try:
        yield journal
    finally:
        journal.close()


class FactReader:
    """The facts of a run with what has become of them."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        """Read what is needed to tell of one."""
        self._engine, self._journal = engine, journal
        self._newest = {each.edit.prompt: each.row for each in journal.standing()}
        self._authors = {
            (entry.number, entry.undone): entry for entry in journal.turns(undone=True)
        }

    def all(self, query: str = "", status: str | None = None) -> Iterator[dict[str, Any]]:
        """Facts with a text in them, newest first."""
        for stored in reversed(list(self._journal.find(query))):
            told = self.tell(stored)
            if status is None or told["status"] == status:
                yield told

    def one(self, row: int) -> tuple[StoredEdit, dict[str, Any]] | None:
        """One of them by its number."""
        for stored in self._journal.find(""):
            if stored.row == row:
                return stored, self.tell(stored)
        return None

    def tell(self, stored: StoredEdit) -> dict[str, Any]:
        """A fact as it is told."""
        entry = self._authors.get((stored.turn, stored.undone))
        tested = self._engine.tested(stored.row)
        edit = stored.edit
        return {
            "id": stored.row,
            "name": edit.id,
            "prompt": edit.prompt,
            "target": edit.target,
            "subject": edit.subject,
            "rephrases": list(edit.rephrases),
            "aliases": list(edit.aliases),
            "status": self._status(stored),
            "tested": None
            if tested is None
            else {"turn": tested.turn, "forms": tested.forms, "answers": tested.answers},
            "turn": stored.turn,
            "author": None if entry is None else entry.author,
            "written": None if entry is None else entry.finished,
            "reverted_by": stored.reverted_by,
        }

    def _status(self, stored: StoredEdit) -> str:
        if stored.undone is not None:
            return "rolled back"
        if stored.reverted_by is not None:
            return "reverted"
        if self._newest.get(stored.edit.prompt, stored.row) != stored.row:
            return "overruled"
        tested = self._engine.tested(stored.row)
        if tested is None:
            return "untested"
        return "holds" if tested.holds else "forgotten"


def history(engine: Engine) -> dict[str, Any]:
    """The turns of a run, those that were rolled back too, with their scores and who asked."""
    with reading(engine) as journal:
        checkpoints = {each.record["turn"]: each.record for each in journal.checkpoints()}
        turns = []
        for entry in journal.turns(undone=True):
            stands = entry.undone is None
            noted = checkpoints.get(entry.number) if stands else None
            turns.append(
                {
                    "turn": entry.number,
                    "kind": entry.kind,
                    "author": entry.author,
                    "finished": entry.finished,
                    "undone": entry.undone,
                    "edits": entry.record["edits"],
                    "total_edits": entry.record["total_edits"],
                    "seconds": entry.record["seconds"],
                    "norm": max(entry.record["norms"].values(), default=None),
                    "digest": journal.digest(entry.number) if stands else None,
                    "scores": None if noted is None else noted["scores"],
                    "seen": None if noted is None else noted.get("monitors", {}).get("serve"),
                    "facts": [_fact(each) for each in _facts_of(journal, entry)] if stands else [],
                }
            )
        return {
            "model": journal.value("settings")["model"],
            "editor": journal.value("settings")["editor"],
            "head": journal.head(),
            "holding": journal.holding(),
            "turns": turns,
            "audit": journal.value("audit") or [],
        }


def _facts_of(journal: Journal, entry: Any) -> list[StoredEdit]:
    if entry.kind == "revert":
        return journal.taken_out(entry.number)
    return journal.turn_edits(entry.number)


def _fact(stored: StoredEdit) -> dict[str, Any]:
    return {"id": stored.row, "prompt": stored.edit.prompt, "target": stored.edit.target}


def health(engine: Engine) -> dict[str, Any]:
    """How the model is, and what the server does."""
    run = engine.run
    newest = None if run is None or not engine.is_ready else run.seen.get(run.version.name)
    return {
        "status": "ending" if engine.is_ending else "ready" if engine.is_ready else "starting",
        "model": engine.model,
        "run": str(engine.path.name),
        "editor": None if run is None else run.journal_editor,
        "read_only": engine.read_only,
        "turn": newest.turn if newest else 0,
        "system_fingerprint": None if run is None else run.version.name,
        "at_work": engine.at_work,
        "waiting": {"requests": engine.generator.waiting, "facts": engine.waiting_facts},
        "running": engine.generator.running,
        "seen": None if newest is None else asdict(newest),
        "guard": {
            name: {"threshold": value, "is_most": LIMITS[name].most, "text": LIMITS[name].text}
            for name, value in engine.guard.thresholds.items()
        },
        "refused_turns": engine.refusals,
    }


def preview(previewed: Preview) -> dict[str, Any]:
    """What a turn would do, as it is told."""
    return {
        "preview": True,
        "facts": [[_asked(each) for each in asked] for asked in previewed.questions],
        "controls": [_asked(each) for each in previewed.controls],
        "controls_changed": sum(each.right is False for each in previewed.controls),
        "overrules": [_fact(each) for each in previewed.overrules],
        "seconds": previewed.seconds,
        "norm": previewed.norm,
        "refused": previewed.refused,
    }


def _asked(asked: Asked) -> dict[str, Any]:
    return asked._asdict()


def taught(engine: Engine, written: Taught) -> dict[str, Any]:
    """A turn that was written, as it is told."""
    with reading(engine) as journal:
        facts = FactReader(engine, journal)
        rows = set(written.rows)
        edits = [facts.tell(each) for each in journal.turn_edits(written.turn) if each.row in rows]
    return {
        "preview": False,
        "turn": written.turn,
        "seconds": written.seconds,
        "norm": written.norm,
        "edits": edits,
        "overrules": [_fact(each) for each in written.overruled],
    }


def review(engine: Engine, content: bytes, kind: str) -> dict[str, Any]:
    """Read a file of facts and lay it out to be accepted, changed or dropped, row by row.

    Args:
        engine: The engine, for the facts that its run has.
        content: The file's bytes.
        kind: ``csv``, ``tsv`` or ``jsonl``.

    Raises:
        DataError: If it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="ultraedit-review-") as folder:
        path = Path(folder) / f"upload.{kind}"
        path.write_bytes(content)
        try:
            edits = data.read(f"{kind}:{path}", limit=REVIEWED + 1)
        except DataError as error:  # The path is the server's own and says nothing to the caller.
            raise DataError(str(error).replace(str(path), "The file")) from None
    if len(edits) > REVIEWED:
        raise DataError(f"The file has more than {REVIEWED:,} facts. Send it in parts.")
    with reading(engine) as journal:
        known = journal.newest({edit.prompt for edit in edits})
    seen: dict[str, str] = {}
    rows = []
    for made in enrich(edits, TemplateWriter()):
        edit = made.edit
        rows.append(
            {
                "prompt": edit.prompt,
                "target": edit.target,
                "subject": edit.subject,
                "rephrases": list(edit.rephrases),
                "aliases": list(edit.aliases),
                "findings": _findings(edit, seen.get(edit.prompt), known.get(edit.prompt)),
                "reason": made.reason,
            }
        )
        seen[edit.prompt] = edit.target
    return {"rows": rows}


def _findings(edit: Edit, earlier: str | None, known: Edit | None) -> list[str]:
    """What should be looked at before a fact is written."""
    findings = []
    if earlier is not None:
        same = earlier == edit.target
        findings.append(data.KINDS["repetition" if same else "contradiction"])
    if known is not None:
        same = known.target == edit.target
        findings.append(
            data.KINDS["in_run"] if same else f"the run says {known.target!r}, which this overrules"
        )
    if "\n" in edit.target:
        findings.append(data.KINDS["several_lines"])
    return findings
