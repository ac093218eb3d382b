"""The comparison at length, small: its runs, its orders, its page, and what is not there yet."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.tools.reproduce.tracing import untraced
from ultraedit.core.errors import DataError
from ultraedit.core.types import NullObserver
from ultraedit.tools.reproduce import (
    LONG,
    Environment,
    RunRecords,
    carry_out,
    choose_models,
    find_scale,
)
from ultraedit.tools.reproduce.catalog import find_artifacts
from ultraedit.tools.reproduce.estimates import hours, seconds
from ultraedit.tools.reproduce.long import ParetoPoint, front
from ultraedit.tools.reproduce.names import Wanted
from ultraedit.tools.reproduce.records import Value
from ultraedit.tools.reproduce.steps import Run, Shuffled

PLAN = LONG["long-zsre"]
NAMES = ("Ada", "Jane", "George", "Paul", "Ruth", "Emil")
WORDS = [*"abcdefghij", "river", "flows", "green", "valley", "then", "down"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {
            "subject": name,
            "src": f"What does {name} speak?",
            "rephrase": f"The tongue of {name}?",
            "ans": answer,
            "loc": "which river flows through Vienna",
            "loc_ans": "the Danube",
        }
        for name, answer in zip(NAMES, ("Dutch", "French", "Latin") * 2, strict=True)
    ]
    (folder / "zsre").mkdir()
    (folder / "zsre" / "zsre.json").write_text(json.dumps(rows))
    (folder / "text").mkdir()
    passages = [
        " ".join(WORDS[(n + 7 * k) % 16] for k in range(80)) + f" of {WORDS[n + 10]}."
        for n in range(6)
    ]
    (folder / "text" / "wikitext2_test.txt").write_text("\n".join(passages))
    (folder / "text" / "wikitext2_valid.txt").write_text("\n".join(passages))
    return folder


@pytest.fixture
def environment(tmp_path, root, tiny):
    def make(out="out", **changes):
        small = {
            "edits": {"other": 6},
            "starred": {"other": 6},
            "edits_per_turn": 2,
            "marks": (2, 4),
            "free_answers": 2,
            "training_rows": 0,
            "corpus": None,
            "seeds": 2,
            "options": {"lora": {"rank": 2, "epochs": 2}, "anchored": {"anchor_tokens": 2}},
        }
        scale = dataclasses.replace(find_scale("long"), **small)
        models = choose_models((tiny,))
        return Environment(scale, tmp_path / out, root, models, dtype="float32", **changes)

    return make


def plan(made, *methods):
    chosen = frozenset(Wanted("llama-3", method, "zsre") for method in methods)
    return list(PLAN.steps(made, chosen))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The estimates know no tiny model; and reports are not the point."""
    from ultraedit import report
    from ultraedit.tools.reproduce import estimates, long

    monkeypatch.setattr(report, "write", lambda folder: None)
    monkeypatch.setattr(long, "seconds", lambda run: estimates.seconds(_as_small(run)))


def _as_small(run):
    return Run(dict(run.settings) | {"model": "smollm2"})


def rows_of(page, block):
    return {
        (cell["row"], cell["column"]): cell["ours"]
        for cell in page["cells"]
        if cell["block"] == block
    }


def test_the_page_has_every_method_at_every_mark_and_traces_its_numbers(environment):
    made = environment()
    steps = plan(made, "ultraedit", "lora", "lora-all")
    runs = [step for step in steps if isinstance(step, Run)]
    # two orders of each, and three lengths of what is trained on all facts at once
    assert len({run.place for run in runs}) == 2 + 2 + 3
    file_order = [
        step for step in plan(environment(orders=1), "ultraedit") if isinstance(step, Run)
    ]
    assert [run.place for run in file_order] == [runs[0].place]
    outcome = carry_out(steps, made.out, NullObserver(), isolated=False)
    assert outcome.failed == {}
    PLAN.render(RunRecords(made)).write(made.out / PLAN.id)
    folder = made.out / PLAN.id
    page = json.loads((folder / f"{PLAN.id}.json").read_text())
    assert untraced(made.out, page["cells"]) == []
    assert (folder / f"{PLAN.id}.png").read_bytes().startswith(b"\x89PNG")
    names = {"UltraEdit", "LoRA, turn after turn", "LoRA, all facts so far"}
    for mark in (2, 4, 6):
        found = rows_of(page, f"After {mark} edits")
        assert {row for row, _ in found} == names
        for name in names:
            for column in ("efficacy", "generalization", "agreement"):
                assert found[name, f"teacher-forced, % {column}"] is not None
            assert found[name, "exact, free generation, % plain"] is not None
            assert found[name, "perplexity"] > 1
            read = found[name, "ordinary text KL, nats"]
            assert (read is not None) == (mark == 6)
        spread = found["UltraEdit", "teacher-forced, % efficacy over seeds"]
        assert spread.endswith("(2)")
        assert found["LoRA, all facts so far", "teacher-forced, % efficacy over seeds"] is None
    before = rows_of(page, "Before any edit")
    assert before["unedited", "teacher-forced, % agreement"] == 100
    assert before["unedited", "ordinary text next token, %"] is not None
    missing = [note for note in page["notes"] if note.startswith("Missing, not run yet")]
    assert "Anchored" in missing[0] and "LoRA" not in missing[0]


def test_the_first_turn_of_both_kinds_of_lora_is_the_same(environment):
    made = environment()
    steps = plan(made, "lora", "lora-all")
    carry_out([s for s in steps if isinstance(s, Run)], made.out, NullObserver(), isolated=False)
    PLAN.render(RunRecords(made)).write(made.out / PLAN.id)
    page = json.loads((made.out / PLAN.id / f"{PLAN.id}.json").read_text())
    column = "teacher-forced, % efficacy"
    first, last = (rows_of(page, f"After {mark} edits") for mark in (2, 6))
    ours, all_facts = "LoRA, turn after turn", "LoRA, all facts so far"
    assert first[ours, column] == pytest.approx(first[all_facts, column], abs=1e-6)
    assert last.keys() == first.keys()


def test_a_run_that_is_not_done_is_on_the_page_as_far_as_it_is(environment):
    made = environment()
    steps = [s for s in plan(made, "ultraedit") if isinstance(s, Run)][:1]
    carry_out(steps, made.out, NullObserver(), isolated=False)
    file = made.out / steps[0].place / "records.jsonl"
    lines = file.read_text().splitlines()
    last = max(n for n, line in enumerate(lines) if '"kind": "checkpoint"' in line)
    file.write_text("\n".join(lines[:last]))
    PLAN.render(RunRecords(made)).write(made.out / PLAN.id)
    page = json.loads((made.out / PLAN.id / f"{PLAN.id}.json").read_text())
    assert rows_of(page, "After 4 edits") and not rows_of(page, "After 6 edits")
    assert any("on record up to 4 edits: UltraEdit" in note for note in page["notes"])


def test_orders_are_of_the_same_facts_and_seeds_of_different_orders(environment, root, tmp_path):
    made = environment()
    runs = [s for s in plan(made, "ultraedit") if isinstance(s, Run)]
    assert [run.settings.get("seed", 0) for run in runs] == [0, 1]
    (order,) = runs[1].needs
    carry_out([order], made.out, NullObserver(), isolated=False)
    rows = json.loads((root / "zsre" / "zsre.json").read_text())
    shuffled = json.loads((made.out / order.place).read_text())
    assert shuffled != rows
    assert sorted(row["subject"] for row in shuffled) == sorted(NAMES)
    other = dataclasses.replace(order, seed=2)
    assert other.place != order.place
    part = dataclasses.replace(order, size=3)
    carry_out([part], made.out, NullObserver(), isolated=False)
    assert json.loads((made.out / part.place).read_text())[3:] == rows[3:]
    (tmp_path / "facts.json").write_text("{}")
    with pytest.raises(DataError, match="holds no list of facts"):
        Shuffled("zsre", tmp_path / "facts.json", 3, 1).carry_out(made.out, NullObserver())


def test_a_plan_can_be_cut_short(environment):
    short = environment(edits=4)
    runs = [s for s in plan(short, "ultraedit", "lora-all") if isinstance(s, Run)]
    assert {run.settings["limit"] for run in runs} == {2, 4}
    assert short.marks(4) == [2, 4]


def test_a_plan_of_known_models_says_how_long_it_takes(root, tmp_path):
    made = Environment(find_scale("long"), tmp_path, root)
    wanted = Wanted("llama-3", "memit", "zsre")
    assert made.run(wanted).settings["evaluate_at"] == [1, 3, 10]
    about = seconds(made.run(wanted))
    assert 2_000 * 2 < about < 4 * 3600
    assert hours([made.run(wanted)] * 2, made.out) == pytest.approx(2 * about / 3600)
    gemma = made.run(Wanted("mistral", "ultraedit", "zsre"))
    assert gemma.settings["limit"] == 1_000
    replay = made.run(Wanted("llama-3", "lora-all", "zsre"))
    assert replay.settings["edits_per_turn"] == 2_000
    turns = dataclasses.replace(replay, settings={**replay.settings, "edits_per_turn": 100})
    assert seconds(turns) > 5 * seconds(replay)


def dot(number, kept, written):
    values = (None if kept is None else Value(kept, ()), Value(written, ()))
    return ParetoPoint(number, str(number), values[0], None, values[1], None)


def test_the_front_is_of_those_that_none_beats():
    dots = [dot(0, 90, 20), dot(1, 50, 80), dot(2, 40, 70), dot(3, None, 99), dot(4, 50, 80)]
    assert [each.number for each in front(dots)] == [1, 4, 0]


def test_the_comparisons_are_no_tables_of_the_paper():
    assert find_artifacts(("long",)) == list(LONG.values())
    assert not set(find_artifacts(("all",))) & set(LONG.values())
    assert find_artifacts(("long-zsre",)) == [PLAN]
