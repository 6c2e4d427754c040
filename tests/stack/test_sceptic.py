"""What a sceptic does to a pipeline without stopping it: everything is answered 200, and is wrong.

No route may be called ok, and what is wrong has to be said in words that lead to it.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from coalmine.demo.receiver import PageReceiver
from deploy.stack.collector import CollectorPlan, render
from tests.stack.rig import STORES, Rig, Watch, watched, with_processors

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("sceptic"))
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


def statements(context: str, *lines: str) -> list[dict[str, Any]]:
    return [{"context": context, "statements": list(lines)}]


def altered(plan: CollectorPlan) -> CollectorPlan:
    """A cut log line, a scaled sample, a span without one of its attributes."""
    cut = statements("log", "set(body, Substring(body, 0, 60))")
    scaled = statements("datapoint", "set(value_double, value_double + 0.5)")
    stripped = statements("span", 'delete_key(attributes, "coalmine.seq")')
    plan = with_processors(plan, "logs", transform__cut={"log_statements": cut})
    plan = with_processors(plan, "metrics", transform__scaled={"metric_statements": scaled})
    return with_processors(plan, "traces", transform__stripped={"trace_statements": stripped})


def misplaced(plan: CollectorPlan) -> CollectorPlan:
    """A log dated anew, a series under another route's name, a span of another service."""
    dated = statements("log", "set(time_unix_nano, time_unix_nano + 90000000000)")
    renamed = statements("datapoint", 'set(attributes["coalmine.route"], "another")')
    moved = statements("resource", 'set(attributes["service.name"], "another")')
    traced = statements("span", 'set(attributes["canary.id"], "another")')
    plan = with_processors(plan, "logs", transform__dated={"log_statements": dated})
    plan = with_processors(plan, "metrics", transform__renamed={"metric_statements": renamed})
    return with_processors(plan, "traces", transform__moved={"trace_statements": [*moved, *traced]})


@pytest.mark.parametrize(
    ("make", "reason"),
    [(altered, "altered"), (misplaced, "silent_loss")],
    ids=["altered", "misplaced"],
)
def test_what_is_stored_wrongly_is_never_ok(rig, pager, tmp_path, make, reason):
    with watched(rig.document(pager.url, tmp_path), tmp_path, pager) as watch:
        watch.until_all_ok()
        rig.change("otelcol", make)
        through = [f"{prefix}-{signal}" for prefix in ("gw", "agent") for signal in STORES]
        for name in through:
            watch.until_verdict(name, "fail", reason)
        since = watch.now()
        for name in through:
            watch.until_hop(name, "gateway")
        watch.look_again()
        assert "ok" not in {verdict for name in through for verdict in watch.verdicts(name, since)}
        direct = [f"direct-{signal}" for signal in STORES]
        watch.always_ok(since, *direct)
        watch.until_page("trigger")
        rig.restore()
        watch.until(
            "nothing fails any more",
            lambda: {row["verdict"] for row in watch.board["routes"]} <= {"ok", "degraded"},
        )


def test_what_is_stored_twice_is_degraded_where_the_store_can_show_it(rig, pager, tmp_path):
    def twice(plan: CollectorPlan) -> Any:
        server = rig.stack["otelcol"]
        written = json.loads(render(plan, server.ports, str(server.folder)))
        for signal in STORES:
            written["exporters"][f"otlp_http/{signal}-again"] = written["exporters"][
                f"otlp_http/{signal}"
            ]
            written["service"]["pipelines"][signal]["exporters"].append(f"otlp_http/{signal}-again")
        return json.dumps(written)

    with watched(rig.document(pager.url, tmp_path), tmp_path, pager) as watch:
        watch.until_all_ok()
        rig.change("otelcol", twice)
        for name in ("gw-traces", "agent-traces"):
            watch.until_verdict(name, "degraded", "duplicated")
        assert duplicates(watch, "gw-traces") == "seen"
        for name in ("gw-logs", "gw-metrics"):
            assert duplicates(watch, name) == "not_observable", watch.told()
            assert watch.route(name)["outcomes"]["lost"] == 0, watch.told()
        rig.restore()
        watch.until_all_ok()


def duplicates(watch: Watch, name: str) -> str:
    return str(watch.route(name)["duplicates"])
