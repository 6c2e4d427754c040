"""One dialect for every form of every posting kind."""

from collections.abc import Callable, Iterator

import pytest

from deploy.stack.launch import Stack
from tests.contracts.injectors.dialect import Dialect
from tests.contracts.injectors.known import DIALECTS
from tests.support.servers import stack_of


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request) -> Dialect:
    """Every form of every posting kind."""
    return DIALECTS[request.param]


@pytest.fixture(scope="module")
def start_server(tmp_path_factory) -> Iterator[Callable[..., Stack]]:
    """Starts real servers, once for all tests of a module unless they are named instances."""
    shared: dict[tuple[str, ...], Stack] = {}
    running: list[Stack] = []

    def start(*names: str, **options) -> Stack:
        if names in shared and not options:
            return shared[names]
        stack = stack_of(tmp_path_factory.mktemp("stack"), *names, **options)
        stack.__enter__()
        running.append(stack)
        if not options:
            shared[names] = stack
        return stack

    yield start
    for stack in reversed(running):
        stack.close()
