"""One contract for what keeps rechecks, over SQLite, PostgreSQL and memory."""

from dataclasses import replace

import pytest

from core.clock import instant
from core.errors import StoreError
from core.reason import Reason
from scheduler.store import open_stores
from selfcheck.canary.make import make_canary
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import Outcome, Signal
from selfcheck.canary.recheck.memory import MemoryRechecks
from selfcheck.canary.recheck.model import ACCOUNTED, RecheckState
from selfcheck.canary.recheck.plan import first_recheck, following
from tests.support.clock import VirtualClock
from tests.support.rechecks import AGES, INSTANCE, PACE, done, planned, seen
from tests.support.stores import postgres_url, sqlite_folder


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture(params=["sqlite", "postgres", "memory"])
def kept(request, tmp_path, clock):
    """A ledger of canaries and what keeps the rechecks of them."""
    if request.param == "memory":
        ledger = MemoryLedger(INSTANCE, clock)
        yield ledger, MemoryRechecks(ledger)
        return
    where = sqlite_folder(tmp_path) if request.param == "sqlite" else postgres_url()
    opened = open_stores(where, clock, instance=INSTANCE)
    yield opened.ledger, opened.ledger.rechecks
    opened.close()


@pytest.mark.parametrize("signal", list(Signal))
async def test_a_recheck_comes_back_as_it_was_kept(kept, clock, signal):
    ledger, rechecks = kept
    items = planned(await seen(ledger, clock, 2, signal=signal))
    await rechecks.plan(items)
    await rechecks.plan([replace(items[0], reason=Reason.LATE)])
    assert list(await rechecks.waiting("logs", 9)) == items
    after = replace(
        done(items[0], RecheckState.ALTERED, clock, Reason.ALTERED),
        missed_at="1h", empty_read=instant(clock), empty_path="search", diff="body: 'ä' …",
    )  # fmt: skip
    await rechecks.settle([after], [])
    assert list(await rechecks.of_canary(after.canary.key)) == [after]


async def test_an_unstamped_canary_is_made_again_with_its_value(kept, clock):
    ledger, rechecks = kept
    (row,) = await seen(ledger, clock, 1, signal=Signal.METRICS)
    key = row.canary.key
    canary = make_canary(
        INSTANCE, "all", replace(key, epoch=key.epoch + 1), 1, Signal.METRICS,
        row.canary.stamp_ns, "coalmine-canary", stamped=False,
    )  # fmt: skip
    item = first_recheck(replace(row, canary=canary), AGES, PACE)
    await rechecks.plan([item])
    assert (await rechecks.of_canary(canary.key))[0].canary == canary


async def test_candidates_are_the_seen_ones_in_order_that_have_no_recheck(kept, clock):
    ledger, rechecks = kept
    rows = await seen(ledger, clock, 9)
    lost = await seen(ledger, clock, 3, Outcome.LOST)
    keys = [row.canary.key for row in rows]

    async def found(after=None, one_in=4, one_block_in=1, limit=9):
        some = await rechecks.candidates("logs", after, one_in, one_block_in, limit)
        return [row.canary.key for row in some]

    # Another place of each four.
    assert await found() == [keys[0], keys[6], keys[8]]
    assert await found(after=keys[3]) == [keys[6], keys[8]]
    assert await found(limit=1) == keys[:1]
    assert await found(one_block_in=2) == [keys[0], keys[8]]
    await rechecks.plan(planned(rows[:1]))
    assert await found() == [keys[6], keys[8]]
    assert await found(after=lost[0].canary.key) == []
    assert await rechecks.floor("logs") == lost[0].canary.key
    assert await rechecks.floor("none") is None


async def test_the_account_balances_over_every_state_and_planned_ones_are_beside_it(kept, clock):
    ledger, rechecks = kept
    rows = await seen(ledger, clock, 10)
    items = planned(rows)
    await rechecks.plan(items)
    states = list(ACCOUNTED)
    for item, state in zip(items, states, strict=False):
        await rechecks.settle([replace(item, state=state)], [])
        account = (await rechecks.accounts("logs"))["1h"]
        assert account.balanced
    assert (account.due, account.planned) == (len(states), 10 - len(states))
    assert set(account.by_state) == set(ACCOUNTED)
    assert account.by_state[RecheckState.DEFERRED] == 1
    # What was deferred is read: nothing more has become due.
    deferred = items[states.index(RecheckState.DEFERRED)]
    await rechecks.settle([done(deferred, RecheckState.OK, clock)], [])
    account = (await rechecks.accounts("logs"))["1h"]
    assert (account.balanced, account.due) == (True, len(states))
    assert await rechecks.accounts("none") == {}


async def test_a_settled_recheck_is_never_rewritten_and_a_canary_never_touched(kept, clock):
    ledger, rechecks = kept
    rows = await seen(ledger, clock, 1)
    (item,) = planned(rows)
    await rechecks.plan([item])
    lost = done(item, RecheckState.LOST, clock, Reason.SILENT_LOSS)
    await rechecks.settle([lost], [following(lost, AGES, PACE)])
    with pytest.raises(StoreError, match="no such recheck waits"):
        await rechecks.settle([done(item, RecheckState.OK, clock)], [])
    with pytest.raises(StoreError, match="no such recheck waits"):
        await rechecks.settle([replace(item, age="7d")], [])
    assert await ledger.find(rows[0].canary.canary_id) == rows[0]
    ages = [(one.age, one.state) for one in await rechecks.of_canary(item.canary.key)]
    assert ages == [("1h", RecheckState.LOST), ("24h", RecheckState.PLANNED)]
    accounts = await rechecks.accounts("logs")
    assert (accounts["1h"].due, accounts["24h"].due, accounts["24h"].planned) == (1, 0, 1)


async def test_newest_are_those_that_applied_newest_first(kept, clock):
    ledger, rechecks = kept
    items = planned(await seen(ledger, clock, 5))
    await rechecks.plan(items)
    states = [RecheckState.OK, RecheckState.NOT_APPLICABLE, RecheckState.UNKNOWN, RecheckState.LOST]
    for item, state in zip(items, states, strict=False):
        clock.move(60)
        await rechecks.settle([done(item, state, clock)], [])
    found = [one.canary.key.seq for one in await rechecks.newest("logs", "1h", 2)]
    assert found == [4, 3]
    assert [one.canary.key.seq for one in await rechecks.newest("logs", "1h", 9)] == [4, 3, 1]
    assert list(await rechecks.newest("logs", "24h", 9)) == []


async def test_due_ones_come_before_planned_ones_each_by_their_time(kept, clock):
    ledger, rechecks = kept
    rows = []
    for _ in range(3):
        rows += await seen(ledger, clock, 1)
        clock.move(100)
    items = planned(rows)
    await rechecks.plan(items)
    await rechecks.settle([replace(items[2], state=RecheckState.PENDING)], [])
    keys = [one.key for one in await rechecks.waiting("logs", 1)]
    assert keys == [items[2].key, items[0].key]
