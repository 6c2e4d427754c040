"""S3 as moto has it, behind a front that holds every signature against botocore's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.contracts.backends.case import Case, Ground, Opening
from tests.fakes.child import child
from tests.support.aws import FRONT, SIGNED


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[Case]:
    front = child(FRONT)
    yield Case(
        "s3",
        front.version,
        ground.parts,
        {"url": front.url, **SIGNED},
        lambda signal, service: f"canaries/{service}/",
        inject="s3",
        inject_options=SIGNED,
        small_pages={"row_limit": 20},
    )


CASES = {"s3": Opening("s3", _open, inject="s3")}
