"""Perplexity on a text as a run records it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def corpus(folder):
    """A text of three passages beside the facts."""
    Path("text.txt").write_text(
        "Ada wrote the first program for a machine.\nThe Danube runs far.\nOne novel by Jane\n",
        encoding="utf-8",
    )
    return "text.txt"


def test_a_run_records_it_whenever_it_is_scored(cli, tiny, corpus):
    args = ("run", "--model", tiny, "--data", "facts.jsonl", "--edits-per-turn", "2", "--out", "o")
    summary = json.loads(
        cli(*args, "--perplexity", corpus, "--evaluate-every", "1", "--json").stdout
    )
    before, after = (summary[when]["perplexity"] for when in ("before", "after"))
    records = [json.loads(line) for line in Path("o/records.jsonl").read_text().splitlines()]
    found = [row["scores"]["perplexity"] for row in records if row["kind"] == "checkpoint"]
    assert found[0] == before != after == found[-1]
    assert len(found) == 2 + summary["turns"] - 1
    again = json.loads(cli("eval", "o", "--json").stdout)
    assert again["scores"]["perplexity"] == after
    assert f"Perplexity on the text: {before:,.2f} before" in Path("o/report.md").read_text()


def test_a_text_that_is_not_there_is_refused_before_anything_happens(refused, tiny):
    args = ("run", "--model", tiny, "--data", "facts.jsonl", "--out", "o")
    assert "There is no corpus 'none.txt'" in refused(*args, "--perplexity", "none.txt")
