"""The writer that pays: against an endpoint that fails in every way, and through a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tools.bench_builder.conftest import files_of, people, read_set, tsv
from tests.tools.bench_builder.fake import Answer, questions, served
from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.tools.bench_builder import BuildSettings, Pair, Relation, TripleFact, build
from ultraedit.tools.bench_builder.writers import prompts
from ultraedit.tools.bench_builder.writers.openai import Endpoint, OpenAIWriter
from ultraedit.tools.bench_builder.writers.replies import Replies, Reply, digest

pytest.importorskip("openai", reason="the client openai is not installed: make install")

GOOD = Answer()


def good(number: int, repeat: int) -> Answer:
    return GOOD


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret")


@pytest.fixture
def ask(tmp_path, write):
    """Build a set with a fake endpoint."""
    path = write("triples.tsv", tsv(people()))

    def _ask(endpoint, *, name="set", size=40, confirm=None, **options):
        settings = {"model": "fake", "timeout": 5.0, "first_wait": 0.01, **options}
        out = tmp_path / name
        writer = OpenAIWriter(Endpoint(base_url=endpoint.url, **settings), out / "replies.sqlite")
        try:
            build(BuildSettings(triples=(path,), out=out, size=size), writer, confirm=confirm)
        finally:
            writer.close()
        return read_set(out), writer

    return _ask


def test_the_questions_are_the_models_and_each_pair_is_asked_for_once(ask):
    with served(good) as endpoint:
        found, writer = ask(endpoint)
    assert len(found.rows) == 40
    assert set(endpoint.asked.values()) == {1}
    assert sum(endpoint.asked.values()) == 40
    for row in found.rows:
        assert row["prompt"].startswith("What is the ")
        assert row["rephrase_prompt"].startswith("Which ")
    assert writer.input_tokens == 4000
    assert writer.output_tokens == 400


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(ask):
    with served(good) as endpoint:
        found, _ = ask(endpoint)
    assert endpoint.keys == {"Bearer a-secret"}
    for name, content in files_of(found.folder).items():
        assert b"a-secret" not in content, name
    assert found.card["writer"] == {"writer": "openai", "model": "fake", "endpoint": endpoint.url}


def test_without_a_key_nothing_is_asked(ask, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with served(good) as endpoint, pytest.raises(ConfigError, match="export OPENAI_API_KEY="):
        ask(endpoint)
    assert not endpoint.asked


def test_a_second_build_asks_nothing_and_gives_the_same_bytes(ask):
    with served(good) as endpoint:
        first, _ = ask(endpoint)
        before = files_of(first.folder)
        second, writer = ask(endpoint)
    assert sum(endpoint.asked.values()) == 40
    assert writer.input_tokens == 0
    after = files_of(second.folder)
    assert {n: c for n, c in after.items() if "sqlite" not in n} == {
        n: c for n, c in before.items() if "sqlite" not in n
    }


@pytest.mark.parametrize(
    "bad",
    [
        Answer(status=500),
        Answer(status=503),
        Answer(status=429),
        Answer(body="not json"),
        Answer(body='{"choices": [{"message": '),
        Answer(body='{"error": "none of the protocol"}'),
        Answer(body="<html>busy</html>", headers={"Content-Type": "text/html"}),
        Answer(body="null"),
    ],
    ids=lambda answer: answer.body or str(answer.status),
)
def test_what_fails_is_asked_again_and_nothing_is_lost(ask, bad):
    with served(lambda number, repeat: bad if repeat == 0 else GOOD) as endpoint:
        found, _ = ask(endpoint, size=20)
    assert len(found.rows) == 20
    assert found.rejected == []
    assert set(endpoint.asked.values()) == {2}
    assert set(endpoint.answered.values()) == {1}


def test_a_reply_that_does_not_come_in_time_is_asked_for_again(ask):
    def slow(number, repeat):
        return Answer(hangs=True) if number in (3, 7) else GOOD

    with served(slow) as endpoint:
        found, _ = ask(endpoint, size=20, timeout=0.5)
    assert len(found.rows) == 20
    assert sorted(endpoint.asked.values())[-3:] == [1, 2, 2]


def test_slow_replies_are_waited_for_and_rows_keep_their_order(ask):
    with served(good) as endpoint:
        straight, _ = ask(endpoint, name="a", concurrency=1)
    with served(lambda number, repeat: Answer(seconds=0.05 * (number % 3))) as endpoint:
        mixed, _ = ask(endpoint, name="b", concurrency=8)
    assert mixed.rows == straight.rows


@pytest.mark.parametrize("limit", [1, 4])
def test_no_more_requests_are_on_their_way_than_allowed(ask, limit):
    with served(lambda number, repeat: Answer(seconds=0.03)) as endpoint:
        ask(endpoint, size=24, concurrency=limit)
    assert endpoint.most_at_once == limit


def test_a_wait_that_the_endpoint_asks_for_is_kept(ask):
    def limited(number, repeat):
        return Answer(status=429, headers={"Retry-After": "1"}) if number == 0 else GOOD

    with served(limited) as endpoint:
        ask(endpoint, size=1, concurrency=1)
    assert endpoint.times[1] - endpoint.times[0] >= 1.0


def test_waits_grow_with_each_attempt(ask):
    with served(lambda number, repeat: Answer(status=500) if number < 4 else GOOD) as endpoint:
        ask(endpoint, size=1, concurrency=1, first_wait=0.1, longest_wait=0.4)
    waits = [b - a for a, b in zip(endpoint.times, endpoint.times[1:], strict=False)]
    # Between half of the wait and all of it, on top of the request itself.
    for wait, most in zip(waits, (0.1, 0.2, 0.4, 0.4), strict=True):
        assert most / 2 <= wait < most + 0.15


def test_an_endpoint_that_stays_down_ends_the_build_and_keeps_what_it_gave(ask, tmp_path):
    with served(lambda number, repeat: GOOD if number < 10 else Answer(status=500)) as endpoint:
        with pytest.raises(
            ConfigError, match=r"no reply in 2 attempts, at last status 500 .*again"
        ):
            ask(endpoint, attempts=2, concurrency=2)
        paid = dict(endpoint.answered)
        assert len(paid) == 10
    with served(good) as endpoint:
        found, _ = ask(endpoint)
    assert len(found.rows) == 40
    assert not set(paid) & set(endpoint.asked)
    assert len(endpoint.asked) == 30


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_ends_the_build_at_once(ask, status):
    refused = pytest.raises(ConfigError, match=f"refused the request with status {status}")
    with served(lambda number, repeat: Answer(status=status)) as endpoint, refused:
        ask(endpoint, concurrency=1)
    assert sum(endpoint.asked.values()) == 1


def test_an_empty_account_is_not_asked_again(ask):
    body = '{"error": {"message": "You have no money.", "code": "insufficient_quota"}}'
    refused = pytest.raises(ConfigError, match="You have no money")
    with served(lambda number, repeat: Answer(status=429, body=body)) as endpoint, refused:
        ask(endpoint, concurrency=1)
    assert sum(endpoint.asked.values()) == 1


def test_a_failure_stops_the_waits_of_the_other_requests(ask):
    def one_refusal(number, repeat):
        return Answer(status=401) if number == 3 else Answer(status=500)

    began = time.monotonic()
    with served(one_refusal) as endpoint, pytest.raises(ConfigError, match="status 401"):
        ask(endpoint, concurrency=4, first_wait=30.0)
    assert time.monotonic() - began < 10


def test_an_address_where_nobody_listens_is_named(ask):
    with served(good) as endpoint:
        pass
    with pytest.raises(ConfigError, match=rf"{endpoint.url} gave no reply .*APIConnectionError"):
        ask(endpoint, attempts=1)


def test_an_unusable_reply_is_paid_for_asked_again_and_at_last_given_up(ask):
    def moody(number, repeat):
        return Answer(text="Sure! Here are your questions.") if number % 4 == 0 else GOOD

    with served(moody) as endpoint:
        found, _ = ask(endpoint, name="a", size=20, concurrency=1)
    assert len(found.rows) == 20
    assert max(endpoint.asked.values()) == 2

    with served(lambda number, repeat: Answer(text="No.") if number < 6 else GOOD) as endpoint:
        found, _ = ask(endpoint, name="b", size=20, concurrency=1)
        asked = sum(endpoint.asked.values())
        assert found.card["rejected"] == {"unusable-reply": 2}
        assert [row["text"] for row in found.rejected] == ["No.", "No."]
        assert len(found.rows) == 20
        again, _ = ask(endpoint, name="b", size=20, concurrency=1)
    assert again.rows == found.rows
    assert sum(endpoint.asked.values()) == asked, "an unusable reply was paid for twice"


def test_a_reply_with_the_answer_in_it_is_rejected_and_replaced(ask):
    leak = '{"question": "%s", "rephrase": "%s", "unrelated": "%s"}'

    def leaky(number, repeat):
        return Answer(text=leak % ("Who is it?", "Is it her?", "Was it?")) if number < 3 else GOOD

    with served(leaky) as endpoint:
        found, _ = ask(endpoint, size=20, concurrency=1)
    assert len(found.rows) == 20
    assert found.card["rejected"]["subject-missing"] == 3


RUN = """
import sys
from pathlib import Path
from ultraedit.tools.bench_builder import BuildSettings, build
from ultraedit.tools.bench_builder.writers.openai import Endpoint, OpenAIWriter
url, triples, out = sys.argv[1:]
endpoint = Endpoint(base_url=url, model="fake", concurrency=4, timeout=60.0)
writer = OpenAIWriter(endpoint, Path(out) / "replies.sqlite")
build(BuildSettings(triples=(Path(triples),), out=Path(out), size=40), writer)
"""


def stored(path: Path) -> int:
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM replies").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def test_a_kill_in_the_middle_loses_nothing_and_nothing_is_asked_twice(ask, tmp_path, write):
    triples = write("triples.tsv", tsv(people()))
    replies = tmp_path / "killed" / "replies.sqlite"
    # After 15 good replies the endpoint falls silent, so the kill meets four open requests.
    with served(lambda number, repeat: GOOD if number < 15 else Answer(hangs=True)) as endpoint:
        command = [sys.executable, "-c", RUN, endpoint.url, triples, tmp_path / "killed"]
        with subprocess.Popen([str(word) for word in command]) as process:
            deadline = time.monotonic() + 60
            while stored(replies) < 15 or sum(endpoint.asked.values()) < 19:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGKILL)
        paid = set(endpoint.answered)
    assert process.returncode == -signal.SIGKILL
    assert len(paid) == stored(replies) == 15

    with served(good) as endpoint:
        found, _ = ask(endpoint, name="killed")
    assert len(found.rows) == 40
    assert not paid & set(endpoint.asked), "a reply that was there was asked for again"
    assert len(endpoint.asked) == 25

    with served(good) as endpoint:
        unbroken, _ = ask(endpoint, name="unbroken")
    assert found.rows == unbroken.rows
    assert found.rejected == unbroken.rejected


def test_the_estimate_counts_what_is_there_and_what_is_missing(ask):
    seen = []
    prices = {"price_in": 0.5, "price_out": 2.0}
    with served(good) as endpoint:
        ask(endpoint, size=10, confirm=seen.append)
        ask(endpoint, size=40, confirm=seen.append, **prices)
    first, second = seen
    assert (first.requests, first.answered, first.cost) == (10, 0, None)
    assert (second.requests, second.answered) == (30, 10)
    assert second.output_tokens == 30 * prompts.REPLY_TOKENS
    length = len(prompts.SYSTEM) + len(next(iter(endpoint.asked)))
    assert second.input_tokens == pytest.approx(30 * length / 4, rel=0.05)
    expected = (0.5 * second.input_tokens + 2.0 * second.output_tokens) / 1e6
    assert second.cost == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"attempts": 0}, "attempts must be at least 1, got 0"),
        ({"timeout": 0.0}, "timeout must be a positive number, got 0"),
        ({"price_in": -1.0, "price_out": 1.0}, "price_in must be at least 0"),
        ({"base_url": "localhost:8000"}, "base_url must begin with http://"),
        ({"price_in": 1.0}, "Give both --price-in and --price-out"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, expected):
    with pytest.raises(ConfigError, match=expected):
        Endpoint(model="fake", **options)


def test_a_file_of_replies_that_is_none_is_named(tmp_path):
    path = tmp_path / "replies.sqlite"
    path.write_text("these are no replies\n" * 100)
    with pytest.raises(StorageError, match=r"replies\.sqlite, where the replies are kept"):
        Replies(path)


def test_a_request_is_known_by_its_model_its_text_and_its_asking(tmp_path):
    messages = [{"role": "user", "content": "a"}]
    other = [{"role": "user", "content": "b"}]
    names = {
        digest("m", messages, 0),
        digest("n", messages, 0),
        digest("m", other, 0),
        digest("m", messages, 1),
    }
    assert len(names) == 4
    replies = Replies(tmp_path / "r")
    replies.put("x", Reply("text ü", 1, 2))
    replies.put("x", Reply("later", 1, 2))
    assert replies.get("x") == Reply("text ü", 1, 2)
    assert replies.get("y") is None
    assert len(replies) == 1
    replies.close()


def pair() -> Pair:
    born = Relation("P19", "place of birth")
    return Pair(
        TripleFact("00", "Ada Veltra", born, "Lyon", subject_aliases=("A. Veltra", "Countess")),
        TripleFact("01", "Ines Okafor", born, "Graz"),
    )


def test_the_task_names_both_facts_and_the_length():
    task = prompts.task(pair())
    for text in ("Ada Veltra", "Lyon", "Ines Okafor", "Graz", "A. Veltra, Countess", "4 to 14"):
        assert text in task
    lengths = {prompts.task(pair()._replace(fact=fact)) for fact in spread()}
    assert len(lengths) == 4


def spread():
    return [TripleFact(f"{n:02x}", "Ada Veltra", pair().fact.relation, "Lyon") for n in range(16)]


@pytest.mark.parametrize(
    "wrapped", ["{}", "```json\n{}\n```", "Here you are {{}}: {} Anything else?", "  {}\n\n{{"]
)
def test_questions_are_found_in_whatever_stands_around_them(wrapped):
    reply = wrapped.format(questions(prompts.task(pair())))
    found = prompts.parse(reply)
    assert found is not None
    assert found.prompt == "What is the place of birth of Ada Veltra?"


@pytest.mark.parametrize(
    "reply",
    ["", "No.", "{", '{"question": "a"}', "[1]", '{"question": 1, "rephrase": 2, "unrelated": 3}'],
)
def test_a_reply_without_three_questions_is_none(reply):
    assert prompts.parse(reply) is None
