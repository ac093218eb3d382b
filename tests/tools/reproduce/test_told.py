"""Runs that ask the unedited model the same ask it once."""

from __future__ import annotations

import json

import pytest

from ultraedit.core.types import NullObserver
from ultraedit.tools.reproduce import carry_out
from ultraedit.tools.reproduce.names import Wanted
from ultraedit.tools.reproduce.steps import UNEDITED


class Stages(NullObserver):
    def __init__(self) -> None:
        self.names: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.names.append(name)


def results(out, run):
    def checkpoints():
        for line in (out / run.place / "records.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["kind"] == "checkpoint":
                row.pop("seconds")
                yield row

    summary = json.loads((out / run.place / "summary.json").read_text())
    answers = (out / run.place / "answers.jsonl").read_bytes()
    names = ("before", "after", "controls", "verdict", "scored")
    return list(checkpoints()), {name: summary[name] for name in names}, answers


def test_a_second_run_takes_what_the_first_was_told_and_ends_as_if_it_had_asked(
    environment, tiny, tmp_path
):
    one, two = (environment(out=tmp_path / out, model=tiny) for out in ("one", "two"))
    first, second = (one.run(Wanted("gpt-j", name, "zsre")) for name in ("ultraedit", "inner"))
    assert first.told == second.told
    stages = Stages()
    carry_out([first, second], one.out, stages, isolated=False)
    assert stages.names.count("Asking the unedited model") == 1
    assert len(list((one.out / UNEDITED).iterdir())) == 1
    carry_out([second], two.out, stages, isolated=False)
    assert stages.names.count("Asking the unedited model") == 2
    assert results(one.out, second) == results(two.out, second)


@pytest.mark.parametrize("change", [{"limit": 5}, {"seed": 1}, {"dtype": "bfloat16"}])
def test_runs_that_ask_something_else_share_nothing(environment, change):
    run = environment().run(Wanted("gpt-j", "ultraedit", "zsre"))
    assert type(run)(dict(run.settings) | change).told != run.told
