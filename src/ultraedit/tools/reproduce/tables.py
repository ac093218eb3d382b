"""What the tables show: scores, the needs of each kind of method, modules, single answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ultraedit.editors import EDITORS
from ultraedit.models import load_preset, split_patterns
from ultraedit.models.patterns import parse_pattern
from ultraedit.tools.reproduce.artifact import Artifact, Content
from ultraedit.tools.reproduce.environment import Environment
from ultraedit.tools.reproduce.names import METHODS, PRESETS, Wanted, label, row_label
from ultraedit.tools.reproduce.notes import means_of
from ultraedit.tools.reproduce.published import published
from ultraedit.tools.reproduce.records import RunRecords, Source, Value, mean_of
from ultraedit.tools.reproduce.result_table import Cell, Result, cell
from ultraedit.tools.reproduce.steps import Step

KEPT = 0.8
"""Share of its efficacy at the first checkpoint that a method keeps to the last, if it lasts."""

KINDS: Mapping[str, tuple[str, ...]] = {
    "Locate-then-edit": ("memit", "alphaedit"),
    "Memory-based": ("wise",),
    "Hypernetwork-based": ("malmen", "rledit"),
    "UltraEdit": ("ultraedit",),
}
"""The methods that stand for each kind."""

_PROPERTIES: Mapping[str, str] = {
    "training-free": "Training-free",
    "subject-free": "Subject-free",
    "memory-free": "Memory-free",
    "lifelong": "Lifelong scalability",
}

NOTHING = "(nothing)"
"""What stands for an empty answer."""

_MARKS = {"yes": "✓", "no": "✗", "": None}


def scores(plan: Artifact, records: RunRecords) -> Content:
    """Scores of every run, laid out as the plan says; the last row of a block may be a lead."""
    (panel,) = plan.panels
    block, row, group = plan.layout
    choices = {"": ("",), "model": panel.models, "method": panel.methods}
    places = [{"dataset": dataset, "metric": metric} for dataset, metric in panel.columns]
    if group == "model":
        places = [{"model": model} | place for model in panel.models for place in places]

    def keys(heading: str, name: str) -> list[dict[str, str]]:
        """Of each place in a row its model, method, data set and score."""
        fixed = {"model": "mean", "method": "unedited", block: heading, row: name}
        fixed.pop("", None)
        return [fixed | place for place in places]

    results = []
    for heading in choices[block]:
        rows = {
            name: [_score(plan, records, each) for each in keys(heading, name)]
            for name in choices[row]
        }
        if plan.delta:
            ranked = {each: rows[each] for each in rows if not records.environment.untrained(each)}
            columns = zip(*ranked.values(), strict=True)
            rows["delta"] = [_lead(dict(zip(ranked, column, strict=True))) for column in columns]
        for name, values in rows.items():
            untrained = name in METHODS and records.environment.untrained(name)
            shown = row_label(name, untrained=untrained)
            for each, value in zip(keys(heading, name), values, strict=True):
                printed = None if untrained else published(plan.id).value(**each)
                place = (label(heading), shown, label(each[group]), label(each["metric"]))
                results.append(Result(*place, cell(value, printed, signed=name == "delta")))
    remarks = () if "model" in plan.layout else tuple(means_of(records.environment, panel.models))
    return Content(results, remarks)


def _score(plan: Artifact, records: RunRecords, keys: Mapping[str, str]) -> Value | None:
    """A score of a run; of the unedited model where it is of no method; a mean of models."""
    (panel,) = plan.panels
    models, method = [keys["model"]], keys["method"]
    if models == ["mean"]:
        models = list(records.environment.different(panel.models).values())
    when = "after"
    if method == "unedited":
        when, (method,) = "before", panel.methods
    wanted = (Wanted(model, method, keys["dataset"]) for model in models)
    return mean_of([records.score(each, keys["metric"], when=when) for each in wanted])


def _lead(values: Mapping[str, Value | None]) -> Value | None:
    """The better of UltraEdit's rows minus the best of the others."""
    ours = [value for name, value in values.items() if value and name.startswith("ultraedit")]
    theirs = [value for name, value in values.items() if value and not name.startswith("ultraedit")]
    if not ours or not theirs:
        return None
    best, other = (max(side, key=lambda value: value.number) for side in (ours, theirs))
    return Value(best.number - other.number, (*best.sources, *other.sources))


def kinds(plan: Artifact, records: RunRecords) -> Content:
    """What each kind of method needs, from the table of editors, and whether it lasts."""
    theirs = {(r["solution"], r["property"]): _MARKS[r["mark"]] for r in published(plan.id).rows}
    results = [
        Result("", kind, "", heading, _property(plan, records, kind, name, theirs[kind, name]))
        for kind in KINDS
        for name, heading in _PROPERTIES.items()
    ]
    remarks = (
        "The first three are what the editors say that they need (`ultraedit editors list`).",
        f"Lifelong scalability: a method of the kind keeps at least {KEPT:.0%} of the efficacy of "
        "its first checkpoint to the last, and is above the unedited model there.",
    )
    return Content(results, remarks)


def _property(
    plan: Artifact, records: RunRecords, kind: str, name: str, theirs: str | None
) -> Cell:
    if name == "lifelong":
        return _lasts(plan, records, kind, theirs)
    editors = [METHODS[method].editor for method in KINDS[kind]]
    here = [EDITORS[editor] for editor in editors if editor in EDITORS]
    if not here:
        return Cell(None, theirs)
    needs = {
        "training-free": any(row.needs_training for row in here),
        "subject-free": any(row.needs_subject for row in here),
        "memory-free": any("memory" in row.family for row in here),
    }[name]
    sources = tuple(Source("editors", row.target, name) for row in here)
    return Cell("✗" if needs else "✓", theirs, sources)


def _lasts(plan: Artifact, records: RunRecords, kind: str, theirs: str | None) -> Cell:
    lasting: list[bool] = []
    sources: list[Source] = []
    for wanted in plan.wanted():
        # An untrained net says nothing of its method.
        if wanted.method not in KINDS[kind] or records.environment.untrained(wanted.method):
            continue
        curve = records.curve(wanted, "efficacy")
        before = records.score(wanted, "efficacy", when="before")
        if curve and before is not None:
            first, last = curve[0].value, curve[-1].value
            kept = last.number >= KEPT * first.number
            lasting.append(kept and last.number > before.number)
            sources += [*first.sources, *last.sources, *before.sources]
    if not lasting:
        return Cell(None, theirs)
    return Cell("✓" if any(lasting) else "✗", theirs, tuple(sources))


def modules(plan: Artifact, records: RunRecords) -> Content:
    """The modules of the presets beside those of the paper, at any scale the same."""
    results = []
    for row in published(plan.id).rows:
        preset = PRESETS[row["model"]]
        name = f"{preset}/{row['dataset']}"
        patterns = load_preset(name).modules
        sources = (Source(f"preset {name}", f"models/presets/{preset}.toml", "modules"),)
        same = _layers(patterns) == _layers(tuple(split_patterns(row["modules"])))
        place = (label(row["dataset"]), label(row["model"]), "")
        ours = Cell(", ".join(patterns), row["modules"], sources)
        results.append(Result(*place, "Editable modules", ours))
        results.append(Result(*place, "Same", Cell("✓" if same else "✗", None, sources)))
    remark = "Ours are the presets of the package; `ultraedit models show` lists a model's."
    return Content(results, [remark])


def _layers(patterns: tuple[str, ...]) -> frozenset[tuple[int, str]]:
    """The number of the layer and the path below it of every module that patterns name."""
    layers = set()
    for pattern in patterns:
        parts = parse_pattern(pattern)
        place = next(index for index, part in enumerate(parts) if part.numbers)
        below = ".".join(part.text for part in parts[place + 1 :])
        layers |= {(number, below) for number in parts[place].numbers}
    return frozenset(layers)


def run_of_cases(plan: Artifact, environment: Environment, wanted: Wanted) -> Iterator[Step]:
    """The paper's own questions, edited among other facts, in free generation."""
    yield environment.cases(
        wanted, tuple((r["prompt"], r["target"]) for r in published(plan.id).rows)
    )


def cases(plan: Artifact, records: RunRecords) -> Content:
    """Single questions, answered in free generation before and after the edits."""
    (wanted,) = plan.wanted()
    run = plan.run(records, wanted)
    lines = records.lines(run, "answers.jsonl") if run is not None else ()
    answers = {row["prompt"]: (n, row) for n, row in lines if row["kind"] == "efficacy"}
    columns = {
        "before": "Pre-edited output",
        "target": "Ground truth",
        "after": "Post-edited output",
    }
    results = []
    for row in published(plan.id).rows:
        theirs = dict(row) | {"after": f"{row['after']} {_MARKS[row['correct']]}"}
        for field, column in columns.items():
            shown = Cell(None, theirs[field])
            if run is not None and row["prompt"] in answers:
                number, answer = answers[row["prompt"]]
                tick = f" {'✓' if answer['correct'] else '✗'}" if field == "after" else ""
                source = Source(run.place, "answers.jsonl", f"{number}:{field}")
                shown = Cell(f"{answer[field] or NOTHING}{tick}", theirs[field], (source,))
            results.append(Result("", row["prompt"], "", column, shown))
    remark = "The paper's questions are edited here, spread among the facts of the data set."
    return Content(results, [remark])
