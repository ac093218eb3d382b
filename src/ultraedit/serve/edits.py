"""``/v1/edits``, ``/v1/rollback``, ``/v1/history`` and ``/v1/health``: the model is taught."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from ultraedit.core.errors import ConfigError, UltraEditError
from ultraedit.core.types import Edit
from ultraedit.serve import reading
from ultraedit.serve.engine import Busy, Engine
from ultraedit.serve.metrics import Metrics
from ultraedit.serve.security import UNNAMED

MOST_FACTS = 1000
"""Facts of one request."""

Short = Annotated[str, Field(min_length=1, max_length=4000)]


class NotThere(UltraEditError):
    """A request names a fact that there is not."""


class Gone(UltraEditError):
    """A request names a fact that is no longer active."""


class ReadOnly(UltraEditError):
    """The server may not be written to."""


class Fact(BaseModel):
    """A fact to write."""

    model_config = ConfigDict(extra="forbid")

    prompt: Short
    target: Short
    subject: Short | None = None
    rephrases: list[Short] = Field(default=[], max_length=20)
    aliases: list[Short] = Field(default=[], max_length=20)
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None

    def edit(self) -> Edit:
        """The fact as editors take it."""
        return Edit(
            prompt=self.prompt,
            target=self.target,
            subject=self.subject,
            rephrases=tuple(self.rephrases),
            aliases=tuple(self.aliases),
            id=self.id or "",
        )


class Facts(BaseModel):
    """Facts to write as one turn."""

    model_config = ConfigDict(extra="forbid")

    edits: list[Fact] = Field(min_length=1, max_length=MOST_FACTS)
    author: Annotated[str, Field(max_length=100)] | None = None


class Back(BaseModel):
    """Where to go back to."""

    model_config = ConfigDict(extra="forbid")

    turn: int = Field(ge=0, le=10**9)
    author: Annotated[str, Field(max_length=100)] | None = None


Status = Literal["holds", "forgotten", "untested", "overruled", "reverted", "rolled back"]


def routes(engine: Engine, metrics: Metrics) -> APIRouter:
    """The routes, over an engine."""
    router = APIRouter()

    def writable() -> None:
        if engine.read_only:
            raise ReadOnly("This server is read-only. Start it without --read-only to edit.")
        if not engine.is_ready:
            raise Busy("The first turn cannot begin yet: the editor is getting ready. Ask again.")

    @router.post("/v1/edits", dependencies=[Depends(writable)])
    async def teach(body: Facts, request: Request, preview: bool = False) -> dict[str, Any]:
        """Write facts as one turn, or, with ``preview=true``, say what that would do."""
        edits = [fact.edit() for fact in body.edits]
        if preview:
            previewed = await asyncio.wrap_future(engine.preview(edits))
            return reading.preview(previewed)
        taught = await asyncio.wrap_future(engine.teach(edits, _author(request, body.author)))
        metrics.taught(len(edits), taught.seconds)
        return await run_in_threadpool(reading.taught, engine, taught)

    @router.get("/v1/edits")
    def edits(
        query: Annotated[str, Query(max_length=1000)] = "",
        status: Status | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> dict[str, Any]:
        """Facts, newest first, with what has become of them."""
        with reading.reading(engine) as journal:
            facts = list(reading.FactReader(engine, journal).all(query, status))
        return {"total": len(facts), "edits": facts[offset : offset + limit]}

    @router.post("/v1/edits/review")
    async def review(
        request: Request, format: Literal["csv", "tsv", "jsonl"] = "csv"
    ) -> dict[str, Any]:
        """Read a file of facts, sent as the body, and lay it out to be accepted row by row."""
        content = await request.body()
        return await run_in_threadpool(reading.review, engine, content, format)

    @router.get("/v1/edits/{id}")
    def edit(id: int) -> dict[str, Any]:
        """One fact by its number."""
        with reading.reading(engine) as journal:
            fact = reading.FactReader(engine, journal).one(id)
        if fact is None:
            raise NotThere(f"There is no edit {id}. GET /v1/edits lists them.")
        return fact[1]

    @router.delete("/v1/edits/{id}", dependencies=[Depends(writable)])
    async def revert(id: int, request: Request, author: str | None = None) -> dict[str, Any]:
        """Take one fact out, and keep what all others did."""
        told = await run_in_threadpool(edit, id)
        if told["status"] in ("reverted", "rolled back"):
            raise Gone(f"Edit {id} is {told['status']} already.")
        turn = await asyncio.wrap_future(engine.revert([id], _author(request, author)))
        metrics.reverted(1)
        return {"turn": turn, "edit": await run_in_threadpool(edit, id)}

    @router.post("/v1/rollback", dependencies=[Depends(writable)])
    async def rollback(body: Back, request: Request) -> dict[str, Any]:
        """Go back to a turn. Those after it stay on record, and no longer stand."""
        author = _author(request, body.author)
        turn = await asyncio.wrap_future(engine.rollback(body.turn, author))
        return {"turn": turn}

    @router.get("/v1/history")
    def history() -> dict[str, Any]:
        """The turns with their scores, and the audit of what left none."""
        return reading.history(engine)

    @router.get("/v1/health")
    def health() -> dict[str, Any]:
        """How the model is, what the guard lets through, and what the server does."""
        return reading.health(engine)

    return router


def _author(request: Request, given: str | None) -> str | None:
    """Who asks: who has the token, or who the request says where there is none."""
    name = request.scope.get("author")
    if name is not None and not name.startswith(UNNAMED):
        if given not in (None, name):
            raise ConfigError(f"The token is that of {name!r}; leave author out.")
        return str(name)
    return given
