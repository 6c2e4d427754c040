"""Zipkin, written to in its own format."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.contracts.backends.case import Case, Ground, Opening


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[Case]:
    running = ground.start("zipkin")["zipkin"]
    yield Case(
        "zipkin",
        f"Zipkin {running.version}",
        ground.parts,
        {"url": running.url()},
        lambda _, service: service,
        inject="zipkin",
        small_pages={"row_limit": 20},
    )


CASES = {"zipkin": Opening("zipkin", _open, ("zipkin",), "zipkin")}
