"""``push``: a run's export arrives at a hub, here one that is made for the test."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

NAME = "tester/edited"


class Hub(ThreadingHTTPServer):
    """The part of the hub's interface that an upload uses; files come inside the commit."""

    def __init__(self, refuse: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.refuse = refuse
        self.made: list[dict] = []
        self.tokens: set[str | None] = set()
        self.files: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args) -> None:
        pass

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else self._chunks()
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.server.refuse is not None:
            self._answer({"error": "You may not do that"}, self.server.refuse)
        elif self.path == "/api/repos/create":
            self.server.made.append(json.loads(body))
            self._answer({"url": f"{self.server.url}/{NAME}", "name": NAME})
        elif self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            named = [each["path"] for each in json.loads(body)["files"]]
            self._answer(
                {
                    "files": [
                        {"path": path, "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                        for path in named
                    ]
                }
            )
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
            url = f"{self.server.url}/{NAME}/commit/abc"
            self._answer({"commitUrl": url, "commitOid": "abc", "success": True})
        else:
            self._answer({"error": f"no {self.path} here"}, 404)

    def do_GET(self) -> None:
        self._answer({"id": NAME, "sha": "abc", "siblings": [], "private": False})

    def _chunks(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        return whole

    def _answer(self, value: dict, code: int = 200) -> None:
        raw = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine, and a token for it."""
    from huggingface_hub import constants

    with closing(_Closing()) as at_work:
        monkeypatch.setattr(constants, "ENDPOINT", at_work.hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield at_work.hub


class _Closing:
    def __init__(self) -> None:
        self.hub = Hub()
        self._thread = threading.Thread(target=self.hub.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.hub.shutdown()
        self.hub.server_close()
        self._thread.join()


def printed(cli, *args):
    return json.loads(cli(*args, "--json").stdout)


@pytest.mark.parametrize("form", ["model", "delta", "lora", "gguf"])
def test_what_export_writes_arrives_with_a_card(cli, run, hub, form):
    result = printed(cli, "push", run, NAME, "--as", form, "--private")
    assert result["url"] == f"{hub.url}/{NAME}/commit/abc"
    assert [(made["name"], made["organization"]) for made in hub.made] == [("edited", "tester")]
    assert hub.made[0].get("private") is True or hub.made[0].get("visibility") == "private"
    assert hub.tokens == {"Bearer hf_secret"}
    assert {name: len(raw) for name, raw in hub.files.items()} == result["files"]
    out = {"gguf": "edited.gguf", "delta": "edited.safetensors"}.get(form, "out")
    more = ("--no-score",) if form == "lora" else ()
    cli("export", run, "--as", form, "--out", out, *more)
    if form == "gguf":
        assert hub.files["edited.gguf"][-1000:] == Path(out).read_bytes()[-1000:]
        assert hub.files["edited.Modelfile"] == Path("edited.Modelfile").read_bytes()
    elif form == "delta":
        assert hub.files.keys() == {"edited.safetensors", "README.md"}
        assert len(hub.files[out]) == Path(out).stat().st_size
    else:
        weights = next(path for path in Path(out).iterdir() if path.suffix == ".safetensors")
        assert len(hub.files[weights.name]) == weights.stat().st_size
        assert hub.files.keys() == {path.name for path in Path(out).iterdir()}
    card = hub.files["README.md"].decode()
    library = {"model": "transformers", "lora": "peft"}.get(form, form)
    assert yaml.safe_load(card.split("---")[1])["library_name"] == library.replace(
        "delta", "ultraedit"
    )
    assert "5 edits in 3 turns" in card


def test_a_large_delta_arrives_in_parts_that_are_read_as_one(cli, run, hub, made):
    words = ("push", run, NAME, "--as", "delta", "--shard-size", "30KB")
    result = printed(cli, *words)
    assert result["files"].keys() == {
        "README.md",
        "edited-00001-of-00002.safetensors",
        "edited-00002-of-00002.safetensors",
        "edited.safetensors.index.json",
    }
    Path("got").mkdir()
    for name, raw in hub.files.items():
        Path("got", name).write_bytes(raw)
    assert "edited.safetensors --out edited" in Path("got/README.md").read_text()
    cli("apply", made / "base.gguf", "got/edited.safetensors", "--out", "applied")
    ours, theirs = (
        next(Path(folder).glob("*.safetensors")).read_bytes()
        for folder in ("applied", run / "model")
    )
    assert ours == theirs


def test_a_dry_run_says_what_would_go_and_sends_nothing(cli, run, hub):
    shown = cli("push", run, NAME, "--as", "gguf", "--dry-run").stdout
    assert "edited.gguf" in shown
    assert "README.md" in shown
    assert f"Nothing was sent to {NAME}: a dry run." in shown
    assert (hub.made, hub.files, hub.tokens) == ([], {}, set())


def test_a_refusal_of_the_hub_is_one_sentence(refused, run, hub):
    hub.refuse = 403
    said = refused("push", run, NAME, "--as", "lora")
    assert f"{hub.url} refuses {NAME}: " in said
    assert "Run `hf auth login` with a token that may write there" in said


def test_a_hub_that_is_not_there_is_one_sentence(refused, run, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert f"Nothing was sent to {NAME}" in refused("push", run, NAME, "--as", "lora")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["edited"], "'edited' has no owner. Give ORG/NAME"),
        (["a/b/c"], "'a/b/c' is no name of a repository"),
        ([NAME, "--as", "wise"], "--as must be one of model, delta, lora, gguf, got 'wise'"),
        ([NAME, "--shard-size", "5GB"], "--shard-size is for --as delta; --as model does not"),
        ([NAME, "--as", "delta", "--shard-size", "5"], "a size such as 5GB or 200MB, got '5'"),
        ([NAME, "--type", "f16"], "--type is for --as gguf; --as model does not take it"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(refused, run, hub, args, expected):
    assert expected in refused("push", run, *args)
    assert hub.tokens == set()
