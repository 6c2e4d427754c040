"""Prometheus 3, written to by OTLP and by remote write, and 2.42, which knows the latter alone."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.contracts.backends.case import Case, Ground, Opening


def _open(server: str, inject: str) -> Callable[[Ground], AbstractAsyncContextManager[Case]]:
    @asynccontextmanager
    async def opened(ground: Ground) -> AsyncIterator[Case]:
        running = ground.start(server)[server]
        yield Case(
            "prometheus",
            f"Prometheus {running.version}",
            ground.parts,
            {"url": running.url()},
            lambda _, service: f'{{service_name="{service}"}}',
            inject=inject,
        )

    return opened


CASES = {
    "prometheus-3": Opening("prometheus", _open("prometheus", "otlp_http"), ("prometheus",)),
    "prometheus-3-remote-write": Opening(
        "prometheus", _open("prometheus", "remote_write"), ("prometheus",), "remote_write"
    ),
    "prometheus-2.42": Opening(
        "prometheus", _open("prometheus2", "remote_write"), ("prometheus2",), "remote_write"
    ),
}
