"""From options to a run to its results: what ``run``, ``edit`` and ``demo`` share."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.cli import _output
from ultraedit.cli._facts import look_at, show_first_rows
from ultraedit.cli._progress import progress
from ultraedit.cli._settings import EditorFlags
from ultraedit.core.errors import ConfigError, ProcessError
from ultraedit.runs.config import RunConfig, read_config

if TYPE_CHECKING:
    from ultraedit.runs.workflow import RunResult


def settle(
    given: Mapping[str, Any], *, config: Path | None = None, assignments: Sequence[str] = ()
) -> RunConfig:
    """Put the settings of a run together.

    Args:
        given: Settings from the command line, None where it has none.
        config: A file of settings, which those of the command line beat.
        assignments: Options of the editor as ``NAME=VALUE``.

    Raises:
        ConfigError: If a setting is missing, unknown or of the wrong kind.
    """
    values = {} if config is None else dict(_with_options(read_config(config)))
    chosen = dict(_with_options({key: value for key, value in given.items() if value is not None}))
    options = values.get("options", {})
    if not isinstance(options, dict):
        raise ConfigError(f"options in {config} must be a table such as {{eta = 1e-3}}.")
    options = options | chosen.get("options", {}) | dict(_assignment(text) for text in assignments)
    return RunConfig(**{**values, **chosen, "options": options})


def _with_options(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The same settings, with the editor's flags among its options and names as in Python."""
    options = values.get("options", {})
    for key, value in values.items():
        name = key.replace("-", "_")
        if name in EditorFlags.model_fields and isinstance(options, dict):
            options = {name: value} | options
        elif name != "options":
            yield name, value
    if options:
        yield "options", options


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise ConfigError(f"--set takes NAME=VALUE, such as variance=released, got {text!r}.")
    return name.strip().replace("-", "_"), value.strip()


def default_out(config: RunConfig) -> Path:
    """Choose a folder for a run that was given none: the first free number counts."""
    from ultraedit.data import parse_spec

    model = Path(config.model)
    # Every run calls its model "model"; the run's own name says more.
    name = model.resolve().parent.name if model.name == "model" else model.name
    name = re.sub(r"[^\w.-]+", "-", name.removesuffix(".gguf")) or "model"
    stem = f"{config.editor}-{name}-{parse_spec(config.data).format}"
    return next(path for n in count(1) if not (path := Path("runs", f"{stem}-{n}")).exists())


def carry_out(config: RunConfig, out: Path) -> RunResult:
    """Do a run in front of the user.

    Raises:
        UltraEditError: If it cannot be done.
    """
    with progress() as observer, resumable(out):
        observer.stage("Getting ready")
        from ultraedit.runs.workflow import run

        return run(config, out, observer)


def go_on(folder: Path, *, json: bool) -> None:
    """Finish an interrupted run in front of the user."""
    with progress() as observer, resumable(folder):
        observer.stage("Getting ready")
        from ultraedit.runs.workflow import resume

        done = resume(folder, observer)
    if done is None:
        _output.message(f"The run in {folder} is finished: there is nothing to resume.")
        if json:
            _output.write_json({"folder": str(folder), "finished": True})
        return
    show(done, json=json)


def add_to(folder: Path, changes: dict[str, Any], *, yes: bool, strict: bool, json: bool) -> None:
    """Add facts to a run in front of the user."""
    from ultraedit.runs.store import JOURNAL, Journal

    journal = Journal.open(folder / JOURNAL)
    first = journal.jobs()[0]
    journal.close()
    config = RunConfig.of_added(first, changes)
    look_at_facts(config, folder, strict=strict, yes=yes, ask=not json)
    with progress() as observer, resumable(folder):
        observer.stage("Getting ready")
        from ultraedit.runs.workflow import append

        done = append(folder, changes, observer)
    show(done, json=json)


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Say how to go on with a job that Ctrl-C ends, or the end of one of its processes."""
    try:
        yield
    except (KeyboardInterrupt, ProcessError):
        if folder.is_dir():
            _output.message(
                f"Every finished turn is in {folder}. Go on with:\n"
                f"  {shlex.join(['ultraedit', 'run', '--resume', str(folder)])}"
            )
        raise


def refuse_beside(option: str, others: Mapping[str, Any]) -> None:
    """Refuse settings that an existing run has already.

    Raises:
        ConfigError: If there is one.
    """
    given = [name for name, value in others.items() if value is not None and value is not False]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{option} takes the settings of that run: leave out {flags}.")


def start(
    config: RunConfig, out: Path | None, *, dry_run: bool, yes: bool, strict: bool, json: bool
) -> None:
    """Do a run, or say what it would do, and print the outcome."""
    from ultraedit.runs.workflow import check_settings

    check_settings(config, out or default_out(config))
    look_at_facts(config, None, strict=strict, yes=yes, ask=not (json or dry_run))
    if dry_run:
        from ultraedit.cli._plan import make_plan, show_plan

        plan = make_plan(config, out or default_out(config))
        _output.write_json(plan) if json else show_plan(plan)
        return
    show(carry_out(config, out or default_out(config)), json=json)


def look_at_facts(
    config: RunConfig, run: Path | None, *, strict: bool, yes: bool, ask: bool
) -> None:
    """Show what will be written, and what is strange about it, before it is."""
    from ultraedit.cli._check import require_none

    findings = look_at(config.data, config.model, config.edit_limit, config.seed, run)
    if strict:
        require_none(findings)
    if not yes:
        show_first_rows(config.data, ask=ask)


def show(done: RunResult, *, json: bool) -> None:
    """Print the result of a run."""
    if json:
        _output.write_json({"folder": str(done.folder)} | done.summary)
    else:
        show_result(done)


def show_result(done: RunResult) -> None:
    """Print the scores of a run, what it cost, and where everything lies."""
    from ultraedit.report import format_bytes, format_count, format_number, format_seconds

    summary, folder = done.summary, done.folder
    _output.scores(summary)
    _output.line()
    edits = format_count(summary["edits"], "edit")
    overruled = (
        f", {summary['overruled']:,} overruled by later ones" if summary["overruled"] else ""
    )
    model = folder / "model"
    _output.pairs(
        {
            "scores of": _scored(done),
            "edited": f"{edits} in {format_count(summary['turns'], 'turn')}{overruled}",
            "newest": _newest(summary),
            "generation": _generated(done),
            "speed": f"{format_number(summary['edits_per_second'])} edits per second "
            f"({format_seconds(summary['edit_seconds'])} in all)",
            "peak memory": format_bytes(summary["peak_memory_bytes"]),
            "modules from": summary["resolved"]["sources"].get("modules"),
            **summary["remarks"],
            "report": folder / "report.md",
            "page": folder / "report.html",
            "plots": ", ".join(plot.name for plot in sorted(folder.glob("*.png"))) or None,
            "edited model": model if model.is_dir() else None,
        }
    )
    if model.is_dir():
        _output.line()
        _output.line(f"Try next: {_question(done)}")
    _show_verdict(summary["verdict"])


def _show_verdict(verdict: Mapping[str, Any]) -> None:
    """The last words: what somebody has to know who will use the model."""
    _output.line()
    if verdict["forced"]:
        _output.line(verdict["forced"])
    _output.line(verdict["text"])


def _scored(done: RunResult) -> str | None:
    """Which edits the scores are of, where these are not all."""
    scored = done.summary["scored"]
    if scored == done.summary["edits"]:
        return None
    if scored == done.config.score_sample:
        return f"a sample of {scored:,} edits"
    return f"the {scored:,} edits that were added now"


def _newest(summary: Mapping[str, Any]) -> str | None:
    """How the edits do that were made last, where that was asked."""
    from ultraedit.report import METRICS, format_count, format_percent, label

    if summary["newest"] is None:
        return None
    scores = summary["newest"]["scores"]
    said = [
        f"{label(name)} {format_percent(scores[name])}"
        for name in METRICS
        if scores.get(name) is not None
    ]
    return f"{format_count(summary['newest']['edits'], 'edit')}: {', '.join(said)}"


def _question(done: RunResult) -> str:
    """A command that shows what the edits did."""
    from ultraedit.report import examples

    shown = examples(done.folder, 1)
    prompt = shown[0].prompt if shown else "..."
    model = str(done.folder / "model")
    beside = ["--beside", done.summary["model"]]
    chat = ["--chat"] if "in chat" in done.summary["verdict"]["counts"] else []
    return shlex.join(["ultraedit", "ask", model, prompt, *chat, *beside])


def _generated(done: RunResult) -> str:
    """How many edits the scores of free generation are of."""
    asked, edits = done.config.free_answers, done.summary["scored"]
    return f"{min(edits, asked if asked is not None else edits):,} of these edits"
