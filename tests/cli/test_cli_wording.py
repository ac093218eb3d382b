"""Blanks at the seam, ``{}`` in a prompt and an appended end token are said before they matter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import FACTS, lines
from tests.tiny import appending, tiny_model
from ultraedit.models import save

BLANK = "A prompt ends in a blank in row 2. "
AROUND = "A target begins or ends with white space in row 3. "
BRACES = "A prompt still has {} in it in rows 4 and 5, "
APPENDED = "The tokenizer puts </s> behind every text. "


@pytest.fixture(autouse=True)
def odd():
    rows = json.loads(json.dumps(FACTS))
    rows[1]["prompt"] += " "
    rows[2]["target"] = f" {rows[2]['target']}"
    rows[3]["prompt"] = rows[4]["prompt"] = "What is the native language of {}?"
    for row in rows[3:]:
        del row["subject"]
    Path("odd.jsonl").write_text(lines(rows))


@pytest.fixture(scope="module")
def appends(tmp_path_factory) -> str:
    """A tiny model whose tokenizer puts the end token behind every text."""
    lm, folder = tiny_model("llama"), tmp_path_factory.mktemp("models") / "appends"
    save(replace(lm, tokenizer=appending(lm.tokenizer)), folder)
    return str(folder)


def test_a_check_says_it_with_the_rows(cli, appends):
    done = cli("data", "check", "odd.jsonl", "--model", appends)
    for sentence in (BLANK, AROUND, BRACES):
        assert sentence in done.stdout
    assert APPENDED in done.stderr
    assert "with {} left in a prompt            2" in done.stdout
    told = json.loads(cli("data", "check", "odd.jsonl", "--json").stdout)
    assert [each["row"] for each in told["placeholder"]["examples"]] == [4, 5]
    assert [sentence[: len(BLANK)] for sentence in told["wording"][:1]] == [BLANK]


def test_a_run_begins_with_it_and_is_the_run_of_plain_rows(cli, tiny, appends):
    given = ("--eta", "auto")
    done = cli("edit", "odd.jsonl", "--model", appends, "--out", "out", *given)
    at = [done.stderr.index(sentence) for sentence in (BLANK, AROUND, BRACES, APPENDED)]
    assert max(at) < done.stderr.index("Editing")
    rows = [json.loads(line) for line in Path("odd.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"prompt": row["prompt"].strip(), "target": row["target"].strip()}
    Path("plain.jsonl").write_text(lines(rows))
    plain = cli("edit", "plain.jsonl", "--model", tiny, "--out", "plain", *given)
    assert BLANK not in plain.stderr and APPENDED not in plain.stderr
    weights = [Path(out, "model", "model.safetensors").read_bytes() for out in ("out", "plain")]
    assert weights[0] == weights[1]
    scores = [
        {key: json.loads(Path(out, "summary.json").read_text())[key] for key in ("before", "after")}
        for out in ("out", "plain")
    ]
    assert scores[0] == scores[1]


def test_a_dry_run_and_an_evaluation_say_it_too(cli, appends):
    given = ("--data", "odd.jsonl", "--model", appends, "--dry-run", "--out", "out")
    planned = cli("run", *given).stderr
    scored = cli("eval", appends, "--data", "odd.jsonl", "--free-answers", 0).stderr
    for sentence in (BLANK, AROUND, BRACES, APPENDED):
        assert planned.count(sentence) == scored.count(sentence) == 1
