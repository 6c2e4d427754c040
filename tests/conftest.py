"""What every run of the tests tells at its end."""

from collections import Counter

import pytest


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
