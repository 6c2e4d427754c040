"""`Parts` over the real HTTP client, for tests that talk to loopback servers."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from core.clock import SystemClock
from core.egress import Egress
from core.kinds import Parts
from core.outbound.client import CurlOutbound
from core.resolve import Resolver


@asynccontextmanager
async def real_parts(folder: Path, rng: random.Random | None = None) -> AsyncIterator[Parts]:
    """Parts with the system's clock and a libcurl client that is closed at the end."""
    clock = SystemClock()
    outbound = CurlOutbound(clock, Resolver(), Egress(allow=()))
    try:
        yield Parts(outbound, clock, rng or random.Random(7), folder, folder, "ab12cd34", "tests")
    finally:
        await outbound.close()
