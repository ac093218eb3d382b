"""What is odd in facts is said before it matters, and what could act in them never does."""

from __future__ import annotations

import json
import re
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


def test_facts_that_would_act_are_shown_as_symbols_and_kept_as_they_are(cli, tiny):
    rows = json.loads(json.dumps(FACTS[:2]))
    rows[0] |= {
        "prompt": "Who \x1b[2Jrules\0 \u202eit?",
        "target": "A\x9bda\u2067",
        "subject": "it",
    }
    rows[0]["locality"][0]["target"] = "The \x1b]0;x\x07Danube"
    rows[0]["probes"] = {"my\x1b[31m probe": [{"prompt": "W\x1b[2J?", "target": "\u202eD"}]}
    Path("acting.jsonl").write_text(lines(rows))
    done = cli("edit", "acting.jsonl", "--model", tiny, "--out", "out", "--eta", "auto")
    told = [done.stdout, done.stderr]
    for command in (
        ("show", "out", 1),
        ("history", "out"),
        ("find", "out", "rules"),
        ("data", "check", "acting.jsonl", "--limit", 1),
        ("data", "check", "acting.jsonl", "--json"),
        ("report", "out"),
        ("eval", "out"),
        ("revert", "out", "--edit", 2),
    ):
        done = cli(*command)
        told += [done.stdout, done.stderr]
    told += [path.read_text("utf-8") for path in Path("out").rglob("*.md")]
    told += [path.read_text("utf-8") for path in Path("out").rglob("*.html")]
    acting = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
    assert [text for text in told if acting.search(text)] == []
    assert "Who ␛[2Jrules␀ [U+202E]it?" in Path("out/report.html").read_text("utf-8")
    kept = [json.loads(line) for line in Path("out/answers.jsonl").read_text("utf-8").splitlines()]
    assert rows[0]["prompt"] in {each["prompt"] for each in kept}
    assert rows[0]["target"] in {each["target"] for each in kept}


def test_a_dry_run_and_an_evaluation_say_it_too(cli, appends):
    given = ("--data", "odd.jsonl", "--model", appends, "--dry-run", "--out", "out")
    planned = cli("run", *given).stderr
    scored = cli("eval", appends, "--data", "odd.jsonl", "--free-answers", 0).stderr
    for sentence in (BLANK, AROUND, BRACES, APPENDED):
        assert planned.count(sentence) == scored.count(sentence) == 1
