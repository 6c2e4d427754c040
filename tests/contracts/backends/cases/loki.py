"""Loki, with tenants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.stack.launch import TENANT
from tests.contracts.backends.case import Case, Ground, Opening


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[Case]:
    yield Case(
        "loki",
        "Loki 3.7.8",
        ground.parts,
        {"url": ground.start("loki")["loki"].url(), "tenant": TENANT},
        lambda _, service: f'{{service_name="{service}"}}',
        small_pages={"row_limit": 20},
    )


CASES = {"loki": Opening("loki", _open, ("loki",))}
