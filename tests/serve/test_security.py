"""OWASP's API security top ten of 2023, one by one; docs/design/015-serve.md names these tests."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.serve.test_edits import FACT, _teach
from ultraedit.cli.main import app
from ultraedit.core.errors import ConfigError
from ultraedit.serve.engine import Limits
from ultraedit.serve.security import Policy, check_address, is_loopback, read_tokens

TOKEN, OTHER = "mia-has-a-long-token", "bo-has-another-one-x"
BEARER = {"authorization": f"Bearer {TOKEN}"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[31mred\x1b[0m",
    "abc\u202edef",
    "{{ 7 * 7 }}",
    "../../etc/passwd",
    "'; DROP TABLE edits; --",
)


@pytest.fixture
def guarded(run, serve):
    return serve(run, Policy(tokens={"mia": TOKEN, "bo": OTHER}))


# API1: objects


def test_a_fact_is_named_by_its_number_and_nothing_else(shared_live):
    with shared_live.client() as client:
        for name in ("../1", "1%20OR%201=1", "%2e%2e%2fjournal.sqlite", "-1", "1e3"):
            assert client.get(f"/v1/edits/{name}").status_code in (400, 404), name


# API2: authentication


def test_nothing_but_the_empty_page_is_told_without_the_token(guarded):
    with guarded.client() as client:
        for path in ("/v1/models", "/v1/edits", "/v1/history", "/v1/health", "/metrics"):
            assert client.get(path).status_code == 401, path
            wrong = client.get(path, headers={"authorization": f"Bearer {TOKEN}x"})
            assert wrong.status_code == 401, path
            assert client.get(path, headers=BEARER).status_code == 200, path
        assert client.get("/").status_code == 200
        assert client.get("/openapi.json").status_code == 401
        assert client.post("/v1/edits", json={"edits": [FACT]}).status_code == 401
        assert client.get("/v1/models", params={"token": TOKEN}).status_code == 401


def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "ultraedit.serve.security.hmac.compare_digest",
        lambda one, other: compared.append((one, other)) or one == other,
    )
    policy = Policy(tokens={"mia": TOKEN, "bo": OTHER})
    assert policy.author(OTHER) == "bo"
    assert policy.author("x") is None
    assert policy.author(None) is None
    assert len(compared) == 6, "every token is compared, whichever fits"


def test_an_address_that_others_reach_needs_a_token():
    with pytest.raises(ConfigError, match="could edit the model"):
        check_address("0.0.0.0", {})
    assert check_address("0.0.0.0", {"mia": TOKEN}).tokens
    assert check_address("127.0.0.1", {}).tokens == {}
    assert is_loopback("::1") and not is_loopback("example.org") and not is_loopback("192.168.1.2")


def test_the_command_line_refuses_such_an_address(run, monkeypatch):
    monkeypatch.delenv("ULTRAEDIT_TOKEN", raising=False)
    refused = CliRunner().invoke(app, ["serve", str(run), "--host", "0.0.0.0"])
    assert refused.exit_code == 2
    assert "--token-file" in refused.output


def test_a_token_file_is_private_and_its_tokens_are_long(tmp_path, monkeypatch):
    monkeypatch.delenv("ULTRAEDIT_TOKEN", raising=False)
    file = tmp_path / "tokens"
    file.write_text(f"# who may ask\nmia:{TOKEN}\n{OTHER}\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_tokens(file)
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert read_tokens(file) == {"mia": TOKEN, "token 2": OTHER}
    file.write_text("short\n")
    with pytest.raises(ConfigError, match="at least 16"):
        read_tokens(file)
    file.write_text("\n")
    with pytest.raises(ConfigError, match="no token"):
        read_tokens(file)
    monkeypatch.setenv("ULTRAEDIT_TOKEN", TOKEN)
    assert read_tokens(None) == {"token": TOKEN}


# API3: properties


def test_a_fact_has_no_other_property(shared_live):
    with shared_live.client() as client:
        for more in ({"author": "x"}, {"turn": 3}, {"probes": {}}, {"id": "../x"}, {"id": ""}):
            answer = _teach(client, FACT | more)
            assert answer.status_code == 400, more
        assert client.get("/v1/history").json()["turns"] == []


def test_an_author_is_who_has_the_token(guarded):
    with guarded.client(headers=BEARER) as client:
        assert _teach(client, FACT, author="bo").status_code == 400
        assert _teach(client, FACT).json()["edits"][0]["author"] == "mia"


# API4: resources


def test_bodies_prompts_and_queues_have_limits(run, serve):
    live = serve(run, Policy(most_bytes=4096), limits=Limits(queued_requests=2))
    with live.client() as client:
        assert client.post("/v1/edits", content=b"x" * 5000).status_code == 413

        def endless():
            for _ in range(10):
                yield b"x" * 1000

        assert client.post("/v1/edits", content=endless()).status_code == 413
        body = {"prompt": "word", "n": 4, "max_tokens": 1}
        many = client.post("/v1/completions", json=body)
        assert many.status_code == 429
        assert many.headers["retry-after"]
        long = client.post("/v1/completions", json={"prompt": "word " * 700, "max_tokens": 1})
        assert long.status_code == 400
        assert "at most 256" in long.json()["error"]["message"]


# API5: functions


def test_every_route_that_writes_is_closed_where_the_server_is_read_only(run, serve):
    live = serve(run, read_only=True)
    with live.client() as client:
        schema = client.get("/openapi.json").json()
        writing = [
            (method, path)
            for path, methods in schema["paths"].items()
            for method in methods
            if method != "get"
        ]
        open_ones = {"/v1/chat/completions", "/v1/completions", "/v1/edits/review"}
        for method, path in writing:
            answer = client.request(method, path.replace("{id}", "1"), json={"turn": 0})
            assert (answer.status_code == 403) != (path in open_ones), (method, path)


# API6: business flows


def test_every_turn_names_its_author_and_every_refusal_is_noted(guarded):
    with guarded.client(headers=BEARER) as client:
        _teach(client, FACT)
        row = client.get("/v1/edits").json()["edits"][0]["id"]
    with guarded.client(headers={"authorization": f"Bearer {OTHER}"}) as client:
        client.delete(f"/v1/edits/{row}")
        client.post("/v1/rollback", json={"turn": 1})
        history = client.get("/v1/history").json()
    assert [turn["author"] for turn in history["turns"]] == ["mia", "bo"]
    assert [(entry["action"], entry["author"]) for entry in history["audit"]] == [
        ("rollback", "bo")
    ]


# API7: requests to elsewhere


def test_no_request_makes_the_server_ask_elsewhere(shared_live, monkeypatch):
    asked, look_up = [], socket.getaddrinfo

    def noted(host, *args, **kwargs):
        asked.append(host)
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr("socket.getaddrinfo", noted)
    with shared_live.client() as client:
        for url in ("http://example.org/x", "file:///etc/passwd"):
            body = {"messages": [{"role": "user", "content": url}], "max_tokens": 1}
            part = [{"type": "image_url", "image_url": {"url": url}}]
            picture = {"messages": [{"role": "user", "content": part}]}
            codes = [
                client.post("/v1/chat/completions", json=each).status_code
                for each in (body, picture)
            ]
            assert codes == [200, 400]
            review = client.post("/v1/edits/review", content=f"prompt,target\n{url},x\n")
            assert review.status_code == 200
    assert {each.decode() if isinstance(each, bytes) else each for each in asked} == {"127.0.0.1"}


# API8: configuration


def test_pages_of_other_sites_may_not_ask(live):
    with live.client() as client:
        for origin in ("https://evil.example", "null", "http://localhost:1"):
            refused = client.post(
                "/v1/edits",
                content=json.dumps({"edits": [FACT]}),
                headers={"origin": origin, "content-type": "text/plain"},
            )
            assert refused.status_code == 403, origin
            assert "access-control-allow-origin" not in refused.headers
        own = client.get("/v1/models", headers={"origin": live.url})
        assert own.status_code == 200
        assert client.get("/v1/history").json()["turns"] == []


def test_a_site_that_was_named_may_ask(run, serve):
    live = serve(run, Policy(origins=("https://chat.example",)))
    with live.client() as client:
        told = client.get("/v1/models", headers={"origin": "https://chat.example"})
        assert told.headers["access-control-allow-origin"] == "https://chat.example"
        refused = client.get("/v1/models", headers={"origin": "https://evil.example"})
        assert refused.status_code == 403


def test_a_name_that_was_made_to_point_here_is_refused(live):
    with live.client() as client:
        for host in ("evil.example", "evil.example:8000", "localhost.evil.example", ""):
            assert client.get("/v1/models", headers={"host": host}).status_code == 421, host
        for host in ("localhost:1", "[::1]:2", "127.0.0.1"):
            assert client.get("/v1/models", headers={"host": host}).status_code == 200, host


def test_every_response_lets_nothing_run_but_the_pages_own_files(shared_live):
    with shared_live.client() as client:
        for path in ("/", "/page.js", "/v1/models", "/nothing", "/v1/edits/x"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy and "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers
        assert client.get("/docs").status_code == 404


def test_the_page_has_no_script_or_style_within_and_asks_nothing_elsewhere():
    folder = Path(__file__).parents[2] / "src" / "ultraedit" / "serve" / "page"
    page = (folder / "index.html").read_text("utf-8")
    script = (folder / "page.js").read_text("utf-8")
    assert page.count("<script") == page.count('<script src="/page.js"') == 1
    assert "<style" not in page and "style=" not in page and " on" + "click=" not in page
    for text in (page, script, (folder / "page.css").read_text("utf-8")):
        addresses = text.replace("http://www.w3.org/", "")
        assert "http://" not in addresses and "https://" not in addresses
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert name not in script, name


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_come_back_as_they_were_sent_and_as_json(live, text):
    with live.client() as client:
        written = _teach(client, {"prompt": f"Who is {text}?", "target": text})
        if written.status_code == 400:  # A text that the model cannot read at all.
            assert written.headers["content-type"] == "application/json"
            return
        told = client.get("/v1/edits")
        assert told.headers["content-type"] == "application/json"
        (edit,) = told.json()["edits"]
        assert (edit["prompt"], edit["target"]) == (f"Who is {text}?", text)


def test_an_error_tells_nothing_of_the_program(shared_live):
    with shared_live.client() as client:
        for answer in (
            client.post("/v1/edits", content=b"{"),
            client.post("/v1/edits", content=b"\xff\xfe"),
            client.post("/v1/chat/completions", json=[]),
            client.get("/v1/edits", params={"limit": "x"}),
        ):
            assert answer.status_code == 400
            assert "Traceback" not in answer.text and "site-packages" not in answer.text


# API9: inventory


def test_every_route_is_documented(shared_live):
    document = (Path(__file__).parents[2] / "docs" / "serve.md").read_text("utf-8")
    with shared_live.client() as client:
        for path, methods in client.get("/openapi.json").json()["paths"].items():
            for method in methods:
                assert f"{method.upper()} {path.replace(':path', '')}" in document, path


# API10: what others send


def test_a_file_of_facts_is_read_as_a_table_and_nothing_else(shared_live):
    with shared_live.client() as client:
        for content in (b"\x00\x01\x02", b"PK\x03\x04" + b"\x00" * 50, b"a,b\n" + b'"' * 999):
            answer = client.post("/v1/edits/review", content=content)
            assert answer.status_code == 400, content[:8]
        kind = client.post("/v1/edits/review", content=b"x", params={"format": "parquet"})
        assert kind.status_code == 400
        formula = client.post("/v1/edits/review", content=b"prompt,target\n=1+1,@x\n").json()
        assert formula["rows"][0]["prompt"] == "=1+1"
