"""One case for every server of every registered backend."""

import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from deploy.stack.launch import Stack
from selfcheck.backends.protocol import BACKENDS
from tests.contracts.backends import cases
from tests.contracts.backends.case import Case, Ground, Opening
from tests.support.parts import real_parts


def _openings() -> Mapping[str, Opening]:
    found: dict[str, Opening] = {}
    for module in pkgutil.iter_modules(cases.__path__):
        found |= importlib.import_module(f"{cases.__name__}.{module.name}").CASES
    missing = set(BACKENDS.entries) - {opening.kind for opening in found.values()}
    if missing:
        raise LookupError(f"no case below {cases.__name__} for {', '.join(sorted(missing))}")
    return found


OPENINGS = _openings()
HERE = Path(__file__).parent
QUICK = "embedded"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before each commit the suite runs over the built-in store; over all others in `make test`."""
    for item in items:
        if HERE in item.path.parents and QUICK not in item.nodeid.partition("[")[2]:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.stack] if opening.servers else [])
        for name, opening in sorted(OPENINGS.items())
    ]
)
async def case(
    request, tmp_path, start_server: Callable[[str], Stack], record_property
) -> AsyncIterator[Case]:
    """Every server of every registered backend; its version goes into the report."""
    async with (
        real_parts(tmp_path) as parts,
        OPENINGS[request.param].open(Ground(parts, tmp_path, start_server)) as opened,
    ):
        record_property("server", opened.server)
        yield opened


@pytest.fixture
async def opened(tmp_path, start_server) -> AsyncIterator[Callable[[str], object]]:
    """Opens one case by its name, for what only that server can show."""
    async with real_parts(tmp_path) as parts:
        yield lambda name: OPENINGS[name].open(Ground(parts, tmp_path, start_server))
