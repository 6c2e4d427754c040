"""The built-in store, in process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from selfcheck.embedded.store import EmbeddedStore
from tests.contracts.backends.case import Case, Ground, Opening


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[Case]:
    store = EmbeddedStore(ground.parts.clock, ground.parts.rng)
    await store.start()
    try:
        yield Case(
            "embedded",
            "the built-in store",
            ground.parts,
            {"url": store.url},
            lambda signal, service: f"{signal}:{service}",
            small_pages={"row_limit": 20},
        )
    finally:
        await store.stop()


CASES = {"embedded": Opening("embedded", _open)}
