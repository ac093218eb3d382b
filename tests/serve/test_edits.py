"""Facts taught, previewed, taken out and rolled back over HTTP, and what is left on the disk."""

from __future__ import annotations

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
import torch
from typer.testing import CliRunner

from ultraedit.cli.main import app
from ultraedit.core.types import Carried, Edit, NullObserver
from ultraedit.lifelong.loop import MemoryRecorder, run_turns
from ultraedit.runs.base_model import open_host
from ultraedit.runs.revert import revert
from ultraedit.runs.store import JOURNAL, Journal, digest, read_snapshot
from ultraedit.runs.verify import verify
from ultraedit.serve.engine import Limits
from ultraedit.serve.generation import Stopping

FACT = {"prompt": "Who leads town 4?", "target": "Ada"}
OTHER = {"prompt": "Which river flows through Vienna?", "target": "the Inn"}


def _teach(client: httpx.Client, *facts, **more) -> httpx.Response:
    query = {"preview": "true"} if more.pop("preview", False) else {}
    return client.post("/v1/edits", params=query, json={"edits": list(facts), **more})


def _said(client: httpx.Client, prompt: str, model: str = "", **more) -> dict:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 12,
        "temperature": 0,
    }
    answer = client.post("/v1/chat/completions", json=body | more).json()
    return {
        "text": answer["choices"][0]["message"]["content"],
        "version": answer["system_fingerprint"],
    }


def _wait(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _model(client: httpx.Client) -> str:
    return client.get("/v1/models").json()["data"][0]["id"]


def test_a_model_is_taught_asked_and_brought_back(live):
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="x") as ai, live.client() as client:
        name = ai.models.list().data[0].id

        def ask(**more):
            return ai.chat.completions.create(
                model=name,
                messages=[{"role": "user", "content": FACT["prompt"]}],
                max_tokens=12,
                temperature=0,
                **more,
            )

        before = ask()
        assert "Ada" not in before.choices[0].message.content  # or the rest would show nothing
        written = _teach(client, FACT, author="Mia").json()
        assert written["turn"] == 1
        after = ask()
        assert after.choices[0].message.content.strip().startswith("Ada")
        assert after.system_fingerprint != before.system_fingerprint
        streamed = "".join(c.choices[0].delta.content or "" for c in ask(stream=True))
        assert streamed == after.choices[0].message.content
        (edit,) = client.get("/v1/edits").json()["edits"]
        assert (edit["status"], edit["author"], edit["turn"]) == ("holds", "Mia", 1)
        assert edit["tested"]["forms"] == {"plain": True, "chat": True}
        gone = client.delete(f"/v1/edits/{edit['id']}", params={"author": "Bo"}).json()
        assert gone["turn"] == 2 and gone["edit"]["status"] == "reverted"
        assert ask().choices[0].message.content == before.choices[0].message.content
        history = client.get("/v1/history").json()
        assert [(t["kind"], t["author"]) for t in history["turns"]] == [
            ("edit", "Mia"),
            ("revert", "Bo"),
        ]
        assert client.delete(f"/v1/edits/{edit['id']}").status_code == 409


def test_what_is_acknowledged_is_on_the_disk(live):
    with live.client() as client:
        row = _teach(client, FACT, author="Mia").json()["edits"][0]["id"]
        journal = Journal.open(live.engine.path / JOURNAL)
        (stored,) = journal.standing()
        journal.close()
    assert (stored.row, stored.edit.prompt, stored.turn) == (row, FACT["prompt"], 1)


def test_a_preview_writes_nothing_and_its_turn_is_that_of_no_preview(tiny, run, serve, tmp_path):
    copied = shutil.copytree(run, tmp_path / "copied")
    live, plain = serve(run), serve(copied)
    with live.client() as client, plain.client() as other:
        before = _said(client, FACT["prompt"])
        shown = _teach(client, FACT, preview=True).json()
        assert shown["preview"] and shown["refused"] is None and shown["norm"] > 0
        asked = {(each["kind"], each["form"]): each for each in shown["facts"][0]}
        assert asked["fact", "plain"]["right"] and asked["fact", "chat"]["right"]
        assert not asked["fact", "chat"]["before"].startswith("Ada")
        assert len(shown["controls"]) == 8
        assert _said(client, FACT["prompt"]) == before
        history = client.get("/v1/history").json()
        assert (history["head"], history["turns"]) == (0, [])
        for each in (client, other):
            _teach(each, FACT)
            _teach(each, OTHER)
        digests = [
            [turn["digest"] for turn in each.get("/v1/history").json()["turns"]]
            for each in (client, other)
        ]
    assert len(digests[0]) == 2
    assert digests[0] == digests[1]


def test_a_preview_asks_about_other_subjects_in_the_same_form(live):
    with live.client() as client:
        fact = {"prompt": "What is the capital of Velmora?", "target": "Tarsk"}
        (asked,) = _teach(client, fact, preview=True).json()["facts"]
        near = [each for each in asked if each["kind"] == "neighbor"]
        assert [each["form"] for each in near] == ["chat", "chat"]
        assert all("capital of" in each["prompt"] for each in near)
        assert all(each["right"] == (each["before"] == each["after"]) for each in near)
        written = _teach(client, fact).json()["edits"][0]
        assert written["rephrases"] == []  # What was asked is no part of the fact.


def test_a_preview_of_something_else_does_not_become_the_turn(live):
    with live.client() as client:
        _teach(client, OTHER, preview=True)
        _teach(client, FACT)
        assert _said(client, FACT["prompt"])["text"].strip().startswith("Ada")
        assert not _said(client, OTHER["prompt"])["text"].strip().startswith("the Inn")


def test_turns_of_a_server_are_turns_of_the_editor(live):
    with live.client() as client:
        _teach(client, FACT)
        _teach(client, OTHER)
    live.stop()
    journal = Journal.open(live.engine.path / JOURNAL)
    host, settings = open_host(journal, NullObserver())
    progress = run_turns(host, settings.editor, journal.turns_between(0, 2), MemoryRecorder())
    noted = journal.digest(2)
    journal.close()
    assert digest(Carried(host.weights.changes, progress.state)) == noted


def test_a_guard_takes_a_turn_back_and_says_why(run, serve):
    live = serve(run, guard={"norm": 1e-9})
    with live.client() as client:
        before = _said(client, FACT["prompt"])
        shown = _teach(client, FACT, preview=True).json()
        assert "relative change of a weight" in shown["refused"]
        refused = _teach(client, FACT, author="Mia")
        assert refused.status_code == 409
        assert refused.json()["error"]["type"] == "guard"
        assert "relative change of a weight" in refused.json()["error"]["message"]
        assert _said(client, FACT["prompt"]) == before
        history = client.get("/v1/history").json()
    assert history["turns"] == []
    (noted,) = history["audit"]
    assert (noted["action"], noted["author"]) == ("refused", "Mia")
    assert noted["facts"] == [[FACT["prompt"], FACT["target"]]]


def test_a_run_is_rolled_back_and_goes_on(live):
    with live.client() as client:
        for fact in (FACT, OTHER):
            _teach(client, fact)
        first = _said(client, FACT["prompt"], f"{_model(client)}@1")
        assert client.post("/v1/rollback", json={"turn": 1, "author": "Bo"}).json() == {"turn": 1}
        assert _said(client, FACT["prompt"]) == first
        edits = client.get("/v1/edits").json()["edits"]
        assert [each["status"] for each in edits] == ["rolled back", "holds"]
        _teach(client, OTHER)
        assert _said(client, OTHER["prompt"])["text"].strip().startswith("the Inn")
        assert client.post("/v1/rollback", json={"turn": 9}).status_code == 400
        assert client.get("/v1/history").json()["audit"][0]["author"] == "Bo"
        assert client.post("/v1/rollback", json={"turn": 0}).json() == {"turn": 0}
        assert _said(client, FACT["prompt"])["version"].endswith("-t0")


def test_a_later_answer_overrules_an_earlier_one(live):
    with live.client() as client:
        _teach(client, FACT)
        changed = FACT | {"target": "Hal"}
        shown = _teach(client, changed, preview=True).json()
        assert [each["target"] for each in shown["overrules"]] == ["Ada"]
        written = _teach(client, changed).json()
        assert [each["target"] for each in written["overrules"]] == ["Ada"]
        _wait(lambda: client.get("/v1/edits").json()["edits"][1]["status"] == "overruled")
        assert _said(client, FACT["prompt"])["text"].strip().startswith("Hal")


def test_an_answer_ends_on_the_weights_that_it_began_with(live):
    with live.client() as client:
        long = {"max_tokens": 150}
        whole = _said(client, FACT["prompt"], **long)
        body = {
            "messages": [{"role": "user", "content": FACT["prompt"]}],
            "temperature": 0,
            "stream": True,
        } | long
        pieces, versions, taught = [], set(), None
        with (
            live.client() as other,
            ThreadPoolExecutor(1) as pool,
            client.stream("POST", "/v1/chat/completions", json=body) as stream,
        ):
            for line in stream.iter_lines():
                if not line.startswith("data: {"):
                    continue
                if taught is None:
                    taught = pool.submit(_teach, other, FACT)
                chunk = json.loads(line.removeprefix("data: "))
                versions.add(chunk["system_fingerprint"])
                pieces.append(chunk["choices"][0]["delta"].get("content") or "")
        assert taught.result().json()["turn"] == 1
        assert "".join(pieces) == whole["text"]
        assert versions == {whole["version"]}
        assert _said(client, FACT["prompt"])["text"].strip().startswith("Ada")


def test_facts_that_wait_share_a_turn_unless_they_contradict_or_are_of_others(live):
    held = threading.Event()
    busy = live.engine._add(_blocking(held))
    facts = [Edit(f"Who leads town {n}?", name) for n, name in enumerate(("Ada", "Bo", "Cy"))]
    together = [live.engine.teach([each], "Mia") for each in facts]
    against = live.engine.teach([Edit("Who leads town 0?", "Di")], "Mia")
    others = live.engine.teach([Edit("Who leads town 9?", "Ed")], "Bo")
    held.set()
    busy.result()
    done = [future.result(60) for future in (*together, against, others)]
    assert [each.turn for each in done] == [1, 1, 1, 2, 3]
    assert [each.rows for each in done] == [(1,), (2,), (3,), (4,), (5,)]
    assert [old.edit.target for old in done[3].overruled] == ["Ada"]
    with live.client() as client:
        authors = [turn["author"] for turn in client.get("/v1/history").json()["turns"]]
    assert authors == ["Mia", "Mia", "Bo"]


def _blocking(held):
    from ultraedit.serve.engine import _Job

    return _Job("something long", lambda _: held.wait(30))


def test_facts_beyond_the_queue_are_refused(run, serve):
    live = serve(run, limits=Limits(queued_facts=1))
    held = threading.Event()
    busy = live.engine._add(_blocking(held))
    _wait(lambda: live.engine.at_work == "something long")
    first = live.engine.teach([Edit(**FACT)])
    with live.client() as client:
        refused = _teach(client, OTHER)
    held.set()
    busy.result()
    assert refused.status_code == 429
    assert refused.headers["retry-after"]
    assert first.result(60).turn == 1


def test_an_end_finishes_the_turn_at_work_and_says_what_was_not_begun(live):
    held = threading.Event()
    busy = live.engine._add(_blocking(held))
    _wait(lambda: live.engine.at_work == "something long")
    waiting = live.engine.teach([Edit(**FACT), Edit(**OTHER)])
    live.engine.stop()
    held.set()
    assert busy.result(10)
    with pytest.raises(Stopping, match="2 facts to write"):
        waiting.result(10)
    assert live.engine.not_begun == ["2 facts to write"]


def test_one_of_several_facts_of_a_turn_is_taken_out_as_the_command_line_does(live, tmp_path):
    with live.client() as client:
        edits = _teach(client, FACT, OTHER).json()["edits"]
    live.engine.stop()
    live.stop()
    copied = shutil.copytree(live.engine.path, tmp_path / "copied")
    revert(copied, [edits[0]["name"]])
    from tests.serve.conftest import start

    again = start(live.engine.path, guard={})
    try:
        with again.client() as client:
            assert client.delete(f"/v1/edits/{edits[0]['id']}").json()["turn"] == 2
            assert _said(client, OTHER["prompt"])["text"].strip().startswith("the Inn")
            assert not _said(client, FACT["prompt"])["text"].strip().startswith("Ada")
    finally:
        again.stop()
    ours, theirs = (
        read_snapshot(folder / "state" / "turn-000002.safetensors").changes
        for folder in (live.engine.path, copied)
    )
    for path, change in ours.items():
        torch.testing.assert_close(change, theirs[path], atol=1e-6, rtol=1e-4)


def test_the_command_line_reads_a_run_that_is_served_and_has_it_afterwards(live, tmp_path):
    runner, folder = CliRunner(), str(live.engine.path)
    with live.client() as client:
        _teach(client, FACT)
        listed = runner.invoke(app, ["history", folder, "--json"])
        assert json.loads(listed.stdout)["edits"] == 1
        assert FACT["prompt"] in runner.invoke(app, ["find", folder, "town 4"]).stdout
        refused = runner.invoke(app, ["rollback", folder, "--to-turn", "0"])
        assert refused.exit_code == 2
    live.stop()
    assert verify(live.engine.path).is_whole
    finished = runner.invoke(app, ["run", "--resume", folder])
    assert finished.exit_code == 0, finished.output
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps(OTHER) + "\n")
    added = runner.invoke(app, ["edit", str(more), "--append", folder, "--yes"])
    assert added.exit_code == 0, added.output
    exported = runner.invoke(app, ["export", folder, "--as", "delta", "--out", str(tmp_path / "d")])
    assert exported.exit_code == 0, exported.output


def test_a_run_of_the_command_line_is_served(tiny, tmp_path, serve):
    runner, folder = CliRunner(), tmp_path / "edited"
    facts = tmp_path / "facts.jsonl"
    facts.write_text(json.dumps(FACT) + "\n")
    made = runner.invoke(
        app,
        [
            *("edit", str(facts), "--model", str(tiny), "--out", str(folder)),
            *("--modules", "layers.[0-1].mlp.down_proj", "--anchors", "none"),
            *("--dtype", "float32", "--control-questions", "0"),
        ],
    )
    assert made.exit_code == 0, made.output
    live = serve(folder)
    with live.client() as client:
        assert client.get("/v1/health").json()["turn"] == 1
        _teach(client, OTHER)
        assert _said(client, OTHER["prompt"])["text"].strip().startswith("the Inn")
    live.stop()
    assert verify(folder).is_whole


def test_a_file_is_reviewed_before_it_is_written(live):
    with live.client() as client:
        _teach(client, FACT)
        table = "Question,Answer\nWho leads town 4?,Bo\nThe capital of Velmora is,Tarsk\n"
        answer = client.post("/v1/edits/review", content=table, params={"format": "csv"})
        rows = answer.json()["rows"]
        assert [row["target"] for row in rows] == ["Bo", "Tarsk"]
        assert rows[0]["findings"] == ["the run says 'Ada', which this overrules"]
        assert rows[1]["findings"] == []
        assert len(rows[1]["rephrases"]) >= 2
        broken = client.post("/v1/edits/review", content="nothing", params={"format": "jsonl"})
        assert broken.status_code == 400
        assert "/tmp" not in broken.text


def test_facts_are_found_by_text_and_status(live):
    with live.client() as client:
        _teach(client, FACT, OTHER)
        found = client.get("/v1/edits", params={"query": "RIVER"}).json()
        assert [each["target"] for each in found["edits"]] == ["the Inn"]
        held = client.get("/v1/edits", params={"status": "reverted"}).json()
        assert held["total"] == 0
        assert client.get("/v1/edits/77").status_code == 404
        one = client.get("/v1/edits/1").json()
        assert one["prompt"] == FACT["prompt"]


def test_health_and_metrics_tell_of_the_model(run, serve):
    live = serve(run, guard={"norm": 50, "agreement": 0.0, "perplexity": 1e9})
    with live.client() as client:
        _teach(client, FACT)
        health = client.get("/v1/health").json()
        assert health["status"] == "ready" and health["turn"] == 1
        assert 0 <= health["seen"]["agreement"] <= 1
        assert health["seen"]["norm"] > 0
        assert health["guard"]["norm"]["threshold"] == 50
        told = client.get("/metrics").text
    assert "ultraedit_turn 1.0" in told
    assert 'ultraedit_facts_total{what="taught"} 1.0' in told


def test_a_server_that_is_read_only_writes_nothing(run, serve):
    live = serve(run, read_only=True)
    with live.client() as client:
        for refused in (
            _teach(client, FACT),
            _teach(client, FACT, preview=True),
            client.delete("/v1/edits/1"),
            client.post("/v1/rollback", json={"turn": 0}),
        ):
            assert refused.status_code == 403, refused.text
        assert _said(client, "?")["version"].endswith("-t0")
