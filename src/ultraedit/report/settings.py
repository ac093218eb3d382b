"""The end of the page of a run: its settings, where each came from, and how to do it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ultraedit.core.sources import of_editor, option_source
from ultraedit.report.blocks import Block, Break, Code, Heading, Line, Listing, Paragraph, Table
from ultraedit.report.command import reproduce_command
from ultraedit.report.formats import MISSING
from ultraedit.report.reading import FinishedRun


def settled(run: FinishedRun) -> Iterator[Block]:
    """The two sections."""
    yield Heading("Settings")
    yield _settings(run)
    yield Heading("How to reproduce")
    yield Paragraph(f"With {_versions(run)}:")
    yield Listing(reproduce_command(run.config["settings"], f"{run.folder.name}-again"))


def _settings(run: FinishedRun) -> Table:
    """What was set, and where each value came from; runs of older versions do not say."""
    summary, settings = run.summary, run.config["settings"]
    resolved = summary["resolved"]
    sources = resolved.get("sources", {})
    rows: list[tuple[str, Line, str | None]] = [
        ("model", Code(summary["model"]), "user"),
        ("data", Code(summary["data"]), "user"),
        ("editor", Code(summary["editor"]), sources.get("editor")),
        *(
            (
                of_editor(name) if name == "seed" else name,
                value_of(value),
                option_source(sources, name),
            )
            for name, value in resolved["options"].items()
        ),
        ("modules", _lines_of(resolved["modules"]), sources.get("modules")),
        ("preset", Code(resolved["preset"]), sources.get("preset")),
        ("source of the preset", resolved["preset_source"], None),
        ("edits per turn", f"{settings['edits_per_turn']:,}", sources.get("edits_per_turn")),
        ("dtype", Code(resolved["dtype"]), sources.get("dtype")),
        ("device", Code(resolved["device"]), sources.get("device")),
        ("seed", value_of(settings["seed"]), sources.get("seed")),
        ("versions", _versions(run), None),
        ("machine", ", ".join(map(str, run.config["machine"].values())), None),
        ("started", run.config["started"], None),
    ]
    cells = [[name, value, source or ""] for name, value, source in rows]
    return Table(["setting", "value", "from"], cells, "lll")


def value_of(value: Any) -> Line:
    """A setting as a cell."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return Code(str(value))


def _lines_of(names: list[str]) -> Line:
    """Names below each other."""
    return [piece for name in names for piece in (Break(), Code(name))][1:]


def _versions(run: FinishedRun) -> str:
    return ", ".join(f"{name} {number}" for name, number in run.config["versions"].items())
