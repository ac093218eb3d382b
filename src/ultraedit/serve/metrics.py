"""``/metrics``: what a server does, in Prometheus' words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from ultraedit.serve.engine import Engine

SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
"""Bounds of the histograms of times."""


class Metrics:
    """Counters of one server."""

    def __init__(self, engine: Engine) -> None:
        """Begin to count."""
        self._engine = engine
        self.registry = CollectorRegistry()
        kept: Any = {"registry": self.registry, "namespace": "ultraedit"}
        self._requests = Counter("requests", "Requests.", ["path", "status"], **kept)
        self._tokens = Counter("tokens", "Tokens.", ["kind"], **kept)
        self._first = Histogram(
            "first_token_seconds", "Time to the first token.", buckets=SECONDS, **kept
        )
        self._whole = Histogram(
            "answer_seconds", "Time to the end of an answer.", buckets=SECONDS, **kept
        )
        self._turns = Histogram("turn_seconds", "Time of a turn.", buckets=SECONDS, **kept)
        self._facts = Counter("facts", "Facts.", ["what"], **kept)
        for name, text, value in (
            ("turn", "Turn of the newest version.", lambda: _turn(engine)),
            ("waiting_requests", "Answers that wait.", lambda: engine.generator.waiting),
            ("running_answers", "Answers at work.", lambda: engine.generator.running),
            ("waiting_facts", "Facts that wait.", lambda: engine.waiting_facts),
            ("refused_turns", "Turns taken back.", lambda: engine.refusals),
            (
                "agreement",
                "Next-token agreement on control questions.",
                lambda: _seen(engine, "agreement"),
            ),
            (
                "perplexity_ratio",
                "Perplexity over the unedited model's.",
                lambda: _seen(engine, "ratio"),
            ),
            ("norm", "Largest relative change of a weight.", lambda: _seen(engine, "norm")),
        ):
            Gauge(name, text, **kept).set_function(value)

    def request(self, path: str, status: int) -> None:
        """Count a request by its route."""
        self._requests.labels(path, status).inc()

    def first_token(self, begun: float) -> None:
        """Note the first token of an answer."""
        self._first.observe(time.monotonic() - begun)

    def answered(self, usage: dict[str, int], begun: float) -> None:
        """Note a whole answer."""
        self._tokens.labels("prompt").inc(usage["prompt_tokens"])
        self._tokens.labels("completion").inc(usage["completion_tokens"])
        self._whole.observe(time.monotonic() - begun)

    def taught(self, facts: int, seconds: float) -> None:
        """Note a turn."""
        self._facts.labels("taught").inc(facts)
        self._turns.observe(seconds)

    def reverted(self, facts: int) -> None:
        """Note facts that were taken out."""
        self._facts.labels("reverted").inc(facts)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)


def _turn(engine: Engine) -> int:
    return engine.version.turn if engine.is_ready else 0


def _seen(engine: Engine, name: str) -> float:
    run: Any = engine.run
    seen = None if run is None else run.seen.get(run.version.name)
    return float("nan") if seen is None else float(getattr(seen, name))
