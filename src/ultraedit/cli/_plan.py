"""``--dry-run``: prints everything that a run would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.cli.plan import show

if TYPE_CHECKING:
    from ultraedit.runs.config import RunConfig


def make_plan(config: RunConfig, out: Path) -> dict[str, Any]:
    """Find out what a run would do, and say what is odd about its facts.

    Raises:
        UltraEditError: If it could not be done, as the run itself would.
    """
    with progress() as observer:
        observer.stage("Getting ready")
        from ultraedit.tools.plan.dry_run import dry_run

        return dry_run(config, out, observer, _output.message)


def show_plan(plan: dict[str, Any]) -> None:
    """Print a plan."""
    from ultraedit.report import format_bytes, format_count

    last = plan["edits_in_last_turn"]
    short = f", the last of only {last}" if last < plan["edits_per_turn"] else ""
    saved = (
        f"{format_bytes(plan['model_bytes'])} for the model" if plan["model_bytes"] else "little"
    )
    _output.pairs(
        {
            "model": f"{plan['model']} in {plan['dtype']} on {plan['device']}",
            "data": f"{plan['data']}: {format_count(plan['edits'], 'edit')} with "
            f"{format_count(plan['answer_tokens'], 'answer token')}",
            "turns": f"{plan['turns']:,} of {plan['edits_per_turn']:,} edits{short}",
            "out": f"{plan['out']}: takes {saved}, {format_bytes(plan['free_bytes'])} are free",
        }
    )
    _output.line()
    _output.table(
        ["option", "value", "from"],
        [(each["name"], each["value"], each["from"]) for each in plan["options"]],
        title=f"Editor {plan['editor']}",
    )
    _output.line()
    _output.table(
        ["module", "inputs", "outputs"],
        [(each["path"], each["d_in"], each["d_out"]) for each in plan["modules"]],
        title=f"Modules ({plan['modules_from']})",
        right=["inputs", "outputs"],
    )
    _output.line()
    show(plan["predicted"])
    _output.line()
    _output.line("Nothing was written. Leave out --dry-run to do it.")
