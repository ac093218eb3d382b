"""``data enrich`` and ``data draft`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.bench_builder.fake import Answer, served
from ultraedit.data import read


@pytest.fixture(autouse=True)
def table():
    Path("facts.csv").write_text(
        "Question,Answer\nWhere was Jane Austen born?,Lund\nWho leads the observatory?,Lena\n"
    )


def test_a_table_is_made_complete(cli, refused):
    page = cli("data", "enrich", "facts.csv", "--out", "o.jsonl").stdout
    assert "1 of 2 facts have fewer than two other wordings" in page
    assert "no English pattern fits the prompt" in page
    first, second = read("o.jsonl")
    assert (first.subject, len(first.rephrases)) == ("Jane Austen", 4)
    assert second.rephrases == ()
    assert refused("data", "enrich", "facts.csv", "--out", "o.jsonl") == (
        "o.jsonl is there already. Choose another --out, or move it away."
    )
    told = json.loads(cli("data", "enrich", "facts.csv", "--out", "p.jsonl", "--json").stdout)
    assert told["added"]["rephrases"] == 4
    assert told["without"][0]["id"] == "2"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((), "--out is missing. Name the file to write, such as --out facts.jsonl."),
        (("--out", "o.csv"), "--out must be a .jsonl file, got o.csv."),
        (
            ("--out", "o.jsonl", "--writer", "local"),
            "--writer local needs a language model. Name it with --model.",
        ),
        (
            ("--out", "o.jsonl", "--writer", "opnai"),
            "Unknown writer 'opnai'. Did you mean: openai?",
        ),
        (
            ("--out", "o.jsonl", "--model", "x"),
            "--model x has no meaning for --writer template. Add --writer openai or --writer "
            "local, or leave it out.",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(refused, args, sentence):
    assert refused("data", "enrich", "facts.csv", *args) == sentence


def test_an_endpoint_is_asked_once_for_each_fact(cli, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "word")
    reply = json.dumps({"rephrases": ["Jane Austen was born in?", "Jane Austen's birthplace?"]})
    with served(lambda number, again: Answer(text=reply)) as endpoint:
        writer = ("--writer", "openai", "--model", "fake", "--base-url", endpoint.url)
        page = cli("data", "enrich", "facts.csv", "--out", "o.jsonl", *writer)
        assert "At most 2 requests are made.\n" in page.stderr
        Path("o.jsonl").unlink()
        page = cli("data", "enrich", "facts.csv", "--out", "o.jsonl", *writer)
        assert "but for those whose replies are in .o.replies.sqlite." in page.stderr
        assert sum(endpoint.asked.values()) == 2
    assert len(read("o.jsonl")[0].rephrases) == 2


def test_a_document_is_drafted_by_a_model(cli, refused, tiny, monkeypatch):
    from ultraedit.tools.bench_builder.writers.local import LocalWriter

    passage = "The observatory on Mount Orrin was built in 1911 by Ines Okafor."
    Path("notes.md").write_text(f"{passage}\n\n{passage.replace('1911', '1912')}\n")
    questions = iter(["When was it built?", "Who built it?"])
    monkeypatch.setattr(LocalWriter, "go_on", lambda _, texts: [next(questions) for _ in texts])
    monkeypatch.setattr(LocalWriter, "complete", lambda _, texts: ["1911"] * len(texts))
    given = ("data", "draft", "notes.md", "--out", "o.jsonl")
    assert refused(*given).startswith("--writer local needs a language model")
    told = json.loads(cli(*given, "--model", tiny, "--json").stdout)
    assert told == {"out": "o.jsonl", "passages": 2, "facts": 1, "dropped": 1}
    assert json.loads(Path("o.jsonl").read_text())["passage"] == passage
