"""CloudWatch Logs as moto has it, behind a front that checks signatures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.contracts.backends.case import Case, Ground, Opening
from tests.fakes.child import child
from tests.support.aws import FRONT, SIGNED


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[Case]:
    front = child(FRONT)
    yield Case(
        "cloudwatch_logs",
        front.version,
        ground.parts,
        {"url": front.url, **SIGNED},
        lambda _, service: f'"{service}"',
        inject="cloudwatch_logs",
        inject_options=SIGNED,
        small_pages={"row_limit": 20},
    )


CASES = {"cloudwatch_logs": Opening("cloudwatch_logs", _open, inject="cloudwatch_logs")}
