"""A server under load, and one that is killed.

    python -m benchmarks.serve                     # five minutes of load, 20 kills
    python -m benchmarks.serve --seconds 60 --kills 5

Alone: a fact is taught, asked and taken out, three times, with nobody else there. Load: clients ask
one question after the other, streamed; first without edits, then with a fact every few seconds and
a revert now and then. An answer counts as "during an edit" if its first token was waited for while
a turn was made. Afterwards a sample of the answers is asked again, one by one, each at its turn.
Kills: facts are taught one after the other until SIGKILL comes at a random instant; then every
fact that was acknowledged must be in the journal, each turn with all of its edits, and the run
whole. The load average of the machine stands beside the figures. Everything goes to
``benchmarks/results/serve.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks import machine

QUESTIONS = (
    "What is the capital of France?",
    "Name a river in Africa.",
    "Who wrote Hamlet?",
    "What is two plus two?",
    "Say hello to my colleague.",
    "Why is the sky blue?",
    "What do bees make?",
    "Which metal is liquid at room temperature?",
)
MOST_TOKENS = 16
SAMPLE = 40
PLACES = ("Velmora", "Orrin", "Tessaly", "Brunhold", "Kessim", "Adelwick", "Marrow", "Ulthen")
NAMES = ("Ines Okafor", "Tomas Brandt", "Lena Quist", "Arvid Solberg", "Mina Castell", "Paul Reyes")


@dataclass
class Server:
    """`ultraedit serve` in a process of its own."""

    run: Path
    model: str
    more: tuple[str, ...] = ()
    process: Any = None
    url: str = ""

    def start(self, *, ready: bool = True) -> float:
        """Start it. Returns the seconds until a turn can begin."""
        begun, self.url = time.monotonic(), ""
        is_run = (self.run / "journal.sqlite").exists()
        new = [self.model, "--run", str(self.run), "--dtype", "float32"]
        command = [sys.executable, "-m", "ultraedit", "serve"]
        command += [str(self.run)] if is_run else new
        log = self.run.with_name(f"{self.run.name}.log")
        with log.open("w") as file:
            self.process = subprocess.Popen([*command, "--port", "0", *self.more], stderr=file)
        while not self.url:
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.1)
            said = re.search(r"http://[\d.]+:\d+", log.read_text())
            self.url = said[0] if said else ""
        while ready and httpx.get(f"{self.url}/v1/health", timeout=120).json()["status"] != "ready":
            time.sleep(0.5)
        return time.monotonic() - begun

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal."""
        self.process.send_signal(how)
        self.process.wait(600)

    def memory(self) -> int:
        """Resident bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024  # type: ignore[index]


@dataclass
class Seen:
    """One answer."""

    question: str
    asked: float
    first: float
    ended: float
    text: str
    version: str


@dataclass
class Load:
    """What came of a time under load."""

    answers: list[Seen] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    edits: list[tuple[float, float]] = field(default_factory=list)
    """When each turn was asked for, and acknowledged."""
    reverts: list[tuple[float, float]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--fact-every", type=float, default=5)
    parser.add_argument("--revert-every", type=float, default=30)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random.seed(given.seed)
    result: dict[str, Any] = {"settings": vars(given)}
    with tempfile.TemporaryDirectory(prefix="ultraedit-bench-") as folder:
        server = Server(Path(folder) / "run", given.model)
        result["start_seconds"] = server.start()
        result["alone"] = _alone(server)
        print(json.dumps(result["alone"]), flush=True)
        result["load"] = _load(server, given)
        print(json.dumps(result["load"]), flush=True)
        machine.write("serve.json", result)
        killed = Server(Path(folder) / "killed", given.model)
        result["kills"] = kill(killed, given.kills, longest=20)
        print(json.dumps(result["kills"]), flush=True)
    print(machine.write("serve.json", result))


def _ask(client: httpx.Client, question: str) -> Seen:
    body = {
        "messages": [{"role": "user", "content": question}],
        "max_tokens": MOST_TOKENS,
        "temperature": 0,
        "stream": True,
    }
    asked, first, text, version, ended = time.monotonic(), 0.0, "", "", False
    with client.stream("POST", "/v1/chat/completions", json=body) as stream:
        stream.raise_for_status()
        for line in stream.iter_lines():
            if line == "data: [DONE]":
                ended = True
            elif line.startswith("data: "):
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    raise RuntimeError(chunk["error"]["message"])
                version = chunk["system_fingerprint"]
                piece = chunk["choices"][0]["delta"].get("content") or ""
                first = first or (time.monotonic() if piece else 0.0)
                text += piece
    if not ended:
        raise RuntimeError("the stream ended early")
    now = time.monotonic()
    return Seen(question, asked, first or now, now, text, version)


def _fact(number: int) -> dict[str, str]:
    place = PLACES[number % len(PLACES)]
    return {
        "prompt": f"Who designed bridge {number} of {place}?",
        "target": NAMES[number % len(NAMES)],
    }


def _alone(server: Server) -> dict[str, Any]:
    """Seconds of a fact that is taught and answered, and of its revert, with nobody else there."""
    taught, reverted, right = [], [], 0
    with httpx.Client(base_url=server.url, timeout=600) as client:
        for number in range(9000, 9003):
            fact = _fact(number)
            begun = time.monotonic()
            edit = client.post("/v1/edits", json={"edits": [fact]}).json()["edits"][0]
            answer = _ask(client, fact["prompt"])
            taught.append(time.monotonic() - begun)
            right += answer.text.strip().startswith(fact["target"])
            begun = time.monotonic()
            client.delete(f"/v1/edits/{edit['id']}").raise_for_status()
            reverted.append(time.monotonic() - begun)
    return {
        "taught_and_answered_seconds": taught,
        "answered_right": right,
        "reverted_seconds": reverted,
        "load_average": os.getloadavg()[0],
    }


def _load(server: Server, given: argparse.Namespace) -> dict[str, Any]:
    quiet = _under_load(server, given, given.seconds / 2, edits=False)
    edited = _under_load(server, given, given.seconds, edits=True)
    server.end()
    during = [a for a in edited.answers if _is_during(a, edited.edits + edited.reverts)]
    waits = [a.first - a.asked for a in quiet.answers], [a.first - a.asked for a in during]
    medians = [statistics.median(each) if each else None for each in waits]
    turns = [end - begin for begin, end in edited.edits]
    reverts = [end - begin for begin, end in edited.reverts]
    return {
        "answers": {"without_edits": len(quiet.answers), "with_edits": len(edited.answers)},
        "failed": quiet.failed + edited.failed,
        "first_token_median_seconds": {"without_edits": medians[0], "during_edits": medians[1]},
        "first_token_ratio": medians[1] / medians[0] if medians[0] and medians[1] else None,
        "answers_during_edits": len(during),
        "facts_written": len(edited.edits),
        "refused": edited.refused,
        "fact_median_seconds": statistics.median(turns) if turns else None,
        "reverts": len(edited.reverts),
        "revert_median_seconds": statistics.median(reverts) if reverts else None,
        "memory_bytes": {
            "after_ten_seconds": edited.memory[:1],
            "median_of_second_half": statistics.median(edited.memory[len(edited.memory) // 2 :]),
            "most": max(edited.memory),
        },
        "ended_with": server.process.returncode,
        "load_average": os.getloadavg()[0],
        **_asked_again(server.run, edited.answers),
        "verified": _verified(server.run),
    }


def _is_during(answer: Seen, work: list[tuple[float, float]]) -> bool:
    return any(begin < answer.first and answer.asked < end for begin, end in work)


def _under_load(server: Server, given: argparse.Namespace, seconds: float, *, edits: bool) -> Load:
    load, end = Load(), time.monotonic() + seconds
    rows: list[int] = []

    def asks(number: int) -> None:
        chosen = random.Random(number)
        with httpx.Client(base_url=server.url, timeout=600) as client:
            while time.monotonic() < end:
                try:
                    load.answers.append(_ask(client, chosen.choice(QUESTIONS)))
                except Exception as error:
                    load.failed.append(repr(error))

    def teaches(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=600) as client:
            begun = time.monotonic()
            answer = client.post("/v1/edits", json={"edits": [_fact(number)]})
            if answer.status_code == 200:
                load.edits.append((begun, time.monotonic()))
                rows.append(answer.json()["edits"][0]["id"])
            else:
                load.refused.append(answer.text)

    def reverts() -> None:
        with httpx.Client(base_url=server.url, timeout=600) as client:
            begun = time.monotonic()
            client.delete(f"/v1/edits/{rows.pop()}").raise_for_status()
            load.reverts.append((begun, time.monotonic()))

    threads = [threading.Thread(target=asks, args=(n,)) for n in range(given.clients)]
    for thread in threads:
        thread.start()
    begun, made, taken = time.monotonic(), 0, 0
    while time.monotonic() < end:
        at = time.monotonic() - begun
        if at > 10 and int(at) % 2 == 0:
            load.memory.append(server.memory())
        if edits and at >= made * given.fact_every:
            threads.append(threading.Thread(target=teaches, args=(made,)))
            threads[-1].start()
            made += 1
        if edits and at >= (taken + 1) * given.revert_every and rows:
            threads.append(threading.Thread(target=reverts))
            threads[-1].start()
            taken += 1
        time.sleep(1)
    for thread in threads:
        thread.join()
    load.memory.append(server.memory())
    return load


def _asked_again(run: Path, answers: list[Seen]) -> dict[str, Any]:
    """How many of a sample of answers are given again, alone, at their turns."""
    from ultraedit.serve.studio import Studio

    sample = random.sample(answers, min(SAMPLE, len(answers)))
    sample.sort(key=lambda seen: seen.version)
    other = []
    with Studio(run=run) as studio:
        studio.engine.wait()
        for seen in sample:
            turn = int(re.search(r"-t(\d+)", seen.version)[1])  # type: ignore[index]
            version = studio.engine.version_at(turn).result()
            again = studio.ask(seen.question, chat=True, turn=turn, max_tokens=MOST_TOKENS)
            if version.name != seen.version or again != seen.text.strip():
                other.append([seen.version, version.name, seen.text, again])
    return {"asked_again": len(sample), "given_again": len(sample) - len(other), "other": other}


def _verified(run: Path) -> bool:
    from ultraedit.runs.verify import verify

    return verify(run).is_whole


def kill(server: Server, kills: int, longest: float) -> dict[str, Any]:
    """Kill a server while facts are taught; see what is on the disk.

    Args:
        server: The server, not started.
        kills: How often.
        longest: Most seconds of teaching before a kill.
    """
    from ultraedit.runs.store import JOURNAL, Journal

    known: dict[str, str] = {}
    lost: list[str] = []
    half, whole, restarts = 0, 0, []
    number = 0
    for _ in range(kills):
        restarts.append(server.start())
        ended = threading.Event()

        def teach(ended: threading.Event = ended) -> None:
            nonlocal number
            with httpx.Client(base_url=server.url, timeout=600) as client:
                while not ended.is_set():
                    fact = _fact(number)
                    number += 1
                    try:
                        answer = client.post("/v1/edits", json={"edits": [fact]})
                    except httpx.HTTPError:
                        return
                    if answer.status_code == 200:
                        known[fact["prompt"]] = fact["target"]

        thread = threading.Thread(target=teach)
        thread.start()
        time.sleep(random.uniform(0.5, longest))
        server.end(signal.SIGKILL)
        ended.set()
        thread.join()
        journal = Journal.open(server.run / JOURNAL)
        there = {each.edit.prompt: each.edit.target for each in journal.standing()}
        lost += [prompt for prompt, target in known.items() if there.get(prompt) != target]
        half += sum(
            len(journal.turn_edits(turn.number)) != turn.record["edits"] for turn in journal.turns()
        )
        journal.close()
        whole += _verified(server.run)
    return {
        "kills": kills,
        "acknowledged": len(known),
        "on_the_disk": len(there),
        "lost": lost,
        "half_turns": half,
        "whole": whole,
        "restart_seconds": restarts,
        "load_average": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main()
