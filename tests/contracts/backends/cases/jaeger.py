"""Jaeger 1.62, all in one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.contracts.backends.case import Case, Ground, Opening


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[Case]:
    server = ground.start("jaeger")["jaeger"]
    yield Case(
        "jaeger",
        "Jaeger 1.62",
        ground.parts,
        {"url": server.url(), "write_url": server.url("otlp")},
        lambda _, service: service,
        small_pages={"row_limit": 20},
    )


CASES = {"jaeger-1.62": Opening("jaeger", _open, ("jaeger",))}
