"""Tempo, as a fake of its API; searches that reach up to now, as tests do not wait 30 s."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from deploy.stack.launch import TENANT
from tests.contracts.backends.case import Case, Ground, Opening
from tests.fakes.tempo import FakeTempo


def _case(api: str) -> Callable[[Ground], AbstractAsyncContextManager[Case]]:
    @asynccontextmanager
    async def opened(ground: Ground) -> AsyncIterator[Case]:
        async with FakeTempo(0.0, tenants=True) as tempo:
            own = {"search_cutoff": "1ms", "tenant": TENANT, "api": api}
            yield Case(
                "tempo",
                f"fake of Tempo 3.0, API {api}",
                ground.parts,
                {"url": tempo.url, "write_url": tempo.url, **own},
                lambda _, service: f'{{ resource.service.name = "{service}" }}',
                small_pages={"row_limit": 20},
            )

    return opened


CASES = {
    "tempo-fake-v1": Opening("tempo", _case("v1")),
    "tempo-fake-v2": Opening("tempo", _case("v2")),
}
