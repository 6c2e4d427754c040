"""What every run of the tests shares, and tells at its end."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from deploy.stack.launch import Stack
from tests.support.servers import stack_of


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The servers that tests ran against, as each told its version."""
    passed, failed = (_servers(terminalreporter, outcome) for outcome in ("passed", "failed"))
    if not passed and not failed:
        return
    terminalreporter.section("stores that the contract suite ran against")
    for server in sorted({*passed, *failed}):
        told = f", {failed[server]} FAILED" if failed[server] else ""
        terminalreporter.line(f"{server}: {passed[server]} passed{told}")


def _servers(terminalreporter: pytest.TerminalReporter, outcome: str) -> Counter[str]:
    return Counter(
        str(value)
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
        for name, value in report.user_properties
        if name == "server"
    )
