"""Who may ask, from where, and how much: checked before a route sees anything."""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException

from ultraedit.core.errors import ConfigError

TOKEN_VARIABLE = "ULTRAEDIT_TOKEN"
"""Variable of the environment with a token."""

UNNAMED = "token"
"""What the name of a token begins with that has none."""

SHORTEST_TOKEN = 16
"""Characters of a token: fewer can be guessed over the network."""

MOST_BYTES = 4 << 20
"""Bytes of a request's body unless said otherwise."""

OPEN_PATHS = ("/", "/page.css", "/page.js", "/icon.svg", "/healthz")
"""What is told without a token: the page without anything in it, and that the server is up."""

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every response. Nothing but the server's own files is run, loaded or asked."""


@dataclass(frozen=True)
class Policy:
    """What is let in."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    """Tokens by the name of who has them; empty where none is asked for."""
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    """Names under which the server may be asked for where there is no token."""
    origins: tuple[str, ...] = ()
    """Other sites whose pages may ask."""
    most_bytes: int = MOST_BYTES
    """Bytes of a body."""

    def author(self, token: str | None) -> str | None:
        """Name of who has a token, in a time that does not depend on the token; None for nobody."""
        given = (token or "").encode("utf-8", "replace")
        names = [
            name
            for name, known in self.tokens.items()
            if hmac.compare_digest(given, known.encode())
        ]
        return names[0] if names else None


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_tokens(path: Path | None) -> dict[str, str]:
    """Read tokens from a file and from the environment.

    Args:
        path: A file with a token on each line, or NAME:TOKEN, where the name is noted as the author
            of what is written with it. None for no file.

    Raises:
        ConfigError: If it cannot be read, others can read it, or a token is too short.
    """
    tokens: dict[str, str] = {}
    if path is not None:
        tokens |= _read(path)
    own = os.environ.get(TOKEN_VARIABLE)
    if own is not None:
        tokens[UNNAMED] = own.strip()
    for name, token in tokens.items():
        if len(token) < SHORTEST_TOKEN or not token.isascii():
            raise ConfigError(
                f"The token of {name} must have at least {SHORTEST_TOKEN} ASCII characters, got "
                f"{len(token)}. Make one with `python -c 'import secrets; "
                "print(secrets.token_urlsafe(32))'`."
            )
    return tokens


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise ConfigError(f"Cannot read the token file {path}: {cause}.") from None
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(
            f"Others can read the token file {path}. Run `chmod 600 {path}` and make a new token."
        )
    tokens: dict[str, str] = {}
    for line in (line.strip() for line in lines):
        if line and not line.startswith("#"):
            name, _, token = line.rpartition(":")
            tokens[name.strip() or f"{UNNAMED} {len(tokens) + 1}"] = token.strip()
    if not tokens:
        raise ConfigError(f"The token file {path} holds no token. Write one on a line.")
    return tokens


class Gate:
    """The outermost layer of the application: who fails here reaches no route."""

    def __init__(self, app: Any, policy: Policy) -> None:
        """Stand in front of an application."""
        self._app, self._policy = app, policy

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refused = self._refusal(scope, headers)

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.encode() not in known
                    ),
                ]
            await send(message)

        if refused is not None:
            await _answer(guarded, *refused)
            return
        body = _Body(receive, self._policy.most_bytes)
        await self._app(scope, body.receive, guarded)

    def _refusal(self, scope: Any, headers: Mapping[str, str]) -> tuple[int, str, str] | None:
        """Status, kind and reason of a refusal; None lets the request through."""
        policy = self._policy
        host = _host_of(headers.get("host", ""))
        if not policy.tokens and host not in policy.hosts:
            # A page whose name was made to point here would otherwise have its way.
            return 421, "host", f"This server is not asked for as {host!r}. Use its address."
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, headers):
            return 403, "origin", f"Pages of {origin!r} may not ask this server."
        length = headers.get("content-length", "0")
        if not length.isdigit():
            return 400, "body", "content-length must be a whole number."
        if int(length) > policy.most_bytes:
            return _too_large(policy.most_bytes)
        scope["author"] = None
        if policy.tokens and scope["method"] != "OPTIONS" and scope["path"] not in OPEN_PATHS:
            kind, _, token = headers.get("authorization", "").partition(" ")
            name = policy.author(token.strip() if kind.lower() == "bearer" else None)
            if name is None:
                return 401, "token", "Send a token as `Authorization: Bearer TOKEN`."
            scope["author"] = name
        return None

    def _is_own(self, origin: str, headers: Mapping[str, str]) -> bool:
        """Whether a page is the server's own, or of a site that was named."""
        return origin in self._policy.origins or urlsplit(origin).netloc == headers.get("host")


class _Body:
    """A body that is counted as it comes."""

    def __init__(self, receive: Any, most: int) -> None:
        self._receive, self._most = receive, most
        self._read = 0

    async def receive(self) -> Any:
        """The next part.

        Raises:
            HTTPException: If it is one too many.
        """
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._most:
                status, _, reason = _too_large(self._most)
                raise HTTPException(status, reason)
        return message


def _too_large(most: int) -> tuple[int, str, str]:
    return 413, "body", f"The body must be at most {most:,} bytes. Send less at a time."


def _host_of(value: str) -> str:
    """The name in a Host header, without its port."""
    if value.startswith("["):
        return value[1 : value.find("]")]
    return value.rpartition(":")[0] if ":" in value else value


async def _answer(send: Any, status: int, kind: str, reason: str) -> None:
    body = json.dumps(error_body(kind, reason)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def error_body(kind: str, reason: str, **more: Any) -> dict[str, Any]:
    """An error as the OpenAI client reads it."""
    return {"error": {"message": reason, "type": kind, "param": None, "code": kind, **more}}


def check_address(host: str, tokens: Mapping[str, str], hosts: Sequence[str] = ()) -> Policy:
    """Choose the policy of an address.

    Args:
        host: Where the server will listen.
        tokens: Its tokens.
        hosts: Further names under which it may be asked for without a token.

    Raises:
        ConfigError: If it can be reached from other machines and has no token.
    """
    if not is_loopback(host) and not tokens:
        raise ConfigError(
            f"Everybody who reaches {host} could edit the model. Give a --token-file, or set "
            f"{TOKEN_VARIABLE}, or leave --host out to serve this machine alone."
        )
    return Policy(tokens=tokens, hosts=(*Policy.hosts, *hosts))
