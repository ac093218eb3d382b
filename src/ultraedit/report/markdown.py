"""The page of a run: what was done, how it went, what it cost and how to do it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ultraedit.metrics import forgetting_curve, retention
from ultraedit.report.escaping import code, escape, table
from ultraedit.report.formats import (
    MISSING,
    format_bytes,
    format_change,
    format_count,
    format_number,
    format_percent,
    format_seconds,
)
from ultraedit.report.reading import FinishedRun, History
from ultraedit.report.reproducing import reproduce_command
from ultraedit.report.scores import METRICS, ScoreRow, perplexity_line
from ultraedit.report.watched import watched
from ultraedit.types import Answer

PLOTS = ("metrics.png", "speed_memory.png", "norms.png")
"""File names of the plots, in the order in which the page shows them."""

CURVES = "curves.png"
RETENTION = "retention.png"
"""The plots of runs that were scored after several turns."""

_MEANINGS = {
    "efficacy": "the edited prompts get their new answers",
    "generalization": "other ways of asking them get the new answers too",
    "specificity": "unrelated questions get their gold answers",
    "agreement": "unrelated questions get the unedited model's answers",
}


def page(run: FinishedRun, rows: Sequence[ScoreRow], answers: Sequence[Answer]) -> str:
    """Write the whole page.

    Args:
        run: The finished run.
        rows: Its scores.
        answers: The examples to show.
    """
    metrics, speed, norms = PLOTS
    summary = run.summary
    sections = [
        f"# {_plain(summary['editor'])}: {format_count(summary['edits'], 'edit')} "
        f"of {_plain(summary['model'])}",
        _headline(run, rows),
        *_notes(run),
        "## Scores",
        _scores(rows),
        _meanings(rows),
        *filter(None, [perplexity_line(summary)]),
        f"![Scores before and after the edits]({metrics})",
        *_curves(run),
        *_retention(run),
        "## Speed and memory",
        _costs(run),
        f"![Edits per second and peak memory over the turns]({speed})",
        "## Weight changes",
        "Size of the accumulated change of each edited weight against that of the unedited "
        "weight, ‖ΔW‖ / ‖W‖ in the Frobenius norm, after the last turn.",
        _norms(run),
        f"![Weight changes over the turns]({norms})",
        *watched(run.history.seen),
        "## Examples",
        _examples(answers),
        "## Settings",
        _settings(run),
        "## How to reproduce",
        f"With {_versions(run)}:",
        f"```sh\n{reproduce_command(run.config['settings'], _other_folder(run))}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def scored_again(history: History) -> bool:
    """Whether edits were scored both soon after they were made and later."""
    return len({scored.turn for scored in history.efficacy} - {0}) > 1


def _curves(run: FinishedRun) -> Iterator[str]:
    """The scores on the way, where there are any."""
    points = run.history.points
    if len(points) < 2:
        return
    yield "## Over the run"
    newest = points[-1].newest is not None
    header = ["edits made", "scored", *METRICS]
    header += [f"newest {name}" for name in METRICS[:-1]] if newest else []
    read = points[-1].scores.get("perplexity") is not None
    header += ["perplexity"] if read else []
    rows = []
    for point in points:
        scores = [point.scores.get(name) for name in METRICS]
        if newest:
            scores += [(point.newest or {}).get(name) for name in METRICS[:-1]]
        cells = [f"{point.edits:,}", f"{point.scored:,}"]
        cells += [format_percent(score) for score in scores]
        cells += [format_number(point.scores.get("perplexity"))] if read else []
        rows.append(cells)
    yield table(header, rows, "r" * len(header))
    yield f"![Scores over the edits made]({CURVES})"


def _retention(run: FinishedRun) -> Iterator[str]:
    """How the edits hold, where that was looked at more than once."""
    if not scored_again(run.history):
        return
    curve = forgetting_curve(retention(run.history.efficacy))
    young, old = curve[0], curve[-1]
    yield "## Retention"
    yield (
        "Efficacy by the turn in which an edit was made and the turn after which it was asked, "
        f"and by its age: {format_percent(young.score)} {_age(young.age)}, "
        f"{format_percent(old.score)} {_age(old.age)}. Turn 0 is the unedited model."
    )
    yield f"![Efficacy by turn and by age]({RETENTION})"


def _age(turns: int) -> str:
    return f"{format_count(turns, 'turn')} after the edit" if turns else "right after the edit"


def _headline(run: FinishedRun, rows: Sequence[ScoreRow]) -> str:
    summary, resolved = run.summary, run.summary["resolved"]
    scores = ", ".join(
        f"{row.name} {format_percent(row.forced_before)} to {format_percent(row.forced_after)}"
        for row in rows[:3]
        if row.forced
    )
    return (
        f"**{_plain(summary['editor'])} made {format_count(summary['edits'], 'edit')} in "
        f"{format_count(summary['turns'], 'turn')} to {code(summary['model'])} with the facts of "
        f"{code(summary['data'])}, in {resolved['dtype']} on {resolved['device']}.** "
        f"Before and after: {scores or MISSING}. "
        f"{format_number(summary['edits_per_second'])} edits per second, peak memory "
        f"{format_bytes(summary['peak_memory_bytes'])}."
    )


def _notes(run: FinishedRun) -> Iterator[str]:
    """What a reader of the numbers has to know, where it happened."""
    overruled, settings = run.summary["overruled"], run.config["settings"]
    if overruled:
        were = "edit was" if overruled == 1 else "edits were"
        yield (
            f"Note: {overruled:,} {were} overruled by a later edit of the same prompt, and "
            "scored against the newest answer."
        )
    last, whole = (run.history.edits or [0])[-1], settings["edits_per_turn"]
    if last < whole:
        which = "last" if len(run.history.edits) > 1 else "only"
        yield (
            f"Note: the {which} turn was short, with {format_count(last, 'edit')} where "
            f"{whole:,} make a turn. It was run like any other."
        )
    for name, remark in run.summary.get("remarks", {}).items():
        yield f"Note: {_plain(name)}: {_plain(remark)}."
    scored, sample = run.summary.get("scored", 0), settings.get("score_sample")
    if sample is not None and scored < run.summary["edits"]:
        yield (
            f"Note: scores are of a sample of {format_count(scored, 'edit')}, drawn before the "
            "run; on the way, of those of them that had been made."
        )
    asked = settings.get("free_answers")
    asked_of = scored if sample is not None else run.summary["edits"]
    if asked is not None and 0 < asked < asked_of:
        yield (
            f"Note: {asked:,} of the {format_count(asked_of, 'edit')}, evenly spaced, "
            "were also asked freely; exact match is over these."
        )


def _scores(rows: Sequence[ScoreRow]) -> str:
    forced = [
        [
            escape(row.name),
            format_percent(row.forced_before),
            format_percent(row.forced_after),
            format_change(row.forced_before, row.forced_after),
        ]
        for row in rows
    ]
    header = ["metric", "before", "after", "change"]
    if not any(row.generated for row in rows):
        return table(header, forced, "lrrr") + "\n\nThe model was not asked freely."
    free = [
        [
            format_percent(row.generated_before),
            format_percent(row.generated_after),
            format_change(row.generated_before, row.generated_after),
        ]
        for row in rows
    ]
    cells = [left + right for left, right in zip(forced, free, strict=True)]
    return table([*header, *(f"free {name}" for name in header[1:])], cells, "lrrrrrr")


def _meanings(rows: Sequence[ScoreRow]) -> str:
    lines = [f"- {name}: {meaning}." for name, meaning in _MEANINGS.items()]
    if len(rows) > len(METRICS):
        lines.append("- the others: further questions of the data, by their name in it.")
    return (
        "Teacher-forced token accuracy, as the paper scores; under *free*, exact match of greedy "
        "answers. Changes are in percentage points.\n\n" + "\n".join(lines)
    )


def _costs(run: FinishedRun) -> str:
    summary = run.summary
    on_gpu = summary["resolved"]["device"].startswith("cuda")
    memory = "allocated on the GPU" if on_gpu else "resident, of the whole process"
    rows = [
        ["edits", f"{summary['edits']:,} in {format_count(summary['turns'], 'turn')}"],
        ["editing", format_seconds(summary["edit_seconds"])],
        ["edits per second", format_number(summary["edits_per_second"])],
        ["evaluation, before and after", format_seconds(run.history.evaluation_seconds)],
        ["peak memory", f"{format_bytes(summary['peak_memory_bytes'])}, {memory}"],
    ]
    return table(["", ""], rows, "lr")


def _norms(run: FinishedRun) -> str:
    rows = [
        [code(path), f"{format_number(100 * norms[-1])}%"]
        for path, norms in run.history.norms.items()
    ]
    return table(["module", "‖ΔW‖ / ‖W‖"], rows, "lr") if rows else "No weight was changed."


def _examples(answers: Sequence[Answer]) -> str:
    if not answers:
        return "The model was not asked freely."
    rows = [
        [
            escape(answer.kind),
            escape(answer.prompt),
            escape(answer.target) if answer.target else "*as before*",
            escape(answer.before) or "*nothing*",
            escape(answer.after) or "*nothing*",
            "right" if answer.correct else "wrong",
        ]
        for answer in answers
    ]
    return (
        "Right and wrong answers of every kind in turn, evenly spaced over the run: how many are "
        "right here says nothing. All of them are in `answers.jsonl`.\n\n"
        + table(["kind", "question", "wanted", "before", "after", ""], rows, "llllll")
    )


def _settings(run: FinishedRun) -> str:
    """What was set, and where each value came from; runs of older versions do not say."""
    summary, settings = run.summary, run.config["settings"]
    resolved = summary["resolved"]
    sources = resolved.get("sources", {})
    rows = [
        ["model", code(summary["model"]), "user"],
        ["data", code(summary["data"]), "user"],
        ["editor", code(summary["editor"]), sources.get("editor")],
        *(
            [escape(name), _value(value), sources.get(name)]
            for name, value in resolved["options"].items()
        ),
        ["modules", "<br>".join(map(code, resolved["modules"])), sources.get("modules")],
        ["preset", code(resolved["preset"]), sources.get("preset")],
        ["source of the preset", escape(resolved["preset_source"]), None],
        ["edits per turn", f"{settings['edits_per_turn']:,}", sources.get("edits_per_turn")],
        ["dtype", code(resolved["dtype"]), sources.get("dtype")],
        ["device", code(resolved["device"]), sources.get("device")],
        ["seed", _value(settings["seed"]), sources.get("seed")],
        ["versions", _versions(run), None],
        ["machine", escape(", ".join(map(str, run.config["machine"].values()))), None],
        ["started", escape(run.config["started"]), None],
    ]
    return table(
        ["setting", "value", "from"],
        [[name, value, escape(source or "")] for name, value, source in rows],
        "lll",
    )


def _value(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return code(str(value))


def _versions(run: FinishedRun) -> str:
    return ", ".join(escape(f"{name} {number}") for name, number in run.config["versions"].items())


def _plain(name: str) -> str:
    """A name without the folders before it, where a path would drown the sentence."""
    return escape(name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1])


def _other_folder(run: FinishedRun) -> str:
    return f"{run.folder.name}-again"
