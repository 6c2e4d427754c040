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
from scheduler.store.service import FileLock
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
        located = {
            "hop": "gw",
            "route_deadline_s": 30.0,
            "finding": "lost at gw",
            "evidence_1": "queue full",
        }
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


@pytest.fixture
def locked(path, left_behind):
    """A service that holds its lock, though its API does not answer."""
    lock = FileLock(path.parent / "data")
    yield
    lock.release()


def test_while_a_service_holds_the_lock_everything_is_as_it_was_kept(model, clock, locked):
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


def test_a_service_that_is_gone_is_told_at_once_and_every_row_is_blind(model, clock):
    clock.move(21)
    board = model.board()
    (line,) = board.troubles
    told = "not running (last tick 21s ago), all below is old"
    assert (line.word, line.text) == ("STOPPED", told)
    rows = [*board.checks, *board.routes, *board.sources]
    assert {row.verdict for row in rows} == {Verdict.BLIND}
    assert board.routes[0].detail.startswith("was fail")
    assert board.sources[0].detail == "was ok"


def test_a_route_is_drawn_from_ledger_and_newest_result(model, clock, locked):
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
    assert (line.word, line.text) == ("STOPPED", "not running (last tick 2h ago), all below is old")
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
    assert main(["status", "-c", str(path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["source"] == "files"
    assert main(["ack", "shop", "-c", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ack tests:")
    assert "no service is running" in err


def test_a_route_on_file_ages_by_the_deadline_in_force(model, clock, path):
    """Three intervals, 30 s of deadline and the confirmation: not the ceiling of 15 minutes."""
    confirm_s = load_config(path).routes[0].judging.confirm_after
    limit_s = 3 * 10 + 30 + confirm_s
    assert limit_s < load_config(path).routes[0].judging.deadline_ceiling
    service = open_stores(path.parent / "data", clock)
    try:
        for moved_s, expected in ((limit_s - 1, Verdict.FAIL), (2, Verdict.BLIND)):
            clock.move(moved_s)
            service.samples.vital(Vital("scheduler", instant(clock), Verdict.OK, ""))
            asyncio.run(service.samples.flush())
            assert model.board().routes[0].verdict is expected
    finally:
        service.close()


@pytest.mark.parametrize("command", ["routes", "checks", "incidents", "cost"])
def test_a_list_of_a_dead_service_is_2_and_says_why(command, path, left_behind, capsys):
    assert main([command, "-c", str(path)]) == 2
    err = capsys.readouterr().err
    assert "STOPPED" in err
    assert "read from: files" in err


def test_a_config_with_mistakes_still_finds_its_files(path, left_behind, capsys):
    path.write_text(CONFIG.replace("every: 30s, timeout", "every: 30, timeout"))
    assert main(["routes", "-c", str(path)]) == 2
    out, err = capsys.readouterr()
    assert "logs" in out
    assert "the config has problems" in err


def test_a_config_that_tells_nothing_names_the_way_to_the_service(path, left_behind, capsys):
    path.write_text("coalmine: [")
    assert main(["status", "-c", str(path)]) == 3
    assert "--url http://127.0.0.1:9470" in capsys.readouterr().err


def test_muting_what_has_no_incident_says_what_can_be_done(path, left_behind, capsys):
    mute = ["--for", "1h", "--reason", "deploy", "-c", str(path)]
    assert main(["mute", "new", *mute]) == 2
    assert "ahead" in capsys.readouterr().err
    assert main(["mute", "shopp", *mute]) == 3
    assert "did you mean shop?" in capsys.readouterr().err
