"""Opens the contract cases of the stores that speak PromQL, one real server a worker."""

from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.contracts.backends.case import Case, Ground, Opening
from tests.contracts.backends.cases import cortex, prometheus, thanos, victoriametrics
from tests.support.parts import real_parts

OPENINGS: Mapping[str, Opening] = {
    **prometheus.CASES,
    **cortex.CASES,
    **victoriametrics.CASES,
    **thanos.CASES,
}


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
