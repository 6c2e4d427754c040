"""The joined service, started whole, against the embedded stack with its faults."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from core.clock import SystemClock
from selfcheck.canary.model import Outcome
from selfcheck.embedded.faults import FaultKind
from tests.coalmine.service_rig import (
    Rig,
    Running,
    all_ok,
    check,
    incidents,
    rig,
    route,
)

# Whole services over real sockets: `make test` runs them, `make check` does not.
pytestmark = pytest.mark.slow

WAY, DIRECT = "logs-gateway", "logs-direct"
REMOVED_S = 6.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def healthy(stage: Rig, *routes: str, more: str = "") -> Running:
    """A service of which every route is ok."""
    names = routes or (WAY, DIRECT)
    running = stage.service(stage.top() + stage.routes(*names) + more)
    running.until("all ok", all_ok)
    return running


def reload(stage: Rig, running: Running, text: str) -> None:
    """Write the config and ask for it, as SIGHUP does."""
    stage.write(text)
    running.do(running.service._watch.request)


def pending(running: Running) -> int:
    """Canaries of the gateway's route that the ledger has no outcome for."""
    account = running.call(lambda: running.service._stores.ledger.account(WAY))
    return account.by_outcome.get(Outcome.PENDING, 0)


def fill_disk(running: Running) -> threading.Event:
    """Every commit of the ledger fails as on a full disk until the event is set."""
    freed = threading.Event()

    @event.listens_for(running.service._stores.ledger._writer._engine, "begin")
    def full(connection) -> None:
        limit = 2**30 if freed.is_set() else 1
        connection.exec_driver_sql(f"PRAGMA max_page_count={limit}")

    return freed


# Our own store


def test_fault_024_a_full_disk_turns_every_route_blind_and_a_freed_one_ok(stage):
    running = healthy(stage)
    freed = fill_disk(running)
    running.until(
        "all blind",
        lambda b: (
            {one["verdict"] for one in b["routes"]} == {"blind"}
            and {check(b, one)["verdict"] for one in (WAY, DIRECT)} == {"blind"}
        ),
        limit_s=12,
    )
    told = stage.page(lambda p: p["data"]["rule"] == "blind")
    assert told["type"] == "incident.triggered"
    freed.set()
    running.until("ok again", all_ok)
    stage.page(lambda p: p["type"] == "incident.resolved" and p["data"]["rule"] == "blind")


# Reload


def test_fault_017_a_bad_file_is_refused_told_and_cleared_by_a_repaired_one(stage):
    running = healthy(stage)
    good = stage.config.read_text()
    before = route(running.board(), WAY)["sent"]
    reload(stage, running, good + "checkz: []\n")
    running.until("refused", lambda _: not running.reload_ok())
    running.call(running.service._selfwatch.step)
    stage.page(lambda p: p["data"]["subject"] == "coalmine.config")
    assert not running.reload_ok()
    assert running.board()["generation"] == 1
    reload(stage, running, good.replace("routes:", "routes: # mended", 1))
    board = running.until("generation 2", lambda b: b["generation"] == 2)
    assert running.reload_ok()
    running.call(running.service._selfwatch.step)
    stage.page(lambda p: p["type"] == "incident.resolved"
               and p["data"]["subject"] == "coalmine.config")  # fmt: skip
    assert all_ok(board), "an unchanged route keeps its state"
    running.until("goes on", lambda b: route(b, WAY)["sent"] > before)


def test_fault_018_an_emptied_config_is_refused(stage):
    running = healthy(stage, DIRECT)
    reload(stage, running, stage.top())
    running.until("refused", lambda _: not running.reload_ok())
    assert all_ok(running.board())


def test_a_reload_that_breaks_in_the_building_is_refused_and_told(stage, monkeypatch):
    running = healthy(stage, DIRECT)

    def broken(*_: object) -> None:
        raise KeyError("a defect of ours")

    monkeypatch.setattr("coalmine.wiring.service.build_plan", broken)
    reload(stage, running, stage.top() + stage.routes(DIRECT, WAY))
    running.until("refused", lambda _: not running.reload_ok())
    assert "a defect of ours" in running.service._selfwatch.config_problems[0]
    assert all_ok(running.board())


def test_a_removed_route_is_judged_to_the_end_and_pages_nobody(stage):
    running = healthy(stage)
    stage.fault(stage.stack.gateway, FaultKind.DELAY, delay_s=1.5)
    running.until("under way", lambda b: route(b, WAY)["outcomes"]["pending"] > 0)
    reload(stage, running, stage.top() + stage.routes(DIRECT))
    running.until("removed", lambda b: [one["name"] for one in b["routes"]] == [DIRECT])
    running.until("judged", lambda _: not pending(running))
    threading.Event().wait(REMOVED_S)
    assert not [one for one in running.board()["incidents"] if one["subject"] == WAY]


def test_a_source_is_gated_by_the_routes_of_the_present_plan(stage):
    source = (
        "sources:\n  - {name: writer, backend: store, select: 'logs:coalmine-canary', "
        "quiet_after: 2s, routes: [metrics-direct]}\n"
    )
    running = healthy(stage, DIRECT, "metrics-direct", more=source)
    text = stage.config.read_text().replace(
        "signal: metrics, every: 1s", "signal: metrics, every: 2s"
    )
    reload(stage, running, text)
    running.until("generation 2", lambda b: b["generation"] == 2)
    threading.Event().wait(REMOVED_S + 2)  # the old cycle's word would be history by now
    stage.fault(stage.stack.store, FaultKind.DROP)
    board = running.until("quiet", lambda b: check(b, "source:writer")["verdict"] == "fail")
    assert route(board, "metrics-direct")["verdict"] == "ok"


# Restart


def test_a_restart_amid_a_fault_keeps_the_incident_and_loses_no_canary(stage):
    running = healthy(stage)
    stage.fault(stage.stack.gateway, FaultKind.DROP)
    first = stage.page(lambda p: p["data"]["subject"] == WAY)
    sent = route(running.board(), WAY)["sent"]
    running.stop()
    again = stage.service()
    board = again.board()
    assert route(board, WAY)["verdict"] == "fail", "derived before any new canary"
    assert route(board, WAY)["sent"] >= sent
    [open_one] = incidents(again.until("restored", lambda b: incidents(b, WAY)), WAY)
    assert open_one["key"] == first["data"]["dedup_key"]
    stage.mend()
    stage.page(lambda p: p["type"] == "incident.resolved" and p["data"]["subject"] == WAY)
    again.until("ok", all_ok)
    triggers = [p["data"]["dedup_key"] for p in stage.pages if p["type"] == "incident.triggered"]
    assert len(triggers) == len(set(triggers))


# The embedded faults: what the routes say, what became of the canaries, which hop is named

SECONDS = 3.0


@pytest.mark.parametrize(
    ("where", "kind", "verdict", "reason", "outcome", "hop"),
    [
        ("gateway", FaultKind.SINK, "fail", "silent_loss", "lost", "gateway"),
        ("gateway", FaultKind.FILTER, "fail", "policy", "policy_drop", "gateway"),
        ("gateway", FaultKind.DUPLICATE, "degraded", "duplicated", "ok", ""),
        ("gateway", FaultKind.ALTER, "fail", "altered", "altered", "gateway"),
        ("gateway", FaultKind.REJECT, "fail", "inject", "rejected", "gateway"),
        ("store", FaultKind.READ_DOWN, "blind", "readback", "unknown", "store"),
    ],
)
def test_an_embedded_fault_is_seen_named_paged_and_resolved(
    stage, where, kind, verdict, reason, outcome, hop
):
    running = healthy(stage)
    hops = stage.stack.gateway if where == "gateway" else stage.stack.store
    stage.fault(hops, kind)
    board = running.until(
        "seen",
        lambda b: route(b, WAY)["verdict"] == verdict and route(b, WAY)["outcomes"][outcome] > 1,
    )
    seen = route(board, WAY)
    assert seen["reason"] == reason, seen
    assert sum(seen["outcomes"].values()) == seen["sent"]
    told = stage.page(lambda p: p["data"]["rule"] == verdict)
    assert told["data"]["hop"] == hop
    running.until("an incident", lambda b: [one["hop"] for one in incidents(b, WAY)] == [hop])
    end = SystemClock().monotonic() + SECONDS
    while SystemClock().monotonic() < end:
        assert route(running.board(), WAY)["verdict"] != "ok", "never ok while broken"
    assert route(running.board(), DIRECT)["verdict"] == ("blind" if where == "store" else "ok")
    stage.mend()
    key = told["data"]["dedup_key"]
    stage.page(lambda p: p["type"] == "incident.resolved" and p["data"]["dedup_key"] == key)
    running.until("recovered", all_ok)
