"""X-Ray as moto has it, behind a front that filters and pages summaries and checks signatures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.outbound.protocol import Request
from tests.contracts.backends.case import Case, Ground, Opening
from tests.fakes.child import child
from tests.support.aws import FRONT, SIGNED


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[Case]:
    front = child(FRONT)
    # Every test has the same first canaries, and so the same traces: a summary would show them all.
    await ground.parts.outbound.fetch(Request("GET", f"{front.url}/front/forget", 5.0))
    yield Case(
        "xray",
        front.version,
        ground.parts,
        {"url": front.url, **SIGNED},
        lambda _, service: f'service("{service}")',
        inject="xray",
        inject_options=SIGNED,
    )


CASES = {"xray": Opening("xray", _open, inject="xray")}
