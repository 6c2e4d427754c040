"""Thanos, as a fake: two stores behind one Query, a Receive that takes tenants."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.contracts.backends.case import Case, Ground, Opening
from tests.fakes.thanos import FakeThanos

TENANT = "team-a"


def _open(inject: str) -> Callable[[Ground], AbstractAsyncContextManager[Case]]:
    @asynccontextmanager
    async def opened(ground: Ground) -> AsyncIterator[Case]:
        async with FakeThanos(enforce_tenancy=True) as thanos:
            yield Case(
                "thanos",
                "fake of Thanos 0.42",
                ground.parts,
                {"url": thanos.query_url, "write_url": thanos.receive_url, "tenant": TENANT},
                lambda _, service: f'{{service_name="{service}"}}',
                inject=inject,
            )

    return opened


CASES = {
    "thanos-fake": Opening("thanos", _open("otlp_http")),
    "thanos-fake-remote-write": Opening("thanos", _open("remote_write"), inject="remote_write"),
}
