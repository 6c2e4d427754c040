"""`coalmine canary ID`: the whole life, from the running instance or from its files."""

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest

from coalmine.cli import main
from coalmine.cli.canary import lines
from coalmine.exits import Exit
from core.clock import SystemClock, instant
from core.errors import StoreError
from core.reason import Reason
from scheduler.api.app import ApiParts, make_app
from scheduler.api.server import ApiServer
from scheduler.life import life_of
from scheduler.store import open_reader, open_stores
from selfcheck.canary.model import CanaryKey, Look, Outcome, Receipt, Sent
from selfcheck.canary.recheck.model import RecheckState
from selfcheck.canary.recheck.plan import following
from tests.support.clock import VirtualClock
from tests.support.envelopes import FixedModel, board
from tests.support.rechecks import AGES, INSTANCE, PACE, done, planned
from tests.support.stores import pending_row, sqlite_folder
from tui.client import ApiReadModel

CONFIG = """\
coalmine: 1
namespace: tests
data_dir: data
api: {listen: "127.0.0.1:9"}
backends:
  store: {kind: embedded, url: "http://127.0.0.1:9"}
routes:
  - {name: logs, signal: logs, every: 10s, read: store,
     inject: {kind: otlp_http, url: "http://127.0.0.1:9"}}
receivers:
  pager: {kind: webhook, url: "http://127.0.0.1:9/"}
pages:
  - {to: pager, allow_single: true}
"""
RECEIPT = Receipt(Sent.ACCEPTED, Reason.OK, "200", 2, Sent.REJECTED, 0.5125, 612, False)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def path(tmp_path):
    written = tmp_path / "coalmine.yaml"
    written.write_text(CONFIG)
    return written


async def lived(stores, clock):
    """One canary that was seen late and lost a day later, one under way; their ids."""
    ledger = stores.ledger
    epoch = (await ledger.begin()).number
    first, second = (pending_row(INSTANCE, CanaryKey("logs", epoch, seq), clock) for seq in (1, 2))
    await ledger.open(first)
    await ledger.open(second)
    clock.move(61.5)
    late = replace(
        first, receipt=RECEIPT, outcome=Outcome.LATE, reason=Reason.LATE, judged=instant(clock),
        seen=instant(clock), delay_s=61.5, copies=2, empty_read=first.sent, empty_path="by_id",
        first_path="search", hop_stamps={"gateway": "2026-11-21T03:12:45Z"},
        looks=(
            Look(2.0, "by_id", True, False, Reason.OK, ""),
            Look(30.0, "by_id", False, False, Reason.TIMEOUT, "no answer\x1b[31m"),
            Look(61.25, "search", True, True, Reason.OK, ""),
        ),
    )  # fmt: skip
    await ledger.settle([late])
    (hour,) = planned([late])
    await ledger.rechecks.plan([hour])
    found = done(hour, RecheckState.OK, clock)
    await ledger.rechecks.settle([found], [after := following(found, AGES, PACE)])
    lost = replace(done(after, RecheckState.LOST, clock, Reason.SILENT_LOSS), missed_at="24h")
    await ledger.rechecks.settle([lost], [following(lost, AGES, PACE)])
    return first.canary.canary_id, second.canary.canary_id


@pytest.fixture
def ids(path, clock):
    """What a service kept before it stopped."""
    stores = open_stores(sqlite_folder(path.parent / "data"), clock, instance=INSTANCE)
    found = asyncio.run(lived(stores, clock))
    stores.close()
    return found


def test_the_files_tell_the_whole_life(path, ids, capsys):
    """Made, sent with its tries, every look, the outcome, hops and rechecks, in that order."""
    assert main(["canary", "-c", str(path), ids[0]]) == Exit.OK
    told = capsys.readouterr()
    assert "read from: files" in told.err
    out = told.out.splitlines()
    labels = [line.split()[0] for line in out]
    assert labels == [
        "canary", "route", "trace", "made", "sent", "receipt", "look", "look", "look", "outcome",
        "seen", "copies", "absent", "hop", "recheck", "recheck", "recheck",
    ]  # fmt: skip
    assert "accepted · after 0.512 s · 2 tries, the first rejected · 612 B · 200" in out[5]
    assert out[6].endswith("+2.00 s  by_id: not there")
    assert "could not be read: timeout · no answer␛[31m" in out[7]
    assert out[8].endswith("search: seen")
    assert "late(late) · deadline 60.0 s" in out[9]
    assert "by search, 61.50 s after it was sent" in out[10]
    assert "gateway at 2026-11-21T03:12:45Z" in out[13]
    assert "1h: ok · at" in out[14]
    assert "24h: lost(silent_loss) · at" in out[15]
    assert "last seen 2026-11-21" in out[15]
    assert "7d: due 2026-11-28" in out[16]


def test_a_canary_under_way_has_neither_receipt_nor_outcome(path, ids, capsys):
    assert main(["canary", "-c", str(path), ids[1]]) == Exit.OK
    out = capsys.readouterr().out
    assert "receipt  none recorded: maybe sent" in out
    assert "look     none recorded" in out
    assert "outcome  pending(starting)" in out


def test_json_holds_everything(path, ids, capsys):
    assert main(["canary", "-c", str(path), ids[0], "--json"]) == Exit.OK
    life = json.loads(capsys.readouterr().out)
    assert life["canary_id"] == ids[0]
    assert (life["outcome"], life["tries"] if "tries" in life else life["receipt"]["tries"]) == (
        "late", 2
    )  # fmt: skip
    assert [look["seen"] for look in life["looks"]] == [False, False, True]
    assert [one["state"] for one in life["rechecks"]] == ["ok", "lost", "planned"]
    assert int(life["stamp_ns"]) > 1 << 53


def test_an_unknown_id_is_said_and_exits_2_and_no_id_at_all_3(path, ids, capsys):
    unknown = ids[0][:-1] + ("0" if ids[0][-1] != "0" else "1")
    assert main(["canary", "-c", str(path), unknown]) == Exit.NOT_PROVEN
    told = capsys.readouterr()
    assert (told.out, "no such canary" in told.err) == ("", True)
    for wrong in ("logs", "cm-", ids[0] + "\n", "../../x"):
        assert main(["canary", "-c", str(path), wrong]) == Exit.USAGE
        assert "not the id of a canary" in capsys.readouterr().err


def test_without_a_service_and_files_it_exits_2(path, ids, capsys):
    other = path.parent / "other.yaml"
    other.write_text(CONFIG.replace("data_dir: data", "data_dir: nothing"))
    assert main(["canary", "-c", str(other), ids[0]]) == Exit.NOT_PROVEN
    assert "no such database yet" in capsys.readouterr().err


def test_a_pruned_canary_is_known_by_its_rechecks(path, ids, clock, capsys):
    """The page of a loss found after days names it; its own row has long been folded."""
    stores = open_stores(path.parent / "data", clock)
    clock.move(86400)
    assert asyncio.run(stores.ledger.prune(clock.utc())) == 1
    stores.close()
    assert main(["canary", "-c", str(path), ids[0]]) == Exit.OK
    out = capsys.readouterr().out
    assert "its outcome is in the daily totals" in out
    assert "24h: lost(silent_loss)" in out
    assert main(["canary", "-c", str(path), ids[0], "--json"]) == Exit.OK
    life = json.loads(capsys.readouterr().out)
    assert (life["pruned"], life["outcome"], life["route"]) == (True, None, "logs")


@pytest.fixture
def live(path, ids, clock):
    """The address of an API over the same ledger."""
    reader = open_reader(path.parent / "data", clock)
    parts = ApiParts(
        FixedModel(board(SystemClock())), None, lambda: True, partial(life_of, reader.ledger), None
    )
    server = ApiServer(make_app(parts), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop(5)
    reader.close()


def test_the_running_instance_tells_the_same(path, ids, live, capsys):
    assert main(["canary", "-c", str(path), ids[0], "--json"]) == Exit.OK
    from_files = capsys.readouterr().out
    assert main(["canary", "--url", live, ids[0], "--json"]) == Exit.OK
    told = capsys.readouterr()
    assert (told.out, "read from: live" in told.err) == (from_files, True)
    unknown = ids[0].replace("-1-", "-9-")
    assert main(["canary", "--url", live, unknown]) == Exit.NOT_PROVEN


def test_an_instance_that_is_no_coalmine_is_no_missing_canary(live, ids):
    for url, name in ((live + "/elsewhere", ids[0]), (live, "../status")):
        with closing(ApiReadModel(url, None)) as model, pytest.raises(StoreError, match="404"):
            model.canary(name)


def test_a_refusal_and_a_diff_are_told():
    """Every line of a diff is a line of its own."""
    clock = VirtualClock()
    row = pending_row(INSTANCE, CanaryKey("logs", 1, 1), clock)
    receipt = Receipt(Sent.MAYBE, Reason.TIMEOUT, "10 s", 1, Sent.MAYBE, 10.0, 612, True)
    row = replace(row, receipt=receipt, diff="body: a\nattribute b: c")

    class Ledger:
        async def find(self, _):
            return row

        class rechecks:
            @staticmethod
            async def of_canary(_):
                return []

    told = lines(asyncio.run(life_of(Ledger(), row.canary.canary_id)))
    assert (
        "maybe(timeout) · after 10.000 s · 1 try · 612 B · connected, never answered · 10 s"
        in (told[5])
    )
    assert told[-2:] == ["diff     body: a", "diff     attribute b: c"]
