"""Folders of made-up runs, with everything that a run can have on record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ultraedit.report.markdown import environment

MODULES = tuple(f"model.layers.{layer}.mlp.down_proj" for layer in (25, 26))

NASTY = '<script src="http://x.y/z.js"></script> & <b>"bold"</b> {{ 7 * 7 }} ‖ 人物'
"""A text that a page must show and never obey."""

LONG = "Llanfairpwllgwyngyll" * 8
"""A word without a place to break it."""


def write_run(folder: Path, *, gain: float = 0.1, turns: int = 4, **changes: Any) -> Path:
    """Write the four files of a run that was watched and scored after every turn.

    Args:
        folder: To be made.
        gain: Efficacy that each turn adds.
        turns: How many, of ten edits.
        changes: What should differ: ``model``, ``data``, ``editor``, ``settings``, ``resolved``,
            ``machine``, ``answers``, ``generation`` or any other value of the summary.
    """
    folder.mkdir(parents=True)
    rows = [_checkpoint(0, turns, gain)]
    for turn in range(1, turns + 1):
        rows += [_turn(turn), _checkpoint(turn, turns, gain)]
    settings = {"edits_per_turn": 10, "seed": 0, "model": "smollm2", "data": "zsre:facts.json"}
    resolved = {
        "options": {"eta": 0.001, "ridge": 1.0},
        "modules": list(MODULES),
        "preset": "smollm2",
        "preset_source": "measured here",
        "dtype": "float32",
        "device": "cpu",
    }
    config = {
        "settings": settings | changes.pop("settings", {}),
        "versions": {"ultraedit": "0.1.0"},
        "machine": changes.pop("machine", {"system": "Linux", "processor": "x86_64"}),
        "started": "2026-01-02T03:04:05+00:00",
    }
    answers = changes.pop("answers", None)
    summary = {
        "model": "smollm2",
        "data": "zsre:facts.json",
        "editor": "ultraedit",
        "edits": 10 * turns,
        "scored": 10 * turns,
        "turns": turns,
        "overruled": 0,
        "edit_seconds": 5.0 * turns,
        "edits_per_second": 2.0,
        "peak_memory_bytes": 2**30,
        "before": scores(0, gain) | {"generation": generation(0.0)},
        "after": scores(turns, gain) | {"generation": generation(0.5)},
        "resolved": resolved | changes.pop("resolved", {}),
    } | changes
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    _lines(folder / "records.jsonl", rows)
    _lines(folder / "answers.jsonl", _answers(10 * turns) if answers is None else answers)
    return folder


def scores(turn: int, gain: float) -> dict[str, Any]:
    """Teacher-forced scores after a turn."""
    return {
        "efficacy": 0.1 + gain * turn,
        "generalization": 0.1 + gain * turn / 2,
        "specificity": 0.25,
        "agreement": 1.0 - gain * turn / 4,
        "probes": {NASTY: 0.5},
        "perplexity": 20.0 + turn,
    }


def generation(efficacy: float) -> dict[str, float]:
    """Scores of generated answers."""
    return {"efficacy": efficacy, "generalization": efficacy / 2, "specificity": 0.2}


def answer(number: int, *, kind: str = "efficacy", right: bool = True, **more: Any) -> dict:
    """A free answer."""
    values = {
        "kind": kind,
        "edit_id": f"e{number}",
        "prompt": f"{kind} question {number}",
        "target": "new",
        "before": "old",
        "after": "new" if right else "old",
        "correct": right,
    }
    return values | more


def part(name: str, **values: Any) -> str:
    """One block of the page of a run, as Markdown."""
    template = environment().get_template("run.md.j2")
    return "".join(template.blocks[name](template.new_context(values)))


def _answers(count: int) -> list[dict]:
    kinds = ("efficacy", "generalization", "specificity")
    found = [
        answer(number, kind=kind, right=number % (2 + place) == 0)
        for number in range(count)
        for place, kind in enumerate(kinds)
    ]
    found[0] |= {"prompt": NASTY, "before": LONG, "after": ""}
    return found


def _turn(turn: int) -> dict[str, Any]:
    return {
        "kind": "turn",
        "turn": turn,
        "edits": 10,
        "total_edits": 10 * turn,
        "seconds": 4.0 + turn,
        "memory_bytes": 2**30 + turn * 2**26,
        "norms": {path: 0.01 * turn * (1 + i) for i, path in enumerate(MODULES)},
    }


def _checkpoint(turn: int, turns: int, gain: float) -> dict[str, Any]:
    ability = {"sst2": {"score": 0.8 - turn / 50, "stderr": 0.02}}
    spectrum = {path: {"leading": 1.5, "effective_rank": 3.0} for path in MODULES}
    by_turn = (
        [0.1] * turns if turn == 0 else [0.8 - (turn - each) / 10 for each in range(1, turn + 1)]
    )
    return {
        "kind": "checkpoint",
        "turn": turn,
        "edits": 10 * turn or 10 * turns,
        "made": 10 * turn,
        "seconds": 3.0,
        "scores": scores(turn, gain),
        "newest": None,
        "first_turn": 1,
        "by_turn": {"efficacy": by_turn},
        "monitors": {
            "ability": ability,
            "locality": {"kl": turn / 10, "agreement": 1 - turn / 20},
            "control": {"efficacy": 0.1, "generalization": 0.1},
            "spectrum": spectrum,
        },
    }


def _lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
