"""What is so when the service does not answer: its files, with their age."""

import asyncio
import json
from datetime import timedelta

import pytest

from coalmine.cli import main
from coalmine.config.load import load_config
from coalmine.wiring.files import file_read_model
from core.clock import instant
from core.errors import StoreError
from core.verdict import Verdict
from paging.model import Incident, IncidentState, Severity
from paging.store import Change
from scheduler.readmodel import ActionRequest
from scheduler.store import open_stores
from scheduler.store.samples import Vital
from selfcheck.canary.model import CanaryKey
from tests.support.clock import VirtualClock
from tests.support.envelopes import envelope
from tests.support.stores import pending_row, sqlite_folder

CONFIG = """\
coalmine: 1
namespace: tests
data_dir: data
api: {listen: "127.0.0.1:9"}
backends:
  store: {kind: embedded, url: "http://127.0.0.1:9"}
routes:
  - {name: logs, signal: logs, every: 10s, hops: [gw], read: store,
     inject: {kind: otlp_http, url: "http://127.0.0.1:9"}}
hops:
  gw: {kind: otelcol, metrics: "http://127.0.0.1:9/metrics"}
checks:
  - {name: shop, probe: http, url: "http://127.0.0.1:9/", every: 30s, timeout: 5s}
  - {name: new, probe: http, url: "http://127.0.0.1:9/", every: 30s, timeout: 5s}
sources:
  - {name: app, backend: store, select: "logs:app", quiet_after: 60s}
receivers:
  pager: {kind: webhook, url: "http://127.0.0.1:9/"}
pages:
  - {to: pager, allow_single: true}
"""


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def path(tmp_path):
    written = tmp_path / "coalmine.yaml"
    written.write_text(CONFIG)
    return written


def incident(clock):
    now = instant(clock)
    return Incident(
        fingerprint="f" * 32, episode=1, rule="fail", subject="shop", severity=Severity.CRITICAL,
        state=IncidentState.FIRING, title="shop fails", summary="503", hop="", evidence=(),
        since=now, opened=now, changed=now, resolved=None, group="f" * 32, acked_by="",
        acked_until=None, muted_by="",
    )  # fmt: skip


@pytest.fixture
def left_behind(path, clock):
    """What a service kept before it stopped."""
    asyncio.run(_left_behind(path, clock))


async def _left_behind(path, clock):
    stores = open_stores(sqlite_folder(path.parent / "data"), clock)
    try:
        epoch = await stores.ledger.begin()
        key = CanaryKey("logs", epoch.number, 1)
        await stores.ledger.open(pending_row(epoch.instance, key, clock))
        located = {"hop": "gw", "finding": "lost at gw", "evidence_1": "queue full"}
        stores.samples.append(envelope(clock, "logs", Verdict.FAIL, kind="canary", **located))
        stores.samples.append(envelope(clock, "shop", Verdict.FAIL, "503"))
        stores.samples.append(envelope(clock, "source:app", kind="source", newest_age_s=2.0))
        for part in ("scheduler", "paging"):
            stores.samples.vital(Vital(part, instant(clock), Verdict.OK, ""))
        await stores.samples.flush()
        await stores.state.commit(Change([incident(clock)], [], {}, [], "opened"))
    finally:
        stores.close()


@pytest.fixture
def model(path, clock, left_behind):
    opened = file_read_model(load_config(path), clock)
    yield opened
    opened.close()


def test_without_files_it_says_that_there_are_none(path, clock):
    with pytest.raises(StoreError, match="no such database yet"):
        file_read_model(load_config(path), clock)


def test_just_after_the_end_everything_is_as_it_was_left(model, clock):
    clock.move(1)
    board = model.board()
    assert (board.source, board.generation, board.troubles) == ("files", 3, ())
    verdicts = {row.name: row.verdict for row in board.checks}
    assert verdicts == {
        "shop": Verdict.FAIL,
        "new": Verdict.BLIND,
        "logs": Verdict.FAIL,
        "source:app": Verdict.OK,
    }
    (source,) = board.sources
    assert (source.verdict, source.newest_age_s) == (Verdict.OK, 3.0)
    (told,) = board.incidents
    assert (told.subject, told.seen_age_s, told.strip[-1]) == ("shop", 1.0, Verdict.FAIL)


def test_a_route_is_drawn_from_ledger_and_newest_result(model, clock):
    (row,) = model.board().routes
    assert (row.sent, row.outcomes["pending"], row.balanced) == (1, 1, True)
    assert (row.finding, row.evidence) == ("lost at gw", ("queue full",))
    assert [(cell.hop, cell.verdict) for cell in row.hops] == [
        ("send", Verdict.OK),
        ("gw", Verdict.FAIL),
        ("store", Verdict.BLIND),
        ("read", Verdict.BLIND),
    ]
    assert row.delay_p50_s is None


@pytest.mark.parametrize("rebooted", [False, True])
def test_later_all_is_blind_and_one_line_says_why(rebooted, model, clock):
    clock.move(7200)
    if rebooted:
        clock.reboot("boot-2")
    board = model.board()
    (line,) = board.troubles
    assert (line.word, line.text) == ("STOPPED", "no tick for 2h, all below is old")
    assert {row.verdict for row in board.checks} == {Verdict.BLIND}
    assert {row.name: row.was for row in board.checks}["shop"] is Verdict.FAIL
    assert (board.routes[0].verdict, board.sources[0].verdict) == (Verdict.BLIND, Verdict.BLIND)
    assert {cell.verdict for cell in board.routes[0].hops} == {Verdict.BLIND}
    assert {vital.part: vital.verdict for vital in board.vitals} == {
        "scheduler": Verdict.FAIL,
        "paging": Verdict.BLIND,
    }


def test_an_action_is_kept_once_and_shown_as_not_yet_in_force(model, clock, path):
    until = clock.utc() + timedelta(hours=1)
    request = ActionRequest("one", "ack", "key", "ada", "on it", until)
    model.act(request)
    model.act(request)
    (row,) = model.board().log
    assert (row.kind, row.who, row.answer, row.who_action) == ("ack", "ada", "stored", "")
    assert model.done(["one"]) == frozenset()


def test_status_and_ack_use_the_files_when_the_service_is_down(path, left_behind, capsys):
    assert main(["status", "-c", str(path), "--json"]) in {1, 2}
    assert json.loads(capsys.readouterr().out)["source"] == "files"
    assert main(["ack", "shop", "-c", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ack tests:")
    assert "no service is running" in err
