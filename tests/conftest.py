"""What every run of the tests shares, and tells at its end."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from deploy.stack.launch import Stack
from tests.support.schedule import ByServer, turn
from tests.support.servers import stack_of

# A server's start counts as time of the first test that needs it, and others may be busy beside it.
SLOW_S = 90


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


@pytest.hookimpl(trylast=True)  # the suites below mark their own first
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`, what takes longest comes first; beyond that the order is random."""
    for item in items:
        slow = item.get_closest_marker("stack") or item.get_closest_marker("slow")
        if slow and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_S))
    if config.getoption("loadgroup", default=False):
        items.sort(key=lambda item: turn(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByServer | None:
    """For `--dist loadgroup`: xdist 3.8 cannot tell its groups under pytest 9.2."""
    return ByServer(config, log) if config.getvalue("dist") == "loadgroup" else None


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
