"""Opens the contract cases of the stores that speak PromQL, one real server a worker."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest

from deploy.stack.launch import Stack
from tests.contracts.backends.case import Case, Ground, Opening
from tests.contracts.backends.cases import cortex, prometheus, thanos, victoriametrics
from tests.support.parts import real_parts
from tests.support.servers import stack_of

OPENINGS: Mapping[str, Opening] = {
    **prometheus.CASES,
    **cortex.CASES,
    **victoriametrics.CASES,
    **thanos.CASES,
}


@pytest.fixture(scope="session")
def start_server(tmp_path_factory) -> Iterator[Callable[[str], Stack]]:
    """Starts each real server once per worker, when a test first asks for it."""
    running: dict[str, Stack] = {}

    def start(name: str) -> Stack:
        if name not in running:
            stack = stack_of(tmp_path_factory.mktemp(name), name)
            stack.__enter__()
            running[name] = stack
        return running[name]

    yield start
    for stack in running.values():
        stack.close()


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.stack] if opening.servers else [])
        for name, opening in sorted(OPENINGS.items())
    ]
)
async def promql_case(request, tmp_path, start_server) -> AsyncIterator[Case]:
    """Every store that speaks PromQL, by every way to write to it."""
    async with (
        real_parts(tmp_path) as parts,
        OPENINGS[request.param].open(Ground(parts, tmp_path, start_server)) as opened,
    ):
        yield opened


@pytest.fixture
async def opened(tmp_path, start_server) -> AsyncIterator[Callable[[str], object]]:
    """Opens one case by its name, for what only that server can show."""
    async with real_parts(tmp_path) as parts:
        yield lambda name: OPENINGS[name].open(Ground(parts, tmp_path, start_server))
