"""`ultraedit build-bench`: what it prints, what it asks, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.tools.bench_builder.conftest import files_of, people, read_set, tsv
from tests.tools.bench_builder.fake import Answer, served
from tests.tools.bench_builder.test_bench_local import good
from ultraedit.cli import build_bench
from ultraedit.models import generation


@pytest.fixture(autouse=True)
def triples(folder):
    Path("facts.tsv").write_text(tsv(people()))


def test_a_set_is_built_and_counted_on_the_screen(cli):
    result = cli("build-bench", "facts.tsv", "--out", "U", "--size", 50, "--seed", 1)
    found = read_set(Path("U"))
    assert len(found.rows) == 50
    for name, count in found.card["counts"].items():
        assert f"{name.replace('_', ' ')}" in result.stdout
        assert f"{count:,}" in result.stdout
    assert "Writing questions: 50" in result.stderr


def test_the_same_command_twice_gives_the_same_bytes(cli):
    command = ("build-bench", "facts.tsv", "--out", "U", "--size", 50, "--seed", 1)
    cli(*command)
    first = files_of(Path("U"))
    cli(*command)
    assert files_of(Path("U")) == first


def test_a_sample_is_a_table_of_whole_questions(cli):
    result = cli("build-bench", "facts.tsv", "--out", "U", "--sample", 3)
    assert "3 random rows of 120" in result.stdout
    rows = read_set(Path("U")).rows
    shown = [row for row in rows if f" {row['prompt']} " in result.stdout]
    assert len(shown) == 3
    for row in shown:
        for name in ("rephrase_prompt", "ans", "loc", "loc_ans"):
            assert row[name] in result.stdout


def test_the_result_as_json_is_the_card(cli):
    result = cli("build-bench", "facts.tsv", "--out", "U", "--sample", 2, "--json")
    printed = json.loads(result.stdout)
    assert len(printed.pop("sample")) == 2
    assert printed.pop("out") == "U"
    assert printed == read_set(Path("U")).card


def test_a_set_that_stays_small_says_so(cli):
    result = cli("build-bench", "facts.tsv", "--out", "U", "--size", 500)
    assert "120 rows instead of 500" in result.stderr


def test_wordings_and_licence_can_be_given(cli):
    Path("own.json").write_text(
        json.dumps({"P106": ["What is the trade of [X]?", "Which trade does [X] ply?"]})
    )
    options = ("--patterns", "own.json", "--license", "CC0 1.0", "--language", "any")
    cli("build-bench", "facts.tsv", "--out", "U", *options)
    found = read_set(Path("U"))
    assert found.card["license"] == "CC0 1.0"
    assert any("trade" in row["prompt"] for row in found.rows)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["facts.tsv"], "--out is missing"),
        (["missing.tsv", "--out", "U"], "No such file or folder: missing.tsv"),
        (["facts.jsonl", "--out", "U"], "No usable triple in facts.jsonl: 5 read"),
        (["facts.tsv", "--out", "U", "--size", "0"], "size must be at least 1, got 0"),
        (["facts.tsv", "--out", "U", "--writer", "oracle"], "Unknown writer 'oracle'"),
        (["facts.tsv", "--out", "U", "--writer", "opena"], "Did you mean: openai?"),
        (["facts.tsv", "--out", "U", "--writer", "local"], "needs a language model"),
        (["facts.tsv", "--out", "U", "--model", "x"], "no meaning for --writer template"),
        (["facts.tsv", "--out", "U", "--concurrency", "0"], "concurrency must be at least 1"),
        (["facts.tsv", "--out", "."], "which is not of an earlier build"),
        (["facts.tsv", "--out", "U", "--patterns", "facts.tsv"], "cannot be read as JSON or TOML"),
        (["facts.tsv", "--out", "U", "--writer", "local", "--model", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(refused, args, expected):
    assert expected in refused("build-bench", *args)
    assert not Path("U").exists()


def test_an_endpoint_without_a_key_in_the_environment_is_refused(refused, monkeypatch):
    pytest.importorskip("openai", reason="the client openai is not installed: make install")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    options = ("--writer", "openai", "--model", "fake")
    assert "export OPENAI_API_KEY=" in refused("build-bench", "facts.tsv", "--out", "U", *options)


def paid(cli, monkeypatch, *options, answer=None, code=0):
    """Build 20 rows with a fake endpoint, and let somebody answer the question before it."""
    pytest.importorskip("openai", reason="the client openai is not installed: make install")
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret")
    questions = []
    if answer is not None:
        monkeypatch.setattr(build_bench, "_is_terminal", lambda: True)
        monkeypatch.setattr(
            build_bench.typer,
            "confirm",
            lambda text, **more: questions.append(text) or answer or sys.exit(1),
        )
    prices = ("--price-in", 0.15, "--price-out", 0.6)
    chosen = ("--writer", "openai", "--model", "fake", "--size", 20, *prices, *options)
    with served(lambda number, repeat: Answer()) as endpoint:
        args = ("build-bench", "facts.tsv", "--out", "U", "--base-url", endpoint.url, *chosen)
        return cli(*args, code=code), endpoint, questions


def test_the_cost_is_told_before_and_after(cli, monkeypatch):
    result, endpoint, questions = paid(cli, monkeypatch)
    assert len(endpoint.asked) == 20
    assert questions == []
    assert "20 requests with about" in result.stderr
    assert "in the currency of the prices; 0 replies are there already" in result.stderr
    assert "Used: 2,000 tokens asked, 200 replied, 0.00." in result.stderr
    assert "a-secret" not in result.stderr + result.stdout


def test_somebody_at_a_terminal_is_asked_first_and_no_means_no(cli, monkeypatch):
    _, endpoint, questions = paid(cli, monkeypatch, answer=False, code=1)
    assert questions == ["Begin?"]
    assert not endpoint.asked


def test_yes_at_a_terminal_begins(cli, monkeypatch):
    _, endpoint, questions = paid(cli, monkeypatch, answer=True)
    assert questions == ["Begin?"]
    assert len(endpoint.asked) == 20


def test_yes_on_the_command_line_asks_nobody(cli, monkeypatch):
    _, endpoint, questions = paid(cli, monkeypatch, "--yes", answer=False)
    assert questions == []
    assert len(endpoint.asked) == 20


def test_a_local_model_writes_the_questions(cli, tiny, monkeypatch):
    monkeypatch.setattr(generation, "generate", lambda model, texts, **more: map(good, texts))
    options = ("--writer", "local", "--model", tiny, "--size", 20, "--device", "cpu")
    cli("build-bench", "facts.tsv", "--out", "U", *options)
    found = read_set(Path("U"))
    assert len(found.rows) == 20
    assert found.card["writer"] == {"writer": "local", "model": tiny}
