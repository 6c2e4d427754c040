"""The links that people follow, in real stores: log to trace in Loki, exemplar to trace in Prometheus.

Each is broken on purpose by what breaks it in practice, a processor that takes the trace id away,
while every signal goes on arriving. A log line without its trace id is altered, too; an exemplar is
no part of its sample.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from coalmine.demo.receiver import PageReceiver
from tests.stack.rig import Rig, Watch, watched, with_processors

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]

JOINS = ("log-to-trace", "exemplar-to-trace")


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("joins"))
    try:
        with rig.stack:
            yield rig
    finally:
        rig.close()


@pytest.fixture
def pager() -> Iterator[PageReceiver]:
    pager = PageReceiver(refuses=False)
    yield pager
    pager.close()


def document(rig: Rig, pager: PageReceiver, folder) -> dict[str, Any]:
    written = rig.document(pager.url, folder)
    for route in written["routes"]:
        if route["signal"] == "metrics":
            # Prometheus drops the exemplars of gauges.
            route["inject"]["metric"] = "counter"
    written["joins"] = [
        {"name": "log-to-trace", "from": "gw-logs", "to": "gw-traces", "every": "2s"},
        {"name": "exemplar-to-trace", "from": "gw-metrics", "to": "gw-traces", "every": "2s"},
    ]
    return written


def verdict(watch: Watch, name: str) -> str:
    return str(next(row["verdict"] for row in watch.board["checks"] if row["name"] == name))


def until_joins(watch: Watch, **wanted: str) -> None:
    for name, word in wanted.items():
        join = name.replace("_", "-")
        watch.until(f"{join} is {word}", lambda join=join, word=word: verdict(watch, join) == word)


def broken(watch: Watch) -> list[dict[str, Any]]:
    """Pages of a failure of the link from logs."""
    fails = [one for one in watch.of("trigger") if one["rule"] == "fail"]
    return [one for one in fails if one["subject"] == "log-to-trace"]


def test_each_broken_link_has_its_own_verdict_beside_that_of_its_signal(rig, pager, tmp_path):
    with watched(document(rig, pager, tmp_path), tmp_path, pager) as watch:
        watch.until_all_ok()
        until_joins(watch, log_to_trace="ok", exemplar_to_trace="ok")
        blank = [{"context": "log", "statements": [f"set(trace_id, TraceID(0x{0:032x}))"]}]
        rig.change(
            "otelcol",
            lambda plan: with_processors(plan, "logs", transform__blank={"log_statements": blank}),
        )
        until_joins(watch, log_to_trace="fail", exemplar_to_trace="ok")
        watch.until_verdict("gw-logs", "fail", "altered")
        others = {row["verdict"] for row in watch.board["routes"] if row["signal"] != "logs"}
        assert others == {"ok"}, watch.told()
        watch.until("the link is paged", lambda: broken(watch))
        assert "leads to no trace" in broken(watch)[0]["summary"], watch.told()
        rig.restore()
        until_joins(watch, log_to_trace="ok")
        watch.until_page("resolve")
