"""Records of a run: intervals beside the scores, and free generation at every checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def checkpoints(folder):
    rows = map(json.loads, Path(folder, "records.jsonl").read_text().splitlines())
    return [row for row in rows if row["kind"] == "checkpoint"]


@pytest.mark.parametrize("always", [True, False])
def test_a_run_asks_freely_on_the_way_where_it_is_told_to(cli, tiny, always):
    Path("run.toml").write_text(
        f'model = "{tiny}"\ndata = "jsonl:facts.jsonl"\nedits_per_turn = 2\nevaluate_at = [1, 2]\n'
        f"free_answers = 2\nfree_always = {str(always).lower()}\nsave_model = false\n"
    )
    cli("run", "--config", "run.toml", "--out", "out")
    free = [row["scores"]["generation"] for row in checkpoints("out")]
    assert [each is not None for each in free] == [True, always, always, True]
    if always:  # Edits that the unedited model did not answer agree with nothing.
        assert free[0]["agreement"] == 1.0
        assert 0 <= free[1]["agreement"] <= 1


def test_every_score_of_several_edits_has_an_interval_around_it(cli, tiny):
    cli("run", "--model", tiny, "--data", "facts.jsonl", "--out", "out", "--no-save-model")
    for row in checkpoints("out"):
        scores, spread = row["scores"], row["intervals"]
        names = {"efficacy", "generalization", "specificity"}
        assert spread.keys() >= names | {f"generation.{name}" for name in names} | {"agreement"}
        for name, (low, high) in spread.items():
            group, _, own = name.rpartition(".")
            score = scores[group][own] if group else scores[name]
            assert low <= score <= high
