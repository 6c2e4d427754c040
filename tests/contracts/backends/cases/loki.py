"""Loki, with tenants, written to by OTLP and by its own push API."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from deploy.stack.launch import TENANT
from tests.contracts.backends.case import Case, Ground, Opening


def _case(inject: str) -> Callable[[Ground], AbstractAsyncContextManager[Case]]:
    @asynccontextmanager
    async def opened(ground: Ground) -> AsyncIterator[Case]:
        running = ground.start("loki")["loki"]
        yield Case(
            "loki",
            f"Loki {running.version}",
            ground.parts,
            {"url": running.url(), "tenant": TENANT},
            lambda _, service: f'{{service_name="{service}"}}',
            inject=inject,
            small_pages={"row_limit": 20},
        )

    return opened


CASES = {
    "loki": Opening("loki", _case("otlp_http"), ("loki",)),
    "loki-push": Opening("loki", _case("loki_push"), ("loki",), "loki_push"),
}
