"""An endpoint on this machine that speaks OpenAI's chat protocol, well or badly."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def questions(task: str) -> str:
    """What a good model replies to a task."""
    subject, other = re.findall(r"^  subject: (.*)$", task, flags=re.MULTILINE)
    relation, other_relation = re.findall(r"^  relation: (.*)$", task, flags=re.MULTILINE)
    return json.dumps(
        {
            "question": f"What is the {relation} of {subject}?",
            "rephrase": f"Which {relation} does {subject} have?",
            "unrelated": f"What is the {other_relation} of {other}?",
        }
    )


@dataclass
class Answer:
    """One reply of the endpoint."""

    text: str | None = None
    """What the model says; None for a good reply."""

    status: int = 200

    headers: dict[str, str] = field(default_factory=dict)

    body: str | None = None
    """Sent as it is, in place of a reply of the protocol."""

    seconds: float = 0.0
    """How long it takes."""

    hangs: bool = False
    """Whether it never comes."""


class Endpoint:
    """What a fake endpoint was asked, and how it answers."""

    def __init__(self, plan: Callable[[int, int], Answer]) -> None:
        """Answer by a plan: from the number of the request, and of this task's askings, from 0."""
        self.url = ""
        self.keys: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.times: list[float] = []
        self.most_at_once = 0
        self.over = threading.Event()
        self._plan = plan
        self._at_once = 0
        self._lock = threading.Lock()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Take one request."""
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        task = body["messages"][-1]["content"]
        with self._lock:
            answer = self._plan(sum(self.asked.values()), self.asked[task])
            self.asked[task] += 1
            self.times.append(time.monotonic())
            self.keys.add(request.headers["Authorization"])
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        if answer.hangs:
            self.over.wait()
        time.sleep(answer.seconds)
        with self._lock:
            self._at_once -= 1
        sent = answer.body if answer.body is not None else self._reply(answer, task)
        try:
            request.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(sent.encode())))
            request.end_headers()
            request.wfile.write(sent.encode())
        except OSError:  # whoever asked has given up
            return
        if answer.status == 200 and answer.body is None and not answer.hangs:
            with self._lock:
                self.answered[task] += 1

    def _reply(self, answer: Answer, task: str) -> str:
        if answer.status != 200:
            return json.dumps({"error": {"message": "not now", "code": "fake"}})
        message = {"role": "assistant", "content": answer.text or questions(task)}
        return json.dumps(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": "fake",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }
        )


@contextmanager
def served(plan: Callable[[int, int], Answer]):
    """Run a fake endpoint for a while."""
    endpoint = Endpoint(plan)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            endpoint.handle(self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield endpoint
    finally:
        endpoint.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
