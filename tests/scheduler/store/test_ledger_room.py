"""The ledger is bounded by days and by bytes; at the bound nothing is lost from its account."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.clock import instant
from core.errors import StoreError
from core.reason import Reason
from scheduler.store import open_stores
from scheduler.store.ledger_room import LedgerCaps
from selfcheck.canary.model import CanaryKey, Outcome
from selfcheck.canary.recheck.model import RecheckState
from tests.support.clock import VirtualClock
from tests.support.rechecks import INSTANCE, planned, seen
from tests.support.stores import pending_row, postgres_url, sqlite_folder

pytestmark = pytest.mark.slow


def opened(where, clock, **caps):
    return open_stores(where, clock, instance=INSTANCE, caps=LedgerCaps(**caps))


async def fill(ledger, clock, n, route="logs"):
    """`n` canaries that are under way."""
    epoch = (await ledger.begin()).number
    rows = [pending_row(INSTANCE, CanaryKey(route, epoch, seq), clock) for seq in range(1, n + 1)]
    for row in rows:
        await ledger.open(row)
        clock.move(1)
    return rows


async def settle_down(ledger):
    """Batches until there is nothing more to do; how many were folded and given up."""
    folded = given_up = 0
    while not (room := await ledger.make_room()).done:
        folded, given_up = folded + room.folded, given_up + room.given_up
    return folded, given_up, room.used_bytes


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_what_is_older_than_its_days_becomes_a_daily_total(tmp_path, database):
    clock = VirtualClock()
    where = sqlite_folder(tmp_path) if database == "sqlite" else postgres_url()
    stores = opened(where, clock, days=2, batch=10)
    ledger = stores.ledger
    await seen(ledger, clock, 25)
    clock.move(2 * 86400)
    await seen(ledger, clock, 5)
    await fill(ledger, clock, 1, "late")
    before = await ledger.accounts()
    assert (await settle_down(ledger))[:2] == (25, 0)
    assert await ledger.accounts() == before
    assert len(await ledger.recent("logs", 99)) == 5
    stores.close()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_mode_07_at_the_bound_the_oldest_go_first_and_the_identity_holds(tmp_path, database):
    """Judged ones are folded; only then those under way end as unknown(ledger_full), counted."""
    clock = VirtualClock()
    where = sqlite_folder(tmp_path) if database == "sqlite" else postgres_url()
    stores = opened(where, clock, max_bytes=10_000_000, batch=100)
    ledger = stores.ledger
    ok = await seen(ledger, clock, 300)
    lost = await seen(ledger, clock, 100, Outcome.LOST)
    pending = await fill(ledger, clock, 300)
    await ledger.rechecks.plan(planned(ok[:50]))
    used = (await ledger.room()).used_bytes
    ledger.caps = replace(ledger.caps, max_bytes=used)
    assert (await ledger.make_room()).folded == 100
    assert await ledger.find(ok[0].canary.canary_id) is None
    assert await ledger.find(lost[0].canary.canary_id) is not None
    ledger.caps = replace(ledger.caps, max_bytes=1)
    folded, given_up, _ = await settle_down(ledger)
    assert (folded, given_up) == (600, 300)
    account = await ledger.account("logs")
    assert (account.balanced, account.sent) == (True, 700)
    assert account.by_outcome[Outcome.UNKNOWN] == 300
    assert (await ledger.transitions("logs"))[Outcome.PENDING, Outcome.UNKNOWN] == 300
    assert ledger.given_up_total == 300
    # Judged after all by whoever still knows of them: nothing is counted twice.
    await ledger.settle([replace(row, outcome=Outcome.OK, reason=Reason.OK) for row in pending])
    assert (await ledger.account("logs")) == account
    # What is to be looked for again later is still known.
    waiting = await ledger.rechecks.waiting("logs", 99)
    assert [item.canary.canary_id for item in waiting] == [row.canary.canary_id for row in ok[:50]]
    stores.close()


async def test_mode_07_a_given_up_canary_says_why_until_it_is_folded(tmp_path):
    clock = VirtualClock()
    stores = opened(sqlite_folder(tmp_path), clock, max_bytes=1 << 30, batch=1)
    ledger = stores.ledger
    rows = await fill(ledger, clock, 2)
    ledger.caps = replace(ledger.caps, max_bytes=1)
    assert (await ledger.make_room()).given_up == 1
    kept = await ledger.find(rows[0].canary.canary_id)
    assert (kept.outcome, kept.reason) == (Outcome.UNKNOWN, Reason.LEDGER_FULL)
    assert kept.judged == instant(clock)
    assert (await ledger.find(rows[1].canary.canary_id)).outcome is Outcome.PENDING
    stores.close()


async def test_mode_07_a_full_ledger_takes_no_canary_and_what_is_under_way_is_judged(tmp_path):
    """Nothing is sent: `skipped(store)`; receipts and outcomes are still written."""
    clock = VirtualClock()
    stores = opened(sqlite_folder(tmp_path), clock)
    ledger = stores.ledger
    rows = await fill(ledger, clock, 50)
    ledger.caps = replace(ledger.caps, max_bytes=(await ledger.room()).used_bytes)
    epoch = (await ledger.begin()).number
    one = pending_row(INSTANCE, CanaryKey("logs", epoch, 1), clock)
    with pytest.raises(StoreError, match="ledger full"):
        await ledger.open(one)
    await ledger.settle([replace(row, outcome=Outcome.OK, reason=Reason.OK) for row in rows])
    assert (await ledger.account("logs")).sent == 50
    while not (await ledger.make_room()).done:
        pass
    await ledger.open(one)
    account = await ledger.account("logs")
    assert (account.sent, account.balanced) == (51, True)
    stores.close()


def only_pages(connection, items):
    """A step of the writer: the disk has room for so many more pages."""
    (more,) = items
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")
    return [None]


async def test_mode_07_a_full_disk_is_an_error_for_each_and_pruning_makes_room(tmp_path):
    """Refused canaries are no rows; what is judged meanwhile is raised, and written later."""
    clock = VirtualClock()
    stores = opened(sqlite_folder(tmp_path), clock, days=1)
    ledger = stores.ledger
    await seen(ledger, clock, 400)
    clock.move(2 * 86400)
    await ledger._write(only_pages, 3)
    epoch, taken = (await ledger.begin()).number, 0
    rows = [pending_row(INSTANCE, CanaryKey("logs", epoch, seq), clock) for seq in range(1, 999)]
    told = ""
    while not told:
        try:
            await ledger.open(rows[taken])
            taken += 1
        except StoreError as exc:
            told = str(exc)
    assert "full" in told
    account = await ledger.account("logs")
    assert (account.sent, account.balanced) == (400 + taken, True)
    assert (await settle_down(ledger))[0] == 400
    await ledger.open(rows[taken])
    account = await ledger.account("logs")
    assert (account.sent, account.balanced) == (401 + taken, True)
    stores.close()


async def test_the_file_shrinks_when_rows_go(tmp_path):
    clock, folder = VirtualClock(), sqlite_folder(tmp_path)
    stores = opened(folder, clock, days=1)
    await seen(stores.ledger, clock, 3000)
    clock.move(2 * 86400)
    await settle_down(stores.ledger)
    stores.close()
    assert (folder / "ledger.db").stat().st_size < 400_000


async def test_rechecks_of_what_was_folded_go_on(tmp_path):
    clock = VirtualClock()
    stores = opened(sqlite_folder(tmp_path), clock, days=0.1)
    rows = await seen(stores.ledger, clock, 3)
    await stores.ledger.rechecks.plan(planned(rows))
    clock.move(86400)
    assert (await settle_down(stores.ledger))[0] == 3
    (first, *_) = await stores.ledger.rechecks.waiting("logs", 9)
    await stores.ledger.rechecks.settle([replace(first, state=RecheckState.PENDING)], [])
    account = (await stores.ledger.rechecks.accounts("logs"))["1h"]
    assert (account.due, account.planned, account.balanced) == (1, 2, True)
    assert first.due < clock.utc() - timedelta(hours=12)
    stores.close()
