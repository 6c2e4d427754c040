"""Jaeger 1.62, all in one, and the candidate of 2.0, each by both of its APIs."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.contracts.backends.case import Case, Ground, Opening


def _case(server: str, api: str) -> Callable[[Ground], AbstractAsyncContextManager[Case]]:
    @asynccontextmanager
    async def opened(ground: Ground) -> AsyncIterator[Case]:
        running = ground.start(server)[server]
        yield Case(
            "jaeger",
            f"Jaeger {running.version}, API {api}",
            ground.parts,
            {"url": running.url(), "write_url": running.url("otlp"), "api": api},
            lambda _, service: service,
            small_pages={"row_limit": 20},
        )

    return opened


CASES = {
    f"jaeger-{version}-{api}": Opening("jaeger", _case(server, api), (server,))
    for server, version in (("jaeger", "1.62"), ("jaeger2", "2.0"))
    for api in ("v1", "v3")
}
