"""How the outcome of ``ultraedit data check`` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ultraedit.cli import _output

if TYPE_CHECKING:
    from ultraedit.data import CheckReport
    from ultraedit.data._report import Finding

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
    _show_faults(report)
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


def _show_finding(title: str, finding: Finding) -> None:
    if finding.count:
        _output.line()
        _output.table(
            ["line", "prompt", "target", "repeats row"],
            [(e.line, e.prompt, e.target, e.earlier_row) for e in finding.examples],
            title=title,
            right=["line", "repeats row"],
        )
