"""``ultraedit reproduce``: the paper's tables and figures, run again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._help import add, group
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.core.settings import EDITOR, FACTS, MACHINE, OUTPUT

if TYPE_CHECKING:
    from ultraedit.tools.reproduce import Artifact, Environment, Outcome, Step
    from ultraedit.tools.reproduce.names import Wanted

app = group(
    """Run the tables and figures of the paper again, and see ours beside the published numbers.

    Examples:
      ultraedit reproduce list
      ultraedit reproduce run table4 --scale smoke
    """
)

Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        help="Tables and figures, such as table4 or figure1; all for every one of the paper, long "
        "for the comparisons at length.",
        show_default=False,
    ),
]
ScaleName = Annotated[
    str,
    typer.Option(
        "--scale",
        help="How large: smoke takes minutes, small hours on two cores, long a day, paper the "
        "paper's models and sizes.",
        metavar="smoke|small|long|paper",
        rich_help_panel=FACTS,
        show_envvar=False,
    ),
]
Models = Annotated[
    list[str] | None,
    o._option(
        "--model",
        FACTS,
        "Model in place of all of the paper's, or NAME=MODEL for one of them, such as "
        "llama-3=./my-llama. May be repeated. \\[default: those of the scale]",
        "[NAME=]MODEL",
    ),
]
DataRoot = Annotated[
    Path | None,
    o._option(
        "--data-root",
        FACTS,
        "Folder with a folder of facts for each data set: zsre, fever, wikibigedit, "
        "ultraeditbench. \\[default: ULTRAEDIT_DATA, or ../shared/data]",
        "DIR",
    ),
]
Only = Annotated[
    list[str] | None,
    o._option(
        "--only",
        FACTS,
        "Make only the runs of this model, method or data set, such as memit or zsre. May be "
        "repeated. \\[default: everything]",
        "WORD",
    ),
]
Edits = Annotated[
    int | None,
    o._option(
        "--edits",
        FACTS,
        "Most edits of a run: the first of the scale's. \\[default: as many as the scale has]",
        "N",
        min=1,
    ),
]
Orders = Annotated[
    int | None,
    o._option(
        "--orders",
        FACTS,
        "Most orders of the facts that a comparison at length runs a quick editor in. "
        "\\[default: as many as the scale has]",
        "N",
        min=1,
    ),
]
Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="What the editors beside UltraEdit run by, where they have a choice: paper, this "
        "package's own, or official, that of their released code. UltraEdit's is official, as in "
        "the paper.",
        metavar="paper|official",
        rich_help_panel=FACTS,
        show_envvar=False,
    ),
]
WorkersOption = Annotated[
    str | None,
    o._option(
        "--workers",
        MACHINE,
        "Make so many runs at a time: N on this machine, each with its share of the cores, or "
        "slurm:N as jobs of Slurm, whose partition, account and time limit sbatch takes from "
        "SBATCH_PARTITION and the like. A run whose worker dies is resumed. \\[default: one run "
        "after the other]",
        "[slurm:]N",
    ),
]
Out = Annotated[
    Path | None,
    o._option(
        "--out",
        OUTPUT,
        "Folder of the reproduction: new, or one to go on with. \\[default: reproduction/SCALE]",
        "DIR",
    ),
]


def list_all(json: o.Json = False) -> None:
    r"""List the tables and figures.

    Examples:
      ultraedit reproduce list
      ultraedit reproduce list --json
    """
    from ultraedit.tools.reproduce import ARTIFACTS, LONG

    rows = [_facts(each) for each in (*ARTIFACTS.values(), *LONG.values())]
    if json:
        _output.write_json(rows)
    else:
        columns = ("id", "title", "runs")
        _output.table(columns, [[row[c] for c in columns] for row in rows], whole=["id"])


def show(
    ids: Ids,
    scale: ScaleName = "smoke",
    model: Models = None,
    data_root: DataRoot = None,
    only: Only = None,
    protocol: Protocol = "paper",
    edits: Edits = None,
    orders: Orders = None,
    out: Out = None,
    json: o.Json = False,
) -> None:
    r"""Show what a table or figure is made of, and how far that is.

    Examples:
      ultraedit reproduce show table4 --scale small
      ultraedit reproduce show all --scale paper --json
    """
    environment = _environment(
        scale, model, data_root, out, protocol=protocol, edits=edits, orders=orders
    )
    steps, left_out = _plan(environment, ids, only)
    _show(environment, steps, left_out, json=json)


def tune(
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...",
            help="Comparisons at length, such as long-zsre; long for all of them.",
            show_default=False,
        ),
    ],
    scale: ScaleName = "long",
    model: Models = None,
    data_root: DataRoot = None,
    editor: Annotated[
        list[str] | None,
        o._option(
            "--editor",
            EDITOR,
            "Search for this editor alone. May be repeated. \\[default: all that have a space]",
            "NAME",
        ),
    ] = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    workers: WorkersOption = None,
    dry_run: o.DryRun = False,
    out: Out = None,
    json: o.Json = False,
) -> None:
    r"""Choose the settings of every editor by 12 trials each, on rows that no table scores.

    Examples:
      ultraedit reproduce tune long-zsre --dry-run
      ultraedit reproduce tune long-zsre --editor lora --workers 2

    The trials are drawn from a declared space and are runs like others, over rows 5,001 to 5,060 in
    turns of 20. What is best by the harmonic mean of efficacy, generalization and agreement is what
    `reproduce run` then takes at the scale long. All trials are in trials/ of the reproduction.
    """
    from ultraedit.tools.reproduce import LONG, carry_out, find_artifacts, ordered
    from ultraedit.tools.reproduce.long import trial_runs
    from ultraedit.tools.reproduce.search import FOLDER, SPACE, best, collect, name_of, write
    from ultraedit.tools.reproduce.workers import carry_out_together, read_workers

    for name in editor or ():
        if name not in SPACE:
            raise ConfigError(f"There is no search for {name!r}. {did_you_mean(name, SPACE)}")
    environment = _environment(scale, model, data_root, out, dtype or "auto", device or "auto")
    together = None if workers is None else read_workers(workers)
    plans = [each for each in find_artifacts(tuple(ids)) if each.id in LONG]
    if not plans:
        raise ConfigError(
            f"A search is of a comparison at length, got {', '.join(ids)}. Give one of "
            f"{', '.join(LONG)}."
        )
    trials = {
        plan.id: {
            n: t for n, t in trial_runs(plan, environment).items() if not editor or n in editor
        }
        for plan in plans
    }
    every = [run for of in trials.values() for runs in of.values() for _, run in runs]
    steps: list[Step] = list(ordered(every))
    if dry_run:
        _show(environment, steps, {}, json=json)
        return
    _announce(environment, steps)
    if together is not None:
        outcome = carry_out_together(steps, environment.out, together)
    else:
        with progress() as observer:
            outcome = carry_out(steps, environment.out, observer)
    result: dict[str, Any] = {}
    for plan in plans:
        made = {n: collect(runs, environment.out) for n, runs in trials[plan.id].items()}
        first = next(plan.wanted())
        path = environment.out / FOLDER / name_of(environment.model(first.model), first.dataset)
        write(made, path)
        result[plan.id] = {"file": str(path), "best": {n: best(rows) for n, rows in made.items()}}
    if json:
        _output.write_json(result)
    else:
        _show_best(result)
    for place, why in outcome.failed.items():
        _output.message(f"{place} could not be made: {why}")


def _show_best(result: dict[str, Any]) -> None:
    """Print what was chosen for each editor."""
    for id, each in result.items():
        rows = [
            (
                name,
                "-" if row is None else f"{100 * row['objective']:.1f}",
                "-"
                if row is None
                else ", ".join(f"{n}={v}" for n, v in row["options"].items()) or "as it is",
            )
            for name, row in each["best"].items()
        ]
        _output.table(("editor", "mean, %", f"settings, {id}"), rows, right=["mean, %"])
        _output.line(each["file"])


def _show(
    environment: Environment, steps: list[Step], left_out: dict[str, str], *, json: bool
) -> None:
    """Print the pieces of a plan, how far each is, and about how long they take."""
    rows = [_step(step, environment.out) for step in steps]
    if json:
        _output.write_json({"out": str(environment.out), "steps": rows, "left_out": left_out})
        return
    _output.table(
        ("status", "piece, and what it is of"),
        # One above the other: beside each other they leave no room in a terminal of 80 columns.
        [(row["status"], f"{row['place']}\n{row['of']}".rstrip()) for row in rows],
        whole=["status"],
    )
    counts = Counter(row["status"] for row in rows)
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    _output.line(f"{environment.out}: {said or 'nothing to run'}{_left(environment, steps)}")
    reasons: dict[str, list[str]] = {}
    for name, why in left_out.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        _output.line(f"Left out, {why}: {'; '.join(names)}")


def run(
    ids: Ids,
    scale: ScaleName = "smoke",
    model: Models = None,
    data_root: DataRoot = None,
    only: Only = None,
    protocol: Protocol = "paper",
    dtype: o.Dtype = None,
    device: o.Device = None,
    edits: Edits = None,
    orders: Orders = None,
    workers: WorkersOption = None,
    dry_run: o.DryRun = False,
    out: Out = None,
    json: o.Json = False,
) -> None:
    r"""Make what is missing of tables and figures, and write them.

    Examples:
      ultraedit reproduce run table4 --scale smoke
      ultraedit reproduce run table2 --scale small --only ultraedit --only zsre
      ultraedit reproduce run all --scale paper --model llama-3=./llama

    Every run is an ordinary one in a folder of its own, which several tables may share. The same
    command goes on where it was stopped and repeats nothing that is finished. Each table comes as a
    page, CSV, LaTeX and JSON, which names the file and the field of every number; figures as a
    PNG too.
    """
    from ultraedit.tools.reproduce import RunRecords, carry_out, find_artifacts
    from ultraedit.tools.reproduce.workers import carry_out_together, read_workers

    environment = _environment(
        scale, model, data_root, out, dtype or "auto", device or "auto", protocol, edits, orders
    )
    together = None if workers is None else read_workers(workers)
    steps, left_out = _plan(environment, ids, only)
    if dry_run:
        _show(environment, steps, left_out, json=json)
        return
    _announce(environment, steps)
    try:
        if together is not None:
            outcome = carry_out_together(steps, environment.out, together)
        else:
            with progress() as observer:
                outcome = carry_out(steps, environment.out, observer)
    except KeyboardInterrupt:
        _output.message(f"What is finished stays in {environment.out}. The same command goes on.")
        raise
    records = RunRecords(environment)
    written: dict[str, list[str]] = {}
    for artifact in find_artifacts(tuple(ids)):
        records.missing.clear()
        paths = artifact.render(records).write(environment.out / artifact.id)
        written[artifact.id] = [str(path) for path in paths]
    _report(outcome, written, json=json)
    if outcome.failed:
        raise typer.Exit(1)


def _left(environment: Environment, steps: list[Step]) -> str:
    """About how long what is left of a plan takes, where anything is known of that."""
    from ultraedit.tools.reproduce.estimates import hours, seconds

    left = [step for step in steps if step.status(environment.out) != "done"]
    if not any(map(seconds, left)):
        return ""
    unknown = sum(seconds(step) is None for step in left)
    others = f", {unknown} of them not counted" if unknown else ""
    return f". About {hours(steps, environment.out):,.1f} hours on one core are left{others}."


def _announce(environment: Environment, steps: list[Step]) -> None:
    """Say how long a plan takes before it is begun."""
    _output.message(f"{len(steps):,} pieces in {environment.out}{_left(environment, steps)}")


def _report(outcome: Outcome, written: dict[str, list[str]], *, json: bool) -> None:
    """Print what was done and where it lies."""
    if json:
        _output.write_json(
            {
                "written": written,
                "made": outcome.made,
                "found": outcome.done_before,
                "failed": outcome.failed,
            }
        )
        return
    for place, why in outcome.failed.items():
        _output.message(f"{place} could not be made: {why}")
    _output.pairs(
        {
            "made now": len(outcome.made),
            "made before": len(outcome.done_before),
            "failed": len(outcome.failed) or None,
            **{
                id: next(path for path in paths if path.endswith(".md"))
                for id, paths in written.items()
            },
        }
    )


def _environment(
    scale: str,
    model: list[str] | None,
    data_root: Path | None,
    out: Path | None,
    dtype: str = "auto",
    device: str = "auto",
    protocol: str = "paper",
    edits: int | None = None,
    orders: int | None = None,
) -> Environment:
    from ultraedit.data import find_root
    from ultraedit.tools.reproduce import Environment, choose_models, find_scale

    out = out or Path("reproduction", scale)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out must be a folder, {out} is a file. Give another.")
    if protocol not in ("paper", "official"):
        raise ConfigError(f"protocol must be 'paper' or 'official', got {protocol!r}.")
    return Environment(
        find_scale(scale),
        out,
        find_root(data_root),
        choose_models(tuple(model or ())),
        device,
        dtype,
        cast("Literal['paper', 'official']", protocol),
        edits,
        orders,
    )


def _plan(
    environment: Environment, ids: list[str], only: list[str] | None
) -> tuple[list[Step], dict[str, str]]:
    """The pieces of plans, each once, and the runs that cannot be made here with why."""
    from ultraedit.tools.reproduce import choose, find_artifacts, ordered
    from ultraedit.tools.reproduce.environment import Unavailable

    steps: list[Step] = []
    left_out: dict[str, str] = {}
    for artifact in find_artifacts(tuple(ids)):
        chosen = choose(artifact, tuple(only or ()))
        steps += artifact.steps(environment, chosen)
        for wanted in sorted(chosen):
            try:
                environment.run(wanted)
            except Unavailable as error:
                left_out[str(wanted)] = str(error)
    if only and not steps and not left_out:
        raise ConfigError(
            f"--only {' --only '.join(only)} leaves no run of {', '.join(ids)}. "
            f"`ultraedit reproduce show {ids[0]}` without it lists them all."
        )
    return list(ordered(steps)), left_out


def _facts(artifact: Artifact) -> dict[str, Any]:
    from ultraedit.tools.reproduce.published import published

    runs: list[Wanted] = list(artifact.wanted())
    return {
        "id": artifact.id,
        "title": artifact.title,
        "runs": len(runs),
        "models": list(dict.fromkeys(each.model for each in runs)),
        "methods": list(dict.fromkeys(each.method for each in runs)),
        "datasets": list(dict.fromkeys(each.dataset for each in runs)),
        "published": published(artifact.id).source if artifact.printed else None,
    }


def _step(step: Step, out: Path) -> dict[str, Any]:
    from ultraedit.tools.reproduce import given_up
    from ultraedit.tools.reproduce.estimates import seconds
    from ultraedit.tools.reproduce.steps import Run

    settings = dict(step.settings) if isinstance(step, Run) else {}
    words = [str(settings[name]) for name in ("editor", "model", "data") if name in settings]
    options = settings.get("options", {}).items()
    words += [f"{name}={value}" for name, value in options if name != "net"]
    of = ", ".join(word.rpartition("/")[2] for word in words)
    status = "given up" if given_up(step, out) else step.status(out)
    shown = {"place": step.place, "status": status, "of": of, "settings": settings}
    return shown | {"seconds": seconds(step)}


add(app, "list", list_all)
add(app, "show", show)
add(app, "run", run)
add(app, "tune", tune)
