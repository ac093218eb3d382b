"""How the outcome of ``ultraedit data check`` looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ultraedit.cli import _output

if TYPE_CHECKING:
    from ultraedit.data import CheckReport
    from ultraedit.data._report import Example, Finding

BAD_ROWS = 10
"""Bad rows that are shown; ``--json`` has more."""


def show_report(report: CheckReport) -> None:
    """Print what is in a file, then what is wrong with it."""
    tokens = report.tokens
    facts = {
        "file": report.data,
        "columns": _columns(report),
        "rows": f"{report.rows:,}",
        "that cannot be used": f"{report.bad_rows:,}",
        "that repeat a prompt": f"{report.duplicates.count:,}",
        "of these with another target": f"{report.conflicts.count:,}",
        "with the target in the prompt": f"{report.target_in_prompt.count:,}",
        "with a prompt that ends in a blank": f"{report.blank_at_end.count:,}",
        "with white space around a target": f"{report.blank_around_target.count:,}",
        "with {} left in a prompt": f"{report.placeholder.count:,}",
    }
    facts |= {f"with {name}": f"{count:,}" for name, count in report.coverage.items()}
    if tokens is not None:
        facts["tokens"] = (
            f"{tokens.min} to {tokens.max}, median {tokens.median}, 95% up to {tokens.p95}"
        )
        if tokens.context_length is not None:
            facts["too long for the model"] = (
                f"{tokens.too_long.count:,} (it reads {tokens.context_length:,} tokens)"
            )
    _output.pairs(facts)
    for sentence in report.wording:
        _output.line()
        _output.line(sentence)
    _show_faults(report)
    show_findings(report.findings)
    _show_finding("Repeated prompts with another target", report.conflicts)
    if tokens is not None:
        _show_finding("Too long for the model", tokens.too_long)


def _columns(report: CheckReport) -> str | None:
    """Which columns of a table hold what."""
    said = [f"{part} from {' and '.join(names)}" for part, names in report.columns.items()]
    return ", ".join(said) or None


def _show_faults(report: CheckReport) -> None:
    if report.fields:
        _output.line()
        _output.table(
            ["field", "problem", "rows", "first lines"],
            [
                (fault.field, fault.problem, f"{fault.count:,}", ", ".join(map(str, fault.lines)))
                for fault in report.fields
            ],
            title="Faults by field",
            right=["rows"],
        )
    if report.bad:
        _output.line()
        _output.table(
            ["line", "what is wrong"],
            [(f"{bad.line:,}", bad.reason) for bad in report.bad[:BAD_ROWS]],
            title=f"The first of {report.bad_rows:,} rows that cannot be used"
            if report.bad_rows > BAD_ROWS
            else "Rows that cannot be used",
            right=["line"],
        )


def show_findings(findings: Mapping[str, Finding], *, stderr: bool = False) -> None:
    """Print what facts should be looked at for, a line each; nothing if there is nothing."""
    from ultraedit.data import KINDS

    if not findings:
        return
    if not stderr:
        _output.line()
    _output.table(
        ["to look at", "facts", "first rows", "such as"],
        [
            (
                KINDS[kind],
                f"{finding.count:,}",
                ", ".join(_rows(example) for example in finding.examples[:3]),
                _example(finding.examples[0]),
            )
            for kind, finding in findings.items()
        ],
        title="Facts to look at before they are written",
        right=["facts"],
        stderr=stderr,
    )


def require_none(findings: Mapping[str, Finding]) -> None:
    """Refuse facts that should be looked at, as ``--strict`` asks.

    Raises:
        DataError: If there are any.
    """
    from ultraedit.core.errors import DataError
    from ultraedit.data import KINDS

    if findings:
        said = "; ".join(f"{finding.count:,}: {KINDS[kind]}" for kind, finding in findings.items())
        raise DataError(f"Facts are to be looked at ({said}). Correct them, or leave out --strict.")


def _rows(example: Example) -> str:
    earlier = "" if example.earlier_row is None else f" (as {example.earlier_row:,})"
    return f"{example.row:,}{earlier}"


def _example(example: Example) -> str:
    """A fact in one short line."""
    from ultraedit.data._rows import shown

    prompt, target = (
        shown(text, quote=True, length=40) for text in (example.prompt, example.target)
    )
    return f"{prompt}: {target}"


def _show_finding(title: str, finding: Finding) -> None:
    if finding.count:
        _output.line()
        _output.table(
            ["line", "prompt", "target", "repeats row"],
            [(e.line, e.prompt, e.target, e.earlier_row) for e in finding.examples],
            title=title,
            right=["line", "repeats row"],
        )
