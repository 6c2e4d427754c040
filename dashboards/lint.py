"""What a board must be: checked by the tests, and by `coalmine dashboards check`."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dashboards.rules import RULES

_METRIC = re.compile(r"\b(?:coalmine_[a-z_]+|probe_success)\b")
RUNBOOK = Path(__file__).parent / "runbooks" / "coalmine.md"


def metrics_in(expr: str) -> frozenset[str]:
    """Names of metrics in a PromQL expression."""
    return frozenset(_METRIC.findall(expr))


def queries(board: Mapping[str, Any]) -> Iterator[str]:
    """Every query of a board as Grafana stores it."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def faults(board: Mapping[str, Any], counters: frozenset[str]) -> list[str]:
    """Sentences about what is wrong with a board; `counters` are names that only grow."""
    found = ["the board is editable"] if board.get("editable") else []
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        name = panel["title"]
        if panel.get("datasource", {}).get("uid") != "${source}":
            found.append(f"{name}: its data source is not the variable")
        if not panel.get("description") or not panel.get("targets"):
            found.append(f"{name}: no description or no query")
        if not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
            found.append(f"{name}: no unit")
        for target in panel.get("targets", ()):
            found += _bare_counters(name, target["expr"], counters)
    return found


def _bare_counters(panel: str, expr: str, counters: frozenset[str]) -> list[str]:
    return [
        f"{panel}: counter {metric} outside rate() or increase()"
        for metric in metrics_in(expr) & counters
        if not re.search(rf"(?:rate|increase)\({metric}[^)]*\$__rate_interval\]", expr)
    ]


def runbook_gaps() -> list[str]:
    """Alerts without a runbook heading, and headings without an alert."""
    headings = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE))
    names = {rule.name for rule in RULES}
    return sorted(names ^ headings)
