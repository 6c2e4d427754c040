"""What a store itself discards is found as lost, and its own counter says why: real Loki and
VictoriaMetrics behind a real Collector, each made to discard while canaries are on their way.
"""

import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coalmine.demo.receiver import PageReceiver
from deploy.stack.collector import CollectorPlan
from deploy.stack.launch import CONF, TENANT, Instance, Stack
from deploy.stack.watched import config
from tests.stack.rig import JUDGING, Watch, watched, with_processors
from tests.support.servers import stack_of

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]

STORE = "victoria-metrics"
# VictoriaMetrics shows a new sample after up to 10 s, so its losses take as long to be told.
LOST_WITHIN_S = 100.0


class Discarding:
    """Loki whose limits of one tenant change while it runs, VictoriaMetrics, and a Collector."""

    def __init__(self, folder: Path) -> None:
        self._overrides = folder / "overrides.yml"
        self.limit({})
        loki = {"loki": Instance("loki", config=self._loki)}
        self.stack = stack_of(folder, "otelcol", STORE, plan=self._plan, instances=loki)
        plan = self.stack["otelcol"].config
        assert isinstance(plan, CollectorPlan)
        self.plan = plan

    def limit(self, limits: dict[str, Any]) -> None:
        """What Loki takes of the tenant from the next second on."""
        said = ", ".join(f"{name}: {value}" for name, value in limits.items())
        self._overrides.write_text(f"overrides: {{{TENANT}: {{{said}}}}}\n")

    def _loki(self, stack: Stack) -> str:
        server = stack["loki"]
        text = string.Template((CONF / "loki.yml").read_text())
        usual = text.substitute({**server.ports, "data": server.folder})
        return f'{usual}\nruntime_config: {{file: "{self._overrides}", period: 1s}}\n'

    def _plan(self, stack: Stack) -> CollectorPlan:
        return CollectorPlan(
            {
                "logs": {
                    "endpoint": f"{stack['loki'].url()}/otlp",
                    "headers": {"X-Scope-OrgID": TENANT},
                },
                "metrics": {"endpoint": f"{stack[STORE].url()}/opentelemetry"},
            }
        )

    def document(self, pager_url: str, folder: Path) -> dict[str, Any]:
        """Logs through the gateway and straight, metrics through the gateway alone."""
        document = config(self.stack, pager_url, folder, every="1s")
        metrics = self.stack[STORE].url()
        document["backends"]["vm"] = {"kind": "victoriametrics", "url": metrics}
        document["hops"]["vm"] = {"kind": "victoriametrics", "metrics": f"{metrics}/metrics"}
        document["hops"]["loki"] = {
            "kind": "loki",
            "metrics": f"{self.stack['loki'].url()}/metrics",
            "tenant": TENANT,
        }
        (gateway,) = (one for one in document["routes"] if one["name"] == "gw-logs")
        document["routes"].append(
            {**gateway, "name": "gw-metrics", "signal": "metrics", "read": "vm"}
        )
        document["judging"] = dict(JUDGING)
        return document


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Iterator[Discarding]:
    stores = Discarding(tmp_path_factory.mktemp("discards"))
    with stores.stack:
        yield stores


@pytest.fixture
def pager() -> Iterator[PageReceiver]:
    pager = PageReceiver(refuses=False)
    yield pager
    pager.close()


@pytest.fixture
def watch(stores, pager, tmp_path) -> Iterator[Watch]:
    with watched(stores.document(pager.url, tmp_path), tmp_path, pager) as watch:
        watch.until("all is ok", lambda: all(is_ok(row) for row in watch.board["routes"]), 90)
        try:
            yield watch
        finally:
            stores.limit({})


def is_ok(row) -> bool:
    return row["verdict"] == "ok"


def until_told(watch: Watch, route: str, line: str) -> Any:
    """The route once its evidence holds `line`."""
    watch.until(
        f"{route} tells: {line}",
        lambda: any(line in one for one in watch.route(route)["evidence"]),
        LOST_WITHIN_S,
    )
    return watch.route(route)


def test_mode_20_what_a_store_discards_with_a_yes_is_lost_and_its_counter_says_why(stores, watch):
    """204 from VictoriaMetrics, more labels than it takes, and nothing stored."""
    many = {f"made.up.{number}": "x" for number in range(45)}
    added = [{"key": key, "value": value, "action": "insert"} for key, value in many.items()]
    stores.stack.reconfigure(
        with_processors(stores.plan, "metrics", attributes__many={"actions": added})
    )
    try:
        watch.until(
            "gw-metrics loses",
            lambda: watch.route("gw-metrics")["verdict"] == "fail",
            LOST_WITHIN_S,
        )
        row = until_told(watch, "gw-metrics", "too_many_labels")
        assert row["outcomes"]["lost"] >= 2, watch.told()
        assert row["outcomes"]["policy_drop"] == 0, watch.told()
        assert row["finding"].startswith("vm: dropped, by its own counter"), watch.told()
        assert "medium" in row["finding"], watch.told()
    finally:
        stores.stack.reconfigure(stores.plan)


def test_row_19_a_limit_of_the_store_is_loss_and_named_on_both_ways_to_it(stores, watch):
    stores.limit({"max_line_size": "8B", "max_line_size_truncate": "false"})
    row = until_told(watch, "gw-logs", "line_too_long")
    assert row["outcomes"]["policy_drop"] == 0, watch.told()
    assert row["finding"].startswith("loki: "), watch.told()
    straight = until_told(watch, "direct-logs", "line_too_long")
    assert straight["finding"].startswith("loki: "), watch.told()
    assert straight["outcomes"]["rejected"] >= 2, watch.told()


def test_row_19_what_the_store_blocks_by_rule_is_a_policy_drop(stores, watch):
    """Loki answers 200 for a tenant that it was told to block, and counts what it threw away."""
    blocked = {"block_ingestion_until": "2099-01-01T00:00:00Z", "block_ingestion_status_code": 200}
    stores.limit(blocked)
    watch.until_verdict("gw-logs", "fail", "policy")
    row = until_told(watch, "gw-logs", "on purpose: blocked_ingestion")
    assert row["finding"].startswith("loki: dropped on purpose"), watch.told()
