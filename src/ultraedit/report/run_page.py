"""The page of a run: what was done, how it went, what it cost and how to do it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ultraedit.core.files import write_bytes, write_text
from ultraedit.core.sources import of_editor, option_source
from ultraedit.core.types import Answer
from ultraedit.evaluation import metrics
from ultraedit.report import plots
from ultraedit.report.command import reproduce_command
from ultraedit.report.examples import Cases, choose_cases, sample
from ultraedit.report.formats import (
    MISSING,
    format_bytes,
    format_change,
    format_count,
    format_number,
    format_percent,
    format_seconds,
    short_path,
)
from ultraedit.report.html import Page
from ultraedit.report.markdown import Markdown, code, shorten_text, table
from ultraedit.report.reading import CheckpointPoint, FinishedRun, History, MonitorValues, read_run
from ultraedit.report.scores import (
    METRICS,
    ScoreRow,
    controls_label,
    is_controls,
    label,
    metric_of,
    perplexity_line,
    scores_table,
)

PLOTS = ("metrics.png", "speed_memory.png", "norms.png")
"""File names of the plots that every run has."""

CURVES, RETENTION, ABILITY = "curves.png", "retention.png", "ability.png"
"""The plots of runs that were scored after several turns, and of general ability."""

EXAMPLES = 8
"""Answers that the page shows, unless the data has so many kinds that each needs two."""

CASES = 10
"""Edits that the page shows as best, as worst and as drawn."""

_GUARD = "guard"
"""The remark that nobody should miss."""

_PROBES = {
    "chat": "the same questions inside the model's own chat template",
    "few-shot": "the same questions behind examples, which are unrelated questions with answers",
    "reverse": "asked backwards, the edit's subject is the answer",
    "affirmed": "the fact as a statement is ended with its new answer, all of it",
    "negated": "the negated statement is ended with it too, which is wrong; lower is better",
}
"""By the first word of a row's name."""

_MONITORS = (
    ("KL on locality prompts, nats", "locality", "kl", format_number),
    ("top-1 agreement on locality prompts", "locality", "agreement", format_percent),
    *(
        (f"{metrics.METRICS[name].title} on the control set", "control", name, format_percent)
        for name in metrics.ALONE
        if metrics.METRICS[name].of_fact
    ),
)
"""Name, monitor, its value, and how that is written."""


def write(folder: Path) -> None:
    """Write ``report.md``, its plots and ``report.html``, from the four files of a finished run.

    The pages come last, so that one that is there never lacks a plot.

    Args:
        folder: A folder with ``summary.json``, ``config.json``, ``records.jsonl`` and
            ``answers.jsonl``.

    Raises:
        ConfigError: If it holds no finished run, or one of the files is damaged.
        StorageError: If the report cannot be written.
    """
    run = read_run(folder)
    rows = scores_table(run.summary)
    asked = sum(not is_controls(row.name) for row in rows)
    answers = sample(folder, max(EXAMPLES, 2 * (asked - 1)))
    page = run_page(run, rows, answers, choose_cases(folder, CASES))
    for name, drawing in page.drawings.items():
        write_bytes(folder / name, drawing.png)
    write_text(folder / "report.html", page.html)
    write_text(folder / "report.md", page.markdown)


def run_page(
    run: FinishedRun, rows: Sequence[ScoreRow], answers: Sequence[Answer], cases: Cases
) -> Page:
    """What the template ``run.md.j2`` shows.

    Args:
        run: The finished run.
        rows: Its scores.
        answers: The examples to show.
        cases: The edits to show.
    """
    history = run.history
    pictures = {
        PLOTS[0]: lambda: plots.draw_metrics(rows),
        PLOTS[1]: lambda: plots.draw_speed_and_memory(history),
        PLOTS[2]: lambda: plots.draw_norms(history),
    }
    if len(history.points) > 1:
        pictures[CURVES] = lambda: plots.draw_curves(history.points)
    aged = ""
    if len({scored.turn for scored in history.efficacy} - {0}) > 1:  # soon after, and later
        matrix = metrics.retention(history.efficacy)
        curve = metrics.forgetting_curve(matrix)
        aged = ", ".join(f"{format_percent(p.score)} {_age(p.age)}" for p in (curve[0], curve[-1]))
        pictures[RETENTION] = lambda: plots.draw_retention(matrix)
    if has_ability(history.seen):
        pictures[ABILITY] = lambda: plots.draw_ability(history.seen)
    values = {
        **_headline(run, rows),
        **_scores(run, rows),
        **curves(history.points),
        "retention": aged,
        "costs": _costs(run),
        "norms": _norms(history),
        **monitors(history.seen),
        "examples": _examples(answers),
        "cases": _cases(cases),
        "settings": _settings(run),
        "versions": _versions(run),
        "command": reproduce_command(run.config["settings"], f"{run.folder.name}-again"),
    }
    return Page("run.md.j2", values, pictures)


def _headline(run: FinishedRun, rows: Sequence[ScoreRow]) -> dict[str, Any]:
    """The title, what was done, the figures that matter most, and the notes."""
    summary, resolved = run.summary, run.summary["resolved"]
    edits, editor = format_count(summary["edits"], "edit"), short_path(summary["editor"])
    return {
        "title": f"{editor}: {edits} of {short_path(summary['model'])}",
        "editor": editor,
        "edits": edits,
        "turns": format_count(summary["turns"], "turn"),
        "model": summary["model"],
        "data": summary["data"],
        "dtype": resolved["dtype"],
        "device": resolved["device"],
        "verdict": (summary.get("verdict") or {}).get("text"),
        "tiles": "\n".join("\t".join(tile) for tile in _tiles(summary, rows)),
        "sentence": _sentence(summary, rows),
        "guard": summary.get("remarks", {}).get(_GUARD),
        "notes": list(_notes(run)),
    }


def _sentence(summary: Mapping[str, Any], rows: Sequence[ScoreRow]) -> str:
    """Free generation first: it is what a user of the model gets."""
    # Agreement with the unedited model starts at 100 % and is no gain.
    gains = {metric.title for metric in metrics.METRICS.values() if not metric.against_unedited}
    shown = [row for row in rows if row.name in gains]
    free = [
        f"{row.name} {format_percent(row.generated_before)} to "
        f"{format_percent(row.generated_after)}"
        for row in shown
        if row.generated
    ]
    forced = [
        f"{row.name} {format_percent(row.forced_before)} to {format_percent(row.forced_after)}"
        for row in shown
        if row.forced
    ]
    generated = f"Free generation, before and after: {', '.join(free)}. " if free else ""
    return (
        f"{generated}Teacher-forced, before and after: {', '.join(forced) or MISSING}. "
        f"{format_number(summary['edits_per_second'])} edits per second, peak memory "
        f"{format_bytes(summary['peak_memory_bytes'])}."
    )


def _tiles(summary: Mapping[str, Any], rows: Sequence[ScoreRow]) -> Iterator[tuple[str, str, str]]:
    """Figures that are seen before anything is read: their names, their values and notes."""
    scored = [row for row in rows if metric_of(row.name) or is_controls(row.name)]
    scores = [
        (f"{row.name}, free generation", row.generated_before, row.generated_after)
        for row in scored
        if row.generated
    ] + [
        (f"{row.name}, teacher-forced", row.forced_before, row.forced_after)
        for row in scored
        if row.forced
    ]
    for name, before, after in scores:
        yield name, format_percent(after), f"{format_percent(before)} before"
    read = summary["after"].get("perplexity")
    if read is not None:
        before = summary["before"].get("perplexity")
        note = "" if before is None else f"{format_number(before)} before"
        yield "perplexity on the text", format_number(read), note
    yield "edits per second", format_number(summary["edits_per_second"]), ""
    yield "peak memory", format_bytes(summary["peak_memory_bytes"]), ""


def _notes(run: FinishedRun) -> Iterator[str]:
    """What a reader of the numbers has to know, where it happened."""
    summary, settings = run.summary, run.config["settings"]
    if overruled := summary["overruled"]:
        were = "edit was" if overruled == 1 else "edits were"
        yield (
            f"{overruled:,} {were} overruled by a later edit of the same prompt, and scored "
            "against the newest answer."
        )
    last, whole = (run.history.edits or [0])[-1], settings["edits_per_turn"]
    if last < whole and len(run.history.edits) > 1:
        yield (
            f"the last turn was short, with {format_count(last, 'edit')} where {whole:,} make "
            "a turn. It was run like any other."
        )
    for name, remark in summary.get("remarks", {}).items():
        if name != _GUARD:
            yield f"{name}: {remark}."
    edits, scored, sampled = (
        summary["edits"],
        summary.get("scored", 0),
        settings.get("score_sample"),
    )
    if sampled is not None and scored < edits:
        yield (
            f"scores are of a sample of {format_count(scored, 'edit')}, drawn before the run; on "
            "the way, of those of them that had been made."
        )
    asked, asked_of = settings.get("free_answers"), edits if sampled is None else scored
    if asked is not None and 0 < asked < asked_of:
        yield (
            f"{asked:,} of the {format_count(asked_of, 'edit')}, evenly spaced, were also asked "
            "in free generation; exact match is over these."
        )


def _scores(run: FinishedRun, rows: Sequence[ScoreRow]) -> dict[str, Any]:
    """The scores before and after; free generation, which a user gets, stands first."""
    header = ["before", "after", "change"]
    generated = any(row.generated for row in rows)
    lines = []
    for row in rows:
        free = _change(row.generated_before, row.generated_after) if generated else []
        lines.append([row.name, *free, *_change(row.forced_before, row.forced_after)])
    if generated:
        header = [f"{way} {name}" for way in ("free", "forced") for name in header]
    ended = [
        [row.name, *map(format_percent, (row.begins, row.generated_after, row.stops))]
        for row in rows
        if row.begins is not None
    ]
    ends = ["metric", "begin with it", "exact match", "stop"]
    return {
        "scores": table(["metric", *header], lines, "l" + "r" * len(header)),
        "generated": generated,
        "meanings": meanings([row.name for row in rows]),
        "endings": ended and table(ends, ended, "lrrr"),
        "perplexity": perplexity_line(run.summary),
    }


def _change(before: float | None, after: float | None) -> list[str]:
    return [format_percent(before), format_percent(after), format_change(before, after)]


def meanings(names: Sequence[str]) -> list[str]:
    """What the rows of a table of scores mean, by their names."""
    probes = [name for name in names if metric_of(name) is None and not is_controls(name)]
    words = dict.fromkeys(name.partition(" ")[0] for name in probes)
    texts = [f"{metric.title}: {metric.meaning}." for metric in metrics.METRICS.values()]
    texts += [
        f"{name}: questions of the package that have nothing to do with any edit, against the "
        "unedited model's own short answers."
        for name in names
        if is_controls(name)
    ]
    texts += [f"{word}: {meaning}." for word, meaning in _PROBES.items() if word in words]
    if any(word not in _PROBES for word in words):
        texts.append("the others: further questions of the data, by their name in it.")
    return texts


def curves(points: Sequence[CheckpointPoint]) -> dict[str, Any]:
    """The scores on the way and the probes at every checkpoint, where there are several."""
    if len(points) < 2:
        return {"curves": "", "probes": ""}
    newest, read = points[-1].newest is not None, points[-1].scores.get("perplexity") is not None
    asked = max((point.controls or {}).get("questions", 0) for point in points)
    header = ["edits made", "scored", *map(label, METRICS)]
    header += [f"newest {label(name)}" for name in metrics.ALONE] if newest else []
    header += ["perplexity"] if read else []
    header += [controls_label(asked)] if asked else []
    rows = []
    for point in points:
        scores = [point.scores.get(name) for name in METRICS]
        if newest:
            scores += [(point.newest or {}).get(name) for name in metrics.ALONE]
        cells = [f"{point.edits:,}", f"{point.scored:,}", *map(format_percent, scores)]
        cells += [format_number(point.scores.get("perplexity"))] if read else []
        cells += [format_percent((point.controls or {}).get("agreement"))] if asked else []
        rows.append(cells)
    probes = [point.scores.get("probes") or {} for point in points]
    names = list(dict.fromkeys(name for each in probes for name in each))
    probed = [
        [f"{point.edits:,}", *(format_percent(each.get(name)) for name in names)]
        for point, each in zip(points, probes, strict=True)
    ]
    heads = ["edits made", *map(label, names)]
    return {
        "curves": table(header, rows, "r" * len(header)),
        "probes": names and table(heads, probed, "r" * len(heads)),
    }


def _age(turns: int) -> str:
    return f"{format_count(turns, 'turn')} after the edit" if turns else "right after the edit"


def _costs(run: FinishedRun) -> Markdown:
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
    return table(["", ""], rows, "ll")


def _norms(history: History) -> Markdown | None:
    rows = [
        [code(path), f"{format_number(100 * norms[-1])}%"] for path, norms in history.norms.items()
    ]
    return table(["module", "‖ΔW‖ / ‖W‖"], rows, "lr") if rows else None


def has_ability(seen: Sequence[MonitorValues]) -> bool:
    """Whether general ability was measured more than once, and so can be drawn."""
    return sum("ability" in each.values for each in seen) > 1


def monitors(seen: Sequence[MonitorValues]) -> dict[str, Any]:
    """What the monitors saw by checkpoint, general ability, the spectra after the last turn."""
    rows = []
    for name, monitor, key, write_value in _MONITORS:
        values = [each.values.get(monitor, {}).get(key) for each in seen]
        if any(value is not None for value in values):
            rows.append([name, *map(write_value, values)])
    first: dict[str, Mapping[str, Any]] = {}
    for each in seen:
        first = {**each.values.get("ability", {}), **first}
    tasks = dict.fromkeys(task for each in seen for task in each.values.get("ability", {}))
    for task in tasks:
        scores = [each.values.get("ability", {}).get(task) for each in seen]
        rows.append([f"general ability, {task}", *map(_ability, scores)])
    header = ["after turn", *(f"{each.turn:,}" for each in seen)]
    spectra = seen[-1].values.get("spectrum", {}) if seen else {}
    modules = [
        [code(path), format_number(each["leading"]), format_number(each["effective_rank"])]
        for path, each in spectra.items()
    ]
    columns = ["module", "leading singular value", "effective rank"]
    return {
        "monitored": any(each.values for each in seen),
        "monitors": rows and table(header, rows, "l" + "r" * len(seen)),
        "asked": "; ".join(
            f"{task}, {format_count(first[task]['questions'], 'question')} with "
            f"{format_count(first[task]['shots'], 'example')} each"
            for task in tasks
            if "questions" in first[task]
        ),
        "ability": has_ability(seen),
        "prompts": [(t, first[t]["prompt"]) for t in tasks if first[t].get("prompt")],
        "spectra": modules and table(columns, modules, "lrr"),
    }


def _ability(score: Mapping[str, Any] | None) -> str:
    """A score and its standard error."""
    if score is None:
        return MISSING
    error = score["stderr"]
    return format_percent(score["score"]) + ("" if error is None else f" ± {100 * error:.1f}")


def _examples(answers: Sequence[Answer]) -> Markdown | None:
    rows = [[answer.kind, *_texts(answer), _verdict(answer)] for answer in answers]
    header = ["kind", "question", "wanted", "before", "after", ""]
    return table(header, rows, "llllll") if rows else None


def _cases(cases: Cases) -> list[tuple[str, Markdown]]:
    """The edits that went best, those that went worst, and some drawn at random."""
    header = ["question", "wanted", "before", "after", "", "right in all"]
    tables = [
        table(
            header,
            [[*_texts(a), _verdict(a), f"{right} of {asked}"] for a, right, asked in chosen],
            "lllllr",
        )
        for chosen in cases
    ]
    names = ("Best", "Worst", "Drawn at random")
    return list(zip(names, tables, strict=True)) if cases.drawn else []


def _verdict(answer: Answer) -> str:
    return "right" if answer.correct else "wrong"


def _texts(answer: Answer) -> list[str]:
    """Question, wanted answer, and the answers before and after."""
    nothing = Markdown("*nothing*")
    return [
        shorten_text(answer.prompt),
        shorten_text(answer.target) if answer.target else Markdown("*as before*"),
        shorten_text(answer.before) or nothing,
        shorten_text(answer.after) or nothing,
    ]


def _settings(run: FinishedRun) -> Markdown:
    """What was set, and where each value came from; runs of older versions do not say."""
    summary, settings = run.summary, run.config["settings"]
    resolved = summary["resolved"]
    sources = resolved.get("sources", {})
    rows: list[tuple[str, str, str | None]] = [
        ("model", code(summary["model"]), "user"),
        ("data", code(summary["data"]), "user"),
        ("editor", code(summary["editor"]), sources.get("editor")),
        *(
            (
                of_editor(name) if name == "seed" else name,
                setting(value),
                option_source(sources, name),
            )
            for name, value in resolved["options"].items()
        ),
        ("modules", Markdown("<br>".join(map(code, resolved["modules"]))), sources.get("modules")),
        ("preset", code(resolved["preset"]), sources.get("preset")),
        ("source of the preset", resolved["preset_source"], None),
        ("edits per turn", f"{settings['edits_per_turn']:,}", sources.get("edits_per_turn")),
        ("dtype", code(resolved["dtype"]), sources.get("dtype")),
        ("device", code(resolved["device"]), sources.get("device")),
        ("seed", setting(settings["seed"]), sources.get("seed")),
        ("versions", _versions(run), None),
        ("machine", ", ".join(map(str, run.config["machine"].values())), None),
        ("started", run.config["started"], None),
    ]
    cells = [[name, value, source or ""] for name, value, source in rows]
    return table(["setting", "value", "from"], cells, "lll")


def setting(value: Any) -> str:
    """A setting as a cell."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return code(str(value))


def _versions(run: FinishedRun) -> str:
    return ", ".join(f"{name} {number}" for name, number in run.config["versions"].items())
