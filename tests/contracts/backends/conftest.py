"""One case for every server of every registered backend."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deploy.stack.launch import Stack
from tests.contracts.backends.case import Case, Ground
from tests.contracts.backends.openings import OPENINGS, parameters
from tests.support.parts import real_parts

HERE = Path(__file__).parent
QUICK = "embedded"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before each commit the suite runs over the built-in store; over all others in `make test`."""
    for item in items:
        if HERE in item.path.parents and QUICK not in item.nodeid.partition("[")[2]:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=parameters())
async def case(
    request, tmp_path, start_server: Callable[[str], Stack], record_property
) -> AsyncIterator[Case]:
    """Every server of every registered backend; its version goes into the report."""
    opening = OPENINGS[request.param]
    async with (
        real_parts(tmp_path) as parts,
        opening.open(Ground(parts, tmp_path, start_server)) as opened,
    ):
        assert (opened.kind, opened.inject) == (opening.kind, opening.inject)
        record_property("server", opened.server)
        yield opened


@pytest.fixture
async def opened(tmp_path, start_server) -> AsyncIterator[Callable[[str], object]]:
    """Opens one case by its name, for what only that server can show."""
    async with real_parts(tmp_path) as parts:
        yield lambda name: OPENINGS[name].open(Ground(parts, tmp_path, start_server))
