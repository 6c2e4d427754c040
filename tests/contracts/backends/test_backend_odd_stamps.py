"""Rows 19 and 20 of the conformance list to their end: an odd stamp is judged, not only answered.

A route whose clock is off sends by the case's injector and reads the case's store. What the store
refuses is `rejected` in its words, what it shows is `ok`, and what it takes and never shows is
`lost` by two complete reads: there is no fourth end.
"""

import asyncio
import itertools
import re
import time
from datetime import datetime, timedelta

import pytest

from core.clock import SystemClock
from core.outbound.protocol import Request, Response
from core.reason import Reason
from probes.protocol import RunContext
from selfcheck.canary.backoff import ReadBackoff
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.cycle import RouteCycle
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import Epoch
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import LedgerRow, Outcome, Sent
from selfcheck.canary.route import RouteSpec
from tests.contracts.backends.asking import fresh_route, pairs, stamped
from tests.support.canaries import INSTANCE, SERVICE, question_of

pytestmark = pytest.mark.timeout(150)

SHORT = {
    "first_read_after": 0.2,
    "poll_first": 0.2,
    "poll_max": 0.5,
    "poll_late_max": 1.0,
    "reads_per_minute": 600.0,
    "deadline_floor": 1.0,
    "deadline_margin": 3.0,
    "deadline_cold": 6.0,
    "confirm_after": 0.5,
}
DAY_S = 86400
# Beyond every window that a store may keep, behind the newest of the series, and far ahead.
OFF_S = (-30 * DAY_S, -900, -30, 900)
_EPOCHS = itertools.count(time.time_ns() // 10**9)


class OffClock(SystemClock):
    """The machine's clocks, the wall clock set wrong by `off_s`."""

    off_s = 0.0

    def utc(self) -> datetime:
        """What a machine with a wrong clock believes."""
        return super().utc() + timedelta(seconds=self.off_s)


def route_of(case, signal, clock) -> RouteCycle:
    """A route that writes and reads the case's store; its epoch gives it trace ids of its own."""
    backend, rng = case.backend(), case.parts.rng
    floor_s = max(path.floor_s for path in backend.declaration.paths_for(signal))
    rules = JudgingRules(**SHORT, deadline_ceiling=max(900.0, 2 * floor_s))
    spec = RouteSpec(
        name=fresh_route(), signal=signal, every_s=5.0, group="tests", hops=("send", "store", "read"),
        backend="store", expect_drop=None, service_name=SERVICE, sent_under="tests", target_s=None,
    )  # fmt: skip
    return RouteCycle(
        spec, Writing(case), backend, MemoryLedger(INSTANCE, clock), clock, rng,
        Epoch(INSTANCE, next(_EPOCHS)), lambda _: None, rules, 1, ReadBackoff(rules, rng),
    )  # fmt: skip


class Writing:
    """Sends by the case's injector and lets the store show what it would only show later."""

    # Whoever takes them here is in our own process.
    skew_s = None

    def __init__(self, case) -> None:
        self.case = case

    async def send(self, canary, _deadline_s):
        """The receipt of the real receiver."""
        (receipt,) = await self.case.write(canary)
        return receipt


async def judged(cycle: RouteCycle) -> LedgerRow:
    """The newest canary once it has an outcome."""
    async with asyncio.timeout(100):
        while cycle.rows()[-1].outcome is Outcome.PENDING:
            await asyncio.sleep(min(0.5, await cycle.read()))
    return cycle.rows()[-1]


async def sent_off(cycle: RouteCycle, clock: OffClock, off_s: float) -> LedgerRow:
    """What became of a canary that was sent by a clock so far off."""
    clock.off_s = off_s
    await cycle.inject(RunContext(check="r", deadline_s=5.0, traceparent=""))
    return await judged(cycle)


async def corrected(cycle: RouteCycle, row: LedgerRow) -> Outcome:
    """What a refused canary becomes that is in the store all the same."""
    async with asyncio.timeout(30):
        while (now := cycle.rows()[-1]).outcome is Outcome.REJECTED:
            await asyncio.sleep(min(0.5, await cycle.read()))
    assert now.canary.key == row.canary.key
    return now.outcome


async def shown(case, row: LedgerRow) -> set[str]:
    """The access paths that show it now, unaltered; each of them answers completely."""
    found, declaration = set(), case.backend().declaration
    for path in declaration.paths_for(row.canary.signal):
        reading = await case.backend().read(question_of(row.canary), path, 5.0)
        assert reading.complete, reading.detail
        for sighting in reading.sightings:
            assert same_record(row.canary, sighting, declaration.precision_ns)
            assert difference(row.canary, [sighting]) == ""
            found.add(path.name)
    return found


async def ends_somewhere(case, signal, off_s: float) -> None:
    """A canary of now, and then one that is stamped so far off: nothing else may become of it."""
    clock = OffClock()
    cycle = route_of(case, signal, clock)
    first = await sent_off(cycle, clock, 0)
    assert first.outcome is Outcome.OK, first
    row = await sent_off(cycle, clock, off_s)
    assert first.first_path in await shown(case, first), "what was there before is gone"
    assert row.receipt is not None
    if row.receipt.sent is Sent.REJECTED:
        assert row.outcome is Outcome.REJECTED
        assert row.receipt.detail
        if await shown(case, row):
            # Refused for what came with it (Cortex, an exemplar out of order), and yet stored.
            assert await corrected(cycle, row) in {Outcome.OK, Outcome.LATE}
        return
    assert row.receipt.sent is Sent.ACCEPTED, row.receipt
    if row.outcome is Outcome.OK:
        assert row.first_path in await shown(case, row)
        return
    assert (row.outcome, row.reason) == (Outcome.LOST, Reason.SILENT_LOSS), row
    past = [look for look in row.looks if look.complete and look.at_s >= row.deadline_s]
    paths = case.backend().declaration.paths_for(signal)
    assert {look.path for look in past} == {path.name for path in paths[:2]}
    assert await shown(case, row) == set()


async def test_rows_19_and_20_an_odd_stamp_ends_as_rejected_ok_or_lost(case):
    """Side by side, as most of it is waiting for a store that shows late."""
    async with asyncio.TaskGroup() as group:
        for signal in sorted({signal for signal, _ in pairs(case) if stamped(case, signal)}):
            for off_s in OFF_S:
                group.create_task(ends_somewhere(case, signal, off_s))


async def ignored(case, reason: str) -> int:
    """Samples that VictoriaMetrics says it has thrown away for this reason."""
    answer = await case.parts.outbound.fetch(Request("GET", f"{case.model().url}/metrics", 5.0))
    assert isinstance(answer, Response)
    wanted = re.compile(rf'vm_rows_ignored_total{{reason="{reason}"}} (\d+)'.encode())
    found = wanted.search(answer.body)
    assert found, f"no counter for {reason}"
    return int(found[1])


async def is_ignored(case, off_s: float, reason: str) -> None:
    (signal,) = case.backend().declaration.signals
    clock, before = OffClock(), await ignored(case, reason)
    cycle = route_of(case, signal, clock)
    assert (await sent_off(cycle, clock, 0)).outcome is Outcome.OK
    row = await sent_off(cycle, clock, off_s)
    assert row.receipt is not None
    assert row.receipt.sent is Sent.ACCEPTED
    assert (row.outcome, row.reason) == (Outcome.LOST, Reason.SILENT_LOSS)
    assert await ignored(case, reason) == before + 1


@pytest.mark.stack
@pytest.mark.parametrize("name", ["victoriametrics-otlp", "victoriametrics-remote-write"])
async def test_row_19_a_sample_that_is_dropped_without_a_word_ends_as_lost_and_its_counter_moved(
    opened, name
):
    """Accepted, never stored, and the store's own counter is the only other trace of it."""
    async with opened(name) as case, asyncio.TaskGroup() as group:
        group.create_task(is_ignored(case, -30 * DAY_S, "small_timestamp"))
        group.create_task(is_ignored(case, 3 * DAY_S, "big_timestamp"))
