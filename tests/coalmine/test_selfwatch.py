"""Coalmine's watch over itself: what a proof asks for, and what ends the service."""

import pytest

from coalmine.wiring.selfwatch import SelfWatch, Signs
from core.errors import StoreBusyError, StoreTakenError
from core.verdict import Verdict
from scheduler.store.ledger_room import LedgerCaps, Room
from tests.support.clock import VirtualClock


class Stores:
    """Stores whose heartbeat raises `trouble`."""

    def __init__(self, trouble=None):
        self.trouble, self.ledger, self.samples = trouble, self, self
        self.kept = []

    async def beat(self):
        if self.trouble:
            raise self.trouble

    def holder(self):
        return "a row"

    caps = LedgerCaps(max_bytes=1000)
    used_bytes, given_up_total = 0, 0

    async def room(self):
        return Room(0, 0, self.used_bytes)

    def vital(self, vital):
        self.kept.append(vital)


class Watched:
    """A self-watch over signs that the test sets."""

    def __init__(self, trouble=None):
        self.clock, self.stores = VirtualClock(), Stores(trouble)
        self.beats, self.newest, self.limit_s = 1, None, 120.0
        self.tick, self.dead, self.told = self.clock.monotonic(), [], []
        signs = Signs(
            beats=lambda: self.beats,
            paging_tick=lambda: self.tick,
            newest_result=lambda: self.newest,
            result_limit_s=lambda: self.limit_s,
            export=lambda: None,
            troubles=lambda: (),
            die=lambda what, exc: self.dead.append((what, exc)),
        )
        self.watch = SelfWatch(self.clock, self.stores, signs, self.told.append)


async def test_a_proof_is_whole_only_with_a_result_of_late():
    watched = Watched()
    assert (await watched.watch.proof()).missing == ("no probe or canary has had a result lately",)
    watched.newest = watched.clock.monotonic()
    assert (await watched.watch.proof()).missing == ()
    for limit_s, missing in ((120.0, 1), (3700.0, 0)):
        watched.limit_s = limit_s
        watched.clock.move(200.0)
        watched.beats, watched.tick = watched.beats + 1, watched.clock.monotonic()
        watched.watch.vitals()
        await watched.watch.step()
        assert len((await watched.watch.proof()).missing) == missing
        watched.newest = watched.clock.monotonic() - 200.0


@pytest.mark.parametrize("part", ["scheduler", "paging"])
async def test_a_loop_that_stands_still_spoils_the_proof(part):
    watched = Watched()
    watched.newest = watched.clock.monotonic()
    watched.watch.vitals()
    watched.clock.move(6.0)
    watched.newest = watched.clock.monotonic()
    if part == "paging":
        watched.beats += 1
    else:
        watched.tick = watched.clock.monotonic()
    assert (await watched.watch.proof()).missing == (f"{part}: no tick for 6s",)


async def test_a_store_taken_over_by_another_service_ends_this_one():
    taken = StoreTakenError("another service has taken over")
    watched = Watched(taken)
    await watched.watch.step()
    assert watched.dead == [("store", taken)]


async def test_a_busy_store_is_told_and_survived():
    watched = Watched(StoreBusyError("database is locked"))
    watched.clock.move(36.0)
    await watched.watch.step()
    vitals = {line.part: line for line in watched.watch.vitals()}
    assert vitals["database"].verdict is Verdict.FAIL
    assert "locked" in vitals["database"].detail
    assert watched.dead == []


async def test_a_full_ledger_and_canaries_given_up_are_told():
    watched = Watched()
    await watched.watch.step()

    def ledger():
        return next(line for line in watched.watch.vitals() if line.part == "ledger")

    assert ledger().verdict is Verdict.OK
    watched.stores.given_up_total = 3
    await watched.watch.step()
    assert (ledger().verdict, ledger().detail) == (
        Verdict.BLIND,
        "3 canaries under way were given up",
    )
    watched.stores.used_bytes = 1000
    await watched.watch.step()
    assert ledger().detail == "1000 of 1000 bytes are used"
    watched.stores.used_bytes = 10
    await watched.watch.step()
    assert ledger().verdict is Verdict.OK


async def test_a_ledger_that_was_not_weighed_for_long_is_not_called_ok():
    watched = Watched(StoreBusyError("database is locked"))
    watched.clock.move(36.0)
    await watched.watch.step()
    vitals = {line.part: line.verdict for line in watched.watch.vitals()}
    assert vitals["ledger"] is Verdict.FAIL
