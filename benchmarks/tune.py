"""How near ``--eta auto`` and ``ultraedit tune`` come to a full grid, and what the trunk saves.

    python -m benchmarks.tune grid smollm2 zsre          # the grid: 77 trials
    python -m benchmarks.tune auto smollm2 zsre          # after it, seconds
    python -m benchmarks.tune tune smollm2 zsre          # 10 minutes, and two trials
    python -m benchmarks.tune speed smollm2 zsre         # trials with the trunk and without

All scores are on the first 500 rows of the data, the same for all three, with the grid's best
picked on these rows themselves: it is a bound, not something that anyone could have chosen. `tune`
sees the last rows alone. The grid: all windows of layers of `ultraedit.tools.tune.space`, with the
modules of the preset, times `GRID` multiples of the geometric mean of the steps that auto finds
there in one pass, one step for all modules, as the paper has it, and `FINER` multiples in the
`CLOSER` sets of modules that came out best. Last, several passes: in the best of these sets and in
that of the preset, `STEPS` multiples of what auto finds for them. Every trial is written as soon as
it is done, and a second call goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import inputs, machine

GRID = (0.25, 0.5, 1.0, 2.0)
FINER = (0.35, 0.7, 1.4, 2.8)
CLOSER = 3
STEPS = (0.5, 0.7, 1.0, 1.4, 2.0)
FACTS = {
    "zsre": ("ZsRE", "zsre_10k.json"),
    "counterfact": ("CounterFact", "counterfact_20k.json"),
}
RESULT = "tune.json"
AUTO, TUNE = 0.95, 0.97
"""Shares of the grid's best that are wanted."""
SPEED = {"last tenth": 4.0, "last third": 2.0}


def main() -> None:
    """Do one part and write what it found into the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("part", choices=["grid", "auto", "tune", "speed"])
    parser.add_argument("model")
    parser.add_argument("facts", choices=list(FACTS))
    parser.add_argument("--data", default=None, help="folder of data; default: ../shared/data")
    parser.add_argument("--edits", type=int, default=500)
    parser.add_argument("--budget", type=float, default=10, help="minutes of tune")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--windows", type=int, default=None, help="first N sets of the grid alone")
    options = parser.parse_args()
    file = inputs.facts_file(options.data, *FACTS[options.facts])
    results = _read()
    key = f"{options.model}/{options.facts}/{options.edits}"
    row = results.setdefault(key, {"grid": []})
    {"grid": _grid, "auto": _auto, "tune": _tune, "speed": _speed}[options.part](
        options, f"{options.facts}:{file}", row, lambda: _write(results)
    )
    _write(results)
    _print(key, row)


def _bench(options: argparse.Namespace, data: str, *, trunk: bool = True) -> Any:
    from ultraedit.data import read
    from ultraedit.models import load
    from ultraedit.tools.tune import TrialRunner

    edits = read(data, limit=options.edits)
    return TrialRunner(load(options.model, dtype=options.dtype), edits, trunk=trunk)


def _preset(model: Any, facts: str) -> tuple[str, ...]:
    from ultraedit.models import choose_preset

    return choose_preset(model, facts, None).modules


def _grid(options: argparse.Namespace, data: str, row: dict[str, Any], save: Any) -> None:
    from ultraedit.tools.tune import module_sets

    bench = _bench(options, data)
    sets = [_preset(bench.model, options.facts), *module_sets(bench.model.model)]
    sets = list(dict.fromkeys(sets))[: options.windows]
    for modules in sets:
        _trials(bench, modules, GRID, row, save)
    ranked = sorted(sets, key=lambda each: _top(row, each), reverse=True)
    for modules in ranked[:CLOSER]:
        _trials(bench, modules, FINER, row, save)
    for modules in dict.fromkeys((ranked[0], sets[0])):
        _several(bench, modules, row, save)


def _trials(
    bench: Any,
    modules: tuple[str, ...],
    multiples: tuple[float, ...],
    row: dict[str, Any],
    save: Any,
) -> None:
    """The trials of a set of modules that are not done yet."""
    from ultraedit.core.errors import NumericalError
    from ultraedit.core.types import NullObserver
    from ultraedit.editors.ultraedit import UltraEdit
    from ultraedit.tools.tune import Candidate

    rows = len(bench.edits)
    candidate = Candidate(modules)
    auto = _known(row, modules, "auto")
    if auto is None:
        once = UltraEdit(eta="auto", passes=1, expected_edits=rows)
        auto = _facts(bench.attempt(candidate, once, rows, NullObserver())) | {"multiple": "auto"}
        row["grid"].append(auto)
        print(_line(auto), file=sys.stderr, flush=True)
        save()
    center = math.exp(statistics.fmean(map(math.log, auto["etas"].values())))
    for multiple in multiples:
        if _known(row, modules, multiple) is not None:
            continue
        try:
            trial = bench.attempt(candidate, UltraEdit(eta=multiple * center), rows, NullObserver())
        except NumericalError as error:
            print(error, file=sys.stderr)
            continue
        row["grid"].append(
            _facts(trial) | {"multiple": multiple, "eta": multiple * center, "etas": {}}
        )
        print(_line(row["grid"][-1]), file=sys.stderr, flush=True)
        save()


def _several(bench: Any, modules: tuple[str, ...], row: dict[str, Any], save: Any) -> None:
    """The trials of a set of modules with several passes that are not done yet."""
    from ultraedit.core.types import NullObserver
    from ultraedit.editors.ultraedit import UltraEdit
    from ultraedit.tools.tune import Candidate

    rows = len(bench.edits)
    for step in STEPS:
        multiple = f"{step:g}, passes"
        if _known(row, modules, multiple) is None:
            editor = UltraEdit(eta="auto", step_factor=step, expected_edits=rows)
            trial = bench.attempt(Candidate(modules, step), editor, rows, NullObserver())
            row["grid"].append(_facts(trial) | {"multiple": multiple})
            print(_line(row["grid"][-1]), file=sys.stderr, flush=True)
            save()


def _top(row: dict[str, Any], modules: tuple[str, ...]) -> float:
    """The best score of a set of modules in one pass."""
    return max(
        each["score"]
        for each in row["grid"]
        if each["modules"] == list(modules) and "passes" not in str(each["multiple"])
    )


def _known(row: dict[str, Any], modules: tuple[str, ...], multiple: Any) -> Any:
    return next(
        (
            each
            for each in row["grid"]
            if each["modules"] == list(modules) and each["multiple"] == multiple
        ),
        None,
    )


def _auto(options: argparse.Namespace, data: str, row: dict[str, Any], save: Any) -> None:
    from ultraedit.tools.tune import Candidate

    bench = _bench(options, data)
    row["auto"] = _facts(bench.trial(Candidate(_preset(bench.model, options.facts)), options.edits))


def _tune(options: argparse.Namespace, data: str, row: dict[str, Any], save: Any) -> None:
    from ultraedit.tools.tune import TuneConfig, tune

    config = TuneConfig(model=options.model, data=data, budget=options.budget, dtype=options.dtype)
    with tempfile.TemporaryDirectory() as folder:
        outcome = tune(config, Path(folder, "tuned.toml"))
    held_out = None if outcome.held_out is None else _facts(outcome.held_out)
    row["tune"] = _facts(_bench(options, data).trial(outcome.best.candidate, options.edits)) | {
        "minutes": options.budget,
        "trials": len(outcome.trials),
        "on_tuning_rows": _facts(outcome.best),
        "on_held_out_rows": held_out,
    }


def _speed(options: argparse.Namespace, data: str, row: dict[str, Any], save: Any) -> None:
    """Seconds of a trial whose states are at hand, and of the same without a trunk."""
    from ultraedit.tools.tune import Candidate

    cached, plain = _bench(options, data), _bench(options, data, trunk=False)
    layers = cached.model.layers
    kind = _preset(cached.model, options.facts)[0].rpartition("].")[2]
    row["speed"] = {}
    for name, depth in (
        ("last tenth", layers - layers // 10),
        ("last third", layers - layers // 3),
    ):
        candidate = Candidate((f"layers.[{depth}-{layers - 2}].{kind}",))
        cached.trial(candidate, options.edits)
        plain.trial(candidate, options.edits)
        times = [
            [bench.trial(candidate, options.edits).seconds for _ in range(3)]
            for bench in (cached, plain)
        ]
        with_trunk, without = map(statistics.median, times)
        row["speed"][name] = {
            "modules": list(candidate.modules),
            "seconds_with_trunk": with_trunk,
            "seconds_without": without,
            "times_faster": without / with_trunk,
            "target": SPEED[name],
        }
        save()


def _facts(trial: Any) -> dict[str, Any]:
    return {
        "modules": list(trial.candidate.modules),
        "step": trial.candidate.step,
        "ridge": trial.candidate.ridge,
        **{name: asdict(trial)[name] for name in ("rows", "seconds", "etas")},
        **{name: asdict(trial)[name] for name in ("efficacy", "generalization", "agreement")},
        "score": trial.score,
    }


def _read() -> dict[str, Any]:
    path = machine.RESULTS / RESULT
    if not path.is_file():
        return {}
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return results


def _write(results: dict[str, Any]) -> None:
    for row in results.values():
        top = _best(row)
        for name in ("auto", "tune"):
            if top is not None and name in row:
                row[name]["share_of_best"] = row[name]["score"] / top["score"]
    machine.write(
        RESULT,
        {
            "grid": list(GRID),
            "finer": list(FINER),
            "closer": CLOSER,
            "steps": list(STEPS),
            "results": results,
        },
    )


def _best(row: dict[str, Any]) -> Any:
    return max(row["grid"], key=lambda each: each["score"], default=None)


def _line(each: dict[str, Any]) -> str:
    names = ("efficacy", "generalization", "agreement", "score")
    scores = " / ".join(f"{100 * each[name]:.1f}" for name in names)
    return f"{', '.join(each['modules'])} x {each.get('multiple', each['step'])}: {scores}"


def _print(key: str, row: dict[str, Any]) -> None:
    print(key)
    top = _best(row)
    if top is not None:
        print(f"  best of {len(row['grid'])} in the grid: {_line(top)}")
    for name, wanted in (("auto", AUTO), ("tune", TUNE)):
        if name in row:
            share = row[name].get("share_of_best")
            told = "" if share is None else f", {share:.1%} of the best (wanted: {wanted:.0%})"
            print(f"  {name}: {_line(row[name])}{told}")
    for name, each in row.get("speed", {}).items():
        print(f"  {name}: {each['times_faster']:.1f} times faster (wanted: {each['target']:g})")


if __name__ == "__main__":
    main()
