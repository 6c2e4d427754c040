"""Rechecks on disk: they outlive the rows of their canaries, and are pruned into totals."""

import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from core.clock import instant
from core.reason import Reason
from core.verdict import Verdict
from scheduler.store import open_reader, open_stores
from scheduler.store.recheck_steps import KEPT_ROWS
from selfcheck.canary.backoff import ReadBackoff
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.recheck.cycle import RecheckRules, Rechecks
from selfcheck.canary.recheck.model import RecheckState
from tests.fakes.route import SPEC, RouteRig
from tests.support.clock import VirtualClock
from tests.support.rechecks import INSTANCE, done, planned, seen
from tests.support.stores import postgres_url, sqlite_folder

pytestmark = pytest.mark.slow


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request, tmp_path, clock):
    where = sqlite_folder(tmp_path) if request.param == "sqlite" else postgres_url()
    opened = open_stores(where, clock, instance=INSTANCE)
    yield opened
    opened.close()


async def test_a_recheck_outlives_its_canary_and_is_not_chosen_again(stores, clock):
    ledger, rechecks = stores.ledger, stores.ledger.rechecks
    rows = await seen(ledger, clock, 2)
    await rechecks.plan(planned(rows[:1]))
    assert await ledger.prune(clock.utc() + timedelta(days=1)) == 2
    assert await ledger.find(rows[0].canary.canary_id) is None
    (item,) = await rechecks.waiting("logs", 9)
    assert item.canary == rows[0].canary
    key = item.canary.key
    assert await rechecks.find(item.canary.canary_id, key.epoch, key.seq) == [item]
    assert await rechecks.find("cm-other", key.epoch, key.seq) == []


async def test_pruned_rechecks_stay_in_their_account_and_the_newest_stay_themselves(stores, clock):
    ledger, rechecks = stores.ledger, stores.ledger.rechecks
    rows = await seen(ledger, clock, KEPT_ROWS + 15)
    items = planned(rows)
    await rechecks.plan(items)
    for item in items[:-5]:
        clock.move(1)
        await rechecks.settle([done(item, RecheckState.OK, clock)], [])
    before = await rechecks.accounts("logs")
    clock.move(2 * 86400)
    assert await rechecks.prune() == 0, "their canaries are still in the ledger"
    await ledger.prune(clock.utc())
    assert [await rechecks.prune(7) for _ in range(3)] == [7, 3, 0]
    assert await rechecks.accounts("logs") == before
    assert before["1h"].balanced
    assert len(await rechecks.newest("logs", "1h", 999)) == KEPT_ROWS
    assert len(await rechecks.waiting("logs", 99)) == 5


async def test_what_a_removed_route_leaves_behind_ends_as_unknown(stores, clock):
    ledger, rechecks = stores.ledger, stores.ledger.rechecks
    rows = await seen(ledger, clock, 3)
    items = planned(rows)
    await rechecks.plan(items)
    await rechecks.settle([replace(items[0], state=RecheckState.PENDING, tries=1,
                                   reason=Reason.AUTH)], [])  # fmt: skip
    assert await rechecks.expire(()) == 0
    clock.move(4 * 3600)
    assert await rechecks.expire({"logs"}) == 0
    assert await rechecks.expire({"other"}) == 3
    account = (await rechecks.accounts("logs"))["1h"]
    assert (account.due, account.by_state[RecheckState.UNKNOWN]) == (3, 3)
    kept = [(await rechecks.of_canary(row.canary.key))[0].reason for row in rows]
    assert kept == [Reason.AUTH, Reason.STALE, Reason.STALE]


async def test_a_route_is_rechecked_from_disk_though_its_canaries_are_pruned(tmp_path):
    """Sent, seen, pruned; found again after an hour and a day, under the real ledger."""
    clock = VirtualClock()
    stores = open_stores(sqlite_folder(tmp_path), clock, instance="0a1b2c3d")
    epoch = await stores.ledger.begin()
    rig = RouteRig(clock=clock, ledger=stores.ledger, epoch=epoch)
    await rig.run(100)
    await rig.run(60, inject=False)
    told, judging, rng = [], JudgingRules(), random.Random(3)

    def made():
        return Rechecks(
            SPEC, rig.backend, stores.ledger.rechecks, clock, rng, judging,
            RecheckRules(60, 2.0, 3 * 86400.0), ReadBackoff(judging, rng), told.append, 7, 1,
        )  # fmt: skip

    rechecks = made()
    await rechecks.step()
    assert await stores.ledger.prune(clock.utc()) == 11
    for hours in (1.1, 24, 24):
        end = clock.monotonic() + hours * 3600
        while clock.monotonic() < end:
            clock.move(max(0.02, await rechecks.step()))
        rechecks = made()
    accounts = await stores.ledger.rechecks.accounts(SPEC.name)
    ok = {age: one.by_state[RecheckState.OK] for age, one in accounts.items()}
    assert ok == {"1h": 1, "24h": 1, "retention": 1, "7d": 0}
    assert {one.balanced for one in accounts.values()} == {True}
    assert {one.verdict for one in told} <= {Verdict.OK, Verdict.BLIND}
    stores.close()


SETTLE_LOOP = """
import asyncio, sys
from pathlib import Path
from core.clock import SystemClock, instant
from scheduler.store import open_stores
from selfcheck.canary.recheck.model import RecheckState
from selfcheck.canary.recheck.plan import following
from tests.support.rechecks import AGES, INSTANCE, PACE, done, planned, seen
from tests.support.clock import VirtualClock

async def main():
    clock = VirtualClock()
    stores = open_stores(Path(sys.argv[1]), clock, instance=INSTANCE)
    rechecks = stores.ledger.rechecks
    while True:
        items = planned(await seen(stores.ledger, clock, 5))
        await rechecks.plan(items)
        for item in items:
            over = done(item, RecheckState.OK, clock)
            await rechecks.settle([over], [following(over, AGES, PACE)])
            print(item.canary.canary_id, flush=True)
        await stores.ledger.prune(clock.utc(), 3)

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [37, 120])
async def test_after_kill_9_every_acknowledged_recheck_is_there_and_the_identity_holds(
    tmp_path, lines
):
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    child = subprocess.Popen(
        [sys.executable, "-c", SETTLE_LOOP, str(folder)], stdout=subprocess.PIPE, text=True
    )
    told = [child.stdout.readline().strip() for _ in range(lines)]
    os.kill(child.pid, signal.SIGKILL)
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    stores = open_stores(folder, clock)
    for name in told:
        _, _, epoch, seq, _ = name.split("-")
        kept = await stores.ledger.rechecks.find(name, int(epoch), int(seq))
        assert [(one.age, one.state) for one in kept] == [
            ("1h", RecheckState.OK), ("24h", RecheckState.PLANNED)
        ]  # fmt: skip
    accounts = await stores.ledger.rechecks.accounts("logs")
    assert {one.balanced for one in accounts.values()} == {True}
    assert accounts["1h"].due >= lines
    assert (await stores.ledger.account("logs")).balanced
    stores.close()


async def test_a_restart_finds_every_recheck(tmp_path, clock):
    folder = sqlite_folder(tmp_path)
    stores = open_stores(folder, clock, instance=INSTANCE)
    items = planned(await seen(stores.ledger, clock, 3))
    await stores.ledger.rechecks.plan(items)
    await stores.ledger.rechecks.settle(
        [replace(items[0], state=RecheckState.DEFERRED, empty_read=instant(clock))], []
    )
    before = await stores.ledger.rechecks.waiting("logs", 9)
    stores.close()
    clock.reboot("boot-2")
    reader = open_reader(folder, clock)
    assert await reader.ledger.rechecks.waiting("logs", 9) == before
    reader.close()
