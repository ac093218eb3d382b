"""The application: routes, errors as statuses, the page, and the end of it all."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from ultraedit.core.errors import (
    ConfigError,
    DataError,
    NumericalError,
    StorageError,
    UltraEditError,
)
from ultraedit.serve import edits, openai
from ultraedit.serve.edits import Gone, NotThere, ReadOnly
from ultraedit.serve.engine import Busy, Engine
from ultraedit.serve.generation import QueueFull, Stopping
from ultraedit.serve.metrics import Metrics
from ultraedit.serve.openai import UnknownModel
from ultraedit.serve.security import Gate, Policy, error_body
from ultraedit.serve.turns import Refused

_log = logging.getLogger("ultraedit")

STATUSES: Sequence[tuple[type[Exception], int, str]] = (
    (UnknownModel, 404, "model_not_found"),
    (NotThere, 404, "not_found"),
    (Gone, 409, "not_active"),
    (Refused, 409, "guard"),
    (NumericalError, 409, "not_finite"),
    (ReadOnly, 403, "read_only"),
    (QueueFull, 429, "queue_full"),
    (Busy, 503, "not_ready"),
    (Stopping, 503, "ending"),
    (StorageError, 507, "storage"),
    (DataError, 400, "invalid_request_error"),
    (ConfigError, 400, "invalid_request_error"),
    (UltraEditError, 400, "invalid_request_error"),
)
"""What each error becomes, the first that fits."""

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Files of the page by their addresses."""


def make_app(engine: Engine, policy: Policy) -> Any:
    """Put an engine, which is started, behind its routes.

    Args:
        engine: The engine. It is closed when the application ends.
        policy: Who is let in.

    Returns:
        The application, for any server that speaks ASGI.
    """
    metrics = Metrics(engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(engine.close)

    app = FastAPI(
        title="ultraedit serve",
        lifespan=lifespan,
        docs_url=None,  # These pages come from a CDN.
        redoc_url=None,
    )
    app.include_router(openai.routes(engine, metrics))
    app.include_router(edits.routes(engine, metrics))
    _add_page(app)
    for kind, status, name in STATUSES:
        app.add_exception_handler(kind, _handler(status, name))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)

    @app.get("/metrics")
    def told() -> Response:
        """What the server does, for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz")
    def up() -> dict[str, str]:
        """Whether the server is up."""
        return {"status": "ok"}

    outer: Any = _Counted(app, metrics)
    if policy.origins:
        outer = CORSMiddleware(
            outer,
            allow_origins=list(policy.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    return Gate(outer, policy)


class _Counted:
    """Counts requests by route and status."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                self._metrics.request(getattr(route, "path", "other"), message["status"])
            await send(message)

        await self._app(scope, receive, noted if scope["type"] == "http" else send)


def _add_page(app: FastAPI) -> None:
    folder = files("ultraedit.serve") / "page"
    for path, (name, kind) in PAGE.items():
        content = (folder / name).read_bytes()

        def told(content: bytes = content, kind: str = kind) -> Response:
            return Response(content, media_type=kind)

        app.add_api_route(path, told, include_in_schema=False)


def _handler(status: int, name: str) -> Any:
    async def handle(_: Request, error: Exception) -> Response:
        headers = {"retry-after": "2"} if status in (429, 503) else None
        reason = str(error)
        if status == 507:
            _log.error("%s", reason)
        return JSONResponse(error_body(name, reason), status, headers)

    return handle


async def _invalid(_: Request, error: Any) -> Response:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    body = error_body("invalid_request_error", f"{place}: {first['msg']}.")
    body["error"]["param"] = place
    return JSONResponse(body, 400)


async def _http(_: Request, error: Any) -> Response:
    return JSONResponse(error_body("http", str(error.detail)), error.status_code)


async def _failed(_: Request, error: Exception) -> Response:
    _log.error("A request failed.", exc_info=error)
    return JSONResponse(error_body("server_error", "The server failed; its log says how."), 500)


class Server(uvicorn.Server):
    """A server that tells its engine of a signal at once, not when all connections are closed."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        """Take the configuration and the engine."""
        super().__init__(config)
        self._engine = engine

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin no more turns; what is at work is finished. A second signal waits for no answer."""
        _log.warning("Ending on %s, once the turn at work is done.", signal.Signals(sig).name)
        self._engine.stop()
        # The base class would raise the signal again in the end, before anything can be said.
        self.force_exit = self.should_exit
        self.should_exit = True


def make_server(engine: Engine, policy: Policy, host: str, port: int) -> Server:
    """A server that is to be run; see `uvicorn.Server`."""
    config = uvicorn.Config(
        make_app(engine, policy),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=1000,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=64 << 10,
        timeout_graceful_shutdown=None,
    )
    return Server(config, engine)
