"""Runs side by side, from their folders: which can be compared, and the page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import refuse_existing, write_bytes, write_text
from ultraedit.report.comparison import Compared, Comparison, LeftOut, figures, remarks
from ultraedit.report.comparison_page import comparison_page
from ultraedit.report.reading import FinishedRun, read_run
from ultraedit.runs.store import JOURNAL, Journal

ENDINGS = (".html", ".md")


class _Origin(NamedTuple):
    """What a run started from, as far as it is known: older folders have names alone."""

    model: str
    dtype: str
    fingerprint: str | None
    """Of the unedited weights, as they were loaded."""
    data: tuple[str, ...]
    """The facts of each job: their hash, or the name where there is none."""


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Lay finished runs side by side; the first one says what the others must have in common.

    Args:
        folders: Two run folders or more.

    Raises:
        ConfigError: If there are fewer, one is named twice, or one is no finished run.
    """
    if len(folders) < 2:
        raise ConfigError("A comparison needs two runs or more. Give the folder of another one.")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("One run is named twice. Give each folder once.")
    named = dict(zip(_names(folders), map(read_run, folders), strict=True))
    (first, base), *_ = named.items()
    origin = _origin(base)
    runs, left_out = [], []
    for name, run in named.items():
        why = _differs(first, origin, _origin(run))
        if why is None:
            runs.append(Compared(name, run, figures(run)))
        else:
            left_out.append(LeftOut(name, why))
    return Comparison(runs, left_out, tuple(remarks(runs)))


def write_comparison(comparison: Comparison, out: Path) -> list[Path]:
    """Write a comparison as one page of HTML, or as Markdown with its plots beside it.

    Args:
        comparison: The runs.
        out: The page; its ending says which of the two.

    Returns:
        What was written, the page last.

    Raises:
        ConfigError: If the ending is another one, or something of the name is there.
        StorageError: If it cannot be written.
    """
    check_out(out)
    if out.suffix == ".html":
        write_text(out, comparison_page(comparison, "plot").html)
        return [out]
    page = comparison_page(comparison, out.stem)
    written = [out.parent / name for name in page.pictures]
    for path in written:
        write_bytes(path, page.drawings[path.name].png)
    write_text(out, page.markdown)
    return [*written, out]


def check_out(out: Path) -> None:
    """Check that a page may have a name.

    Raises:
        ConfigError: If it has no ending that says what it is, or is there.
    """
    if out.suffix not in ENDINGS:
        raise ConfigError(
            f"--out must end with {' or '.join(ENDINGS)}, got {out}. "
            "The first is one page for a browser, the second Markdown with plots beside it."
        )
    refuse_existing(out, empty_folder=False)


def _names(folders: Sequence[Path]) -> list[str]:
    """Names of the folders, with as much of their paths as tells them apart."""
    paths = [folder.resolve() for folder in folders]
    for parts in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _origin(run: FinishedRun) -> _Origin:
    summary, journal = run.summary, run.folder / JOURNAL
    model, dtype = summary["model"], summary["resolved"]["dtype"]
    if not journal.exists():
        return _Origin(model, dtype, None, (f"name {summary['data']}",))
    opened = Journal.open(journal)
    try:
        fingerprint = opened.value("fingerprint")
        return _Origin(model, dtype, fingerprint, tuple(job.data_sha256 for job in opened.jobs()))
    finally:
        opened.close()


def _differs(first: str, ours: _Origin, theirs: _Origin) -> str | None:
    """Why a run cannot be compared with the first one; None if it can."""
    known = ours.fingerprint is not None and theirs.fingerprint is not None
    # The same weights in another precision have another fingerprint.
    if known and ours.dtype == theirs.dtype:
        other = ours.fingerprint != theirs.fingerprint
    else:
        other = ours.model != theirs.model
    if other:
        return (
            f"its unedited model, {theirs.model}, is not that of {first}, {ours.model}, so that "
            "the scores start from different places."
        )
    if ours.data != theirs.data:
        return f"its facts are not those of {first}, so that the scores are of different questions."
    return None
