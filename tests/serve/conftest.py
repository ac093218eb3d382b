"""A live server of a tiny model, and of SmolLM2 where a test asks for it."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.models import save
from ultraedit.serve.app import make_server
from ultraedit.serve.engine import Engine, Limits
from ultraedit.serve.opening import make_run
from ultraedit.serve.security import Policy

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)

SURENESS = 8.0
"""What the last hidden states of the tiny model are multiplied by."""

SETTINGS = {
    "modules": "layers.[0-1].mlp.down_proj",
    "dtype": "float32",
    # A random model has nothing to keep: a step that is damped little writes in few passes.
    "options": {"anchors": "none", "written": 0.02, "passes": 100, "wordings": 0, "neighbors": 0},
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A folder with a tiny model that has a chat template."""
    model = tiny_model(layers=2)
    model.tokenizer.chat_template = TEMPLATE
    # Random embeddings are so short that no change makes the model sure of an answer (loss 3.2 at
    # best): which token wins is then a matter of rounding, and of the processor.
    with torch.no_grad():
        model.model.model.norm.weight.mul_(SURENESS)
    folder = tmp_path_factory.mktemp("serve") / "tiny"
    save(model, folder)
    return folder


@pytest.fixture(autouse=True)
def threads_of_a_server():
    """Work outside a server with as many threads as its editing has: sums depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    yield
    torch.set_num_threads(before)


@dataclass
class Live:
    """A server at work."""

    engine: Engine
    url: str
    server: Any
    thread: threading.Thread

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120, **more)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(60)
        assert not self.thread.is_alive()


def start(path: Path, policy: Policy | None = None, **more: Any) -> Live:
    """Serve a run on a free port."""
    engine = Engine(path, **more)
    engine.start()
    engine.wait()
    server = make_server(engine, policy or Policy(), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    return Live(engine, f"http://127.0.0.1:{port}", server, thread)


@pytest.fixture
def run(tiny, tmp_path) -> Path:
    """A run of the tiny model without a turn."""
    path = tmp_path / "run"
    make_run(str(tiny), path, SETTINGS)
    return path


@pytest.fixture
def serve():
    """Serve runs, and end every server in the end."""
    live: list[Live] = []

    def make(path: Path, policy: Policy | None = None, **more: Any) -> Live:
        live.append(start(path, policy, **({"guard": {}} | more)))
        return live[-1]

    yield make
    for each in live:
        each.stop()


@pytest.fixture
def live(run, serve) -> Live:
    """A server of a new run."""
    return serve(run)


@pytest.fixture(scope="session")
def shared_live(tiny, tmp_path_factory):
    """A server for tests that write nothing."""
    path = tmp_path_factory.mktemp("served") / "run"
    make_run(str(tiny), path, SETTINGS)
    found = start(path, guard={}, limits=Limits(queued_requests=64))
    yield found
    found.stop()
