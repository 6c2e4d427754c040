"""Opens one contract case by itself, for what only that store can show."""

from contextlib import asynccontextmanager

from tests.contracts.backends.case import Ground, Opening
from tests.support.parts import real_parts


@asynccontextmanager
async def opened_case(opening: Opening, folder):
    """The case of a store that needs no server of `deploy/stack`."""
    async with (
        real_parts(folder) as parts,
        opening.open(Ground(parts, folder, dict[str, object]().__getitem__)) as case,
    ):
        yield case
