"""What the server counts, in Prometheus' form."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocketlm.engine.answer import Generation

if TYPE_CHECKING:
    from pocketlm.serve.pool import Pool

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_TOKEN_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        """Count from zero."""
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "pocketlm_requests", "Requests.", ["path", "status"], registry=registry
        )
        self._duration = Histogram(
            "pocketlm_request_seconds",
            "From a request's first byte to its response's last.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        model = ["model"]
        self._prompt = Counter(
            "pocketlm_prompt_tokens", "Tokens of prompts.", model, registry=registry
        )
        self._cached = Counter(
            "pocketlm_cached_tokens", "Those that the cache held.", model, registry=registry
        )
        self._generated = Counter(
            "pocketlm_generated_tokens", "Tokens of answers.", model, registry=registry
        )
        self._first = Histogram(
            "pocketlm_first_token_seconds",
            "From the turn of an answer to its first token.",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self._between = Histogram(
            "pocketlm_token_seconds",
            "Between two tokens of an answer, on average.",
            model,
            buckets=_TOKEN_SECONDS,
            registry=registry,
        )
        self._running = Gauge(
            "pocketlm_running", "Answers that are being written.", model, registry=registry
        )
        self._waiting = Gauge(
            "pocketlm_waiting", "Answers that wait for others.", model, registry=registry
        )
        self._memory = Gauge(
            "pocketlm_memory_bytes", "Weights and cache.", model, registry=registry
        )

    def answered(self, model: str, generations: Sequence[Generation]) -> None:
        """Count answers, whole or not."""
        for generation in generations:
            tokens, times = generation.completion_tokens, generation.timings
            self._prompt.labels(model).inc(generation.prompt_tokens)
            self._cached.labels(model).inc(generation.cached_tokens)
            self._generated.labels(model).inc(tokens)
            if tokens:
                self._first.labels(model).observe(times.first_token_s)
            if tokens > 1:
                self._between.labels(model).observe(times.generation_s / (tokens - 1))

    def requested(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, status).inc()
        self._duration.labels(path).observe(seconds)

    def text(self, pool: Pool) -> bytes:
        """All figures as they are now."""
        for gauge in (self._running, self._waiting, self._memory):
            gauge.clear()
        for loaded in pool.loaded:
            self._running.labels(loaded.name).set(loaded.worker.running)
            self._waiting.labels(loaded.name).set(loaded.worker.waiting)
            self._memory.labels(loaded.name).set(loaded.nbytes)
        return generate_latest(self._registry)


class Counted:
    """Counts requests by the path of their route, so that no client can make up labels."""

    def __init__(self, app: ASGIApp) -> None:
        """Count what goes to `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 499  # the client went before there was one

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")
            seconds = time.perf_counter() - began
            scope["app"].state.metrics.requested(path, status, seconds)
