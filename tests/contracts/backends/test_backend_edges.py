"""Rows 9 to 15, 19, 20, 23 and 25 of the conformance list: time, caches, ranges, paths, series."""

import asyncio
import time

import pytest

from core.clock import SystemClock
from probes.protocol import RunContext
from selfcheck.backends.protocol import BACKENDS, Dedupe
from selfcheck.canary.backoff import ReadBackoff
from selfcheck.canary.compare import same_record
from selfcheck.canary.cycle import RouteCycle
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import Epoch
from selfcheck.canary.looks import question_of as route_question
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import Outcome, Receipt, Sent, Signal
from selfcheck.canary.route import RouteSpec
from tests.contracts.backends.asking import (
    SECOND_NS,
    fresh_route,
    pairs,
    stamped,
    until_seen,
    watched,
)
from tests.fakes.front import aligned, bypasses, forward
from tests.support.canaries import INSTANCE, SERVICE, canary_of, question_of

SHORT = {
    "first_read_after": 0.2,
    "poll_first": 0.2,
    "poll_max": 0.5,
    "reads_per_minute": 600.0,
    "deadline_floor": 1.0,
    "deadline_margin": 3.0,
    "deadline_cold": 6.0,
    "confirm_after": 0.5,
}
LATE_S = 2.0


class LateInjector:
    """Says that it has sent, and writes `LATE_S` later: a collector that batches."""

    # Whoever takes them here is in our own process.
    skew_s = None

    def __init__(self, case):
        self.case, self.tasks = case, set()

    async def send(self, canary, _deadline_s):
        task = asyncio.create_task(self.write(canary))
        self.tasks.add(task)
        return Receipt(Sent.ACCEPTED, "ok", "", 1, Sent.ACCEPTED, 0.0, 100, silent=False)

    async def write(self, canary):
        await self.case.parts.clock.sleep(LATE_S)
        (receipt,) = await self.case.write(canary)
        assert receipt.sent is Sent.ACCEPTED, receipt.detail


def route_over(case, signal, injector):
    """A route that writes by `injector` and reads the case's store, with short times."""
    clock, backend = SystemClock(), case.backend()
    floor_s = backend.declaration.paths_for(signal)[0].floor_s
    rules = JudgingRules(**SHORT, deadline_ceiling=max(900.0, 2 * floor_s))
    name = fresh_route()
    spec = RouteSpec(
        name=name, signal=signal, every_s=5.0, group="tests", hops=("send", "store", "read"),
        backend="store", expect_drop=None, service_name=SERVICE, sent_under="tests",
        target_s=None, stamped=stamped(case, signal),
    )  # fmt: skip
    rng = case.parts.rng
    return RouteCycle(
        spec, injector, backend, MemoryLedger(INSTANCE, clock), clock, rng,
        Epoch(INSTANCE, time.time_ns() // SECOND_NS), lambda _: None, rules, 1,
        ReadBackoff(rules, rng),
    )  # fmt: skip


@pytest.mark.timeout(150)
async def test_row_09_what_becomes_visible_late_is_no_loss_and_the_delay_is_learned(case):
    signals = sorted(case.backend().declaration.signals)
    await asyncio.gather(*(learns_the_delay(case, signal) for signal in signals))


async def learns_the_delay(case, signal):
    injector = LateInjector(case)
    cycle = route_over(case, signal, injector)
    for _ in range(3):
        await cycle.inject(RunContext(check="r", deadline_s=5.0, traceparent=""))
        await cycle.read()
        await asyncio.sleep(1.0)  # samples of one series need a second each
    async with asyncio.timeout(60):
        while cycle.status().pending:
            await asyncio.sleep(min(0.5, await cycle.read()))
    await asyncio.gather(*injector.tasks)
    assert [row.outcome for row in cycle.rows()] == [Outcome.OK] * 3, cycle.rows()
    assert cycle.status().delay_p50_s >= LATE_S
    assert cycle.status().account.balanced


async def test_row_10_a_cache_that_answers_of_old_hides_nothing_from_what_is_evidence(case):
    """Evidence is asked past every cache; only what is declared as cached may be answered by one."""
    for signal, path in pairs(case):
        canary = canary_of(signal, route=fresh_route())
        async with forward(case.model().url, caching=True) as front:
            backend = case.backend(url=front.url)
            before = await backend.read(question_of(canary), path, 5.0)
            assert (before.complete, before.sightings) == (True, ()), before.detail
            await case.write(canary)
            await until_seen(backend, path, canary)
            assert all(bypasses(head) for head in front.heads)
    for signal, path in watched(case):
        canary = canary_of(signal, route=fresh_route())
        await case.write(canary)
        async with forward(case.model().url, caching=True) as front:
            backend = case.backend(url=front.url)
            await until_seen(backend, path, canary, within_s=path.floor_s + 10)
            asked = [bypasses(head) for head in front.heads]
            # What is only looked up on the way may go past a cache, the answer itself may not.
            assert all(asked) is not path.cached


async def test_row_11_a_frontend_that_aligns_ranges_to_a_minute_hides_no_canary(case):
    for signal, path in pairs(case):
        route = fresh_route()
        canary = canary_of(signal, route=route)
        await case.write(canary)
        async with forward(case.model().url, aligned) as front:
            backend = case.backend(url=front.url)
            async with asyncio.timeout(path.floor_s + 10):
                while True:
                    asked = route_question(signal, [canary], time.time_ns(), stamped=True)
                    reading = await backend.read(asked, path, 5.0)
                    assert reading.complete, reading.detail
                    if reading.sightings:
                        break
            (sighting,) = reading.sightings
            assert same_record(canary, sighting, backend.declaration.precision_ns)


async def test_row_12_old_records_that_are_told_again_prove_no_new_canary(case):
    """After the last record, the canaries that were never written stay absent."""
    for signal, path in pairs(case):
        route, now = fresh_route(), time.time_ns()
        last = canary_of(signal, 1, route, now - 5 * SECOND_NS)
        await case.write(last)
        backend = case.backend()
        await until_seen(backend, path, last)
        never = [canary_of(signal, 1 + n, route, last.stamp_ns + n * SECOND_NS) for n in (1, 3, 5)]
        for _ in range(2):
            reading = await backend.read(question_of(last, *never), path, 5.0)
            assert reading.complete, reading.detail
            assert {s.canary_id for s in reading.sightings} == {last.canary_id}


async def test_row_13_the_first_and_the_last_of_a_range_are_missed_when_they_are_missing(case):
    for signal, path in pairs(case):
        route, start = fresh_route(), time.time_ns() - 20 * SECOND_NS
        asked = [canary_of(signal, n, route, start + n * SECOND_NS) for n in range(1, 8)]
        await case.write(*asked[1:-1])
        await until_seen(case.backend(), path, *asked[1:-1])
        reading = await case.backend().read(question_of(*asked), path, 5.0)
        assert reading.complete, reading.detail
        assert {s.canary_id for s in reading.sightings} == {c.canary_id for c in asked[1:-1]}
        await case.write(asked[-1])
        await until_seen(case.backend(), path, *asked[1:])


async def test_row_14_each_path_asks_the_store_in_a_way_of_its_own(case):
    """Two paths that send one query would fail and work together: neither confirms the other."""
    for signal in sorted(case.backend().declaration.signals):
        canary = canary_of(signal, route=fresh_route())
        await case.write(canary)
        asked = {}
        for path in case.backend().declaration.paths_for(signal):
            async with forward(case.model().url) as front:
                await until_seen(case.backend(url=front.url), path, canary)
                asked[path.name] = frozenset(front.asked)
        # One may take a step more than the other, as a listing that then opens what it lists.
        assert len(set(asked.values())) == len(asked), asked


async def test_row_14_a_path_that_is_only_watched_shows_what_is_there_and_nothing_else(case):
    for signal, path in watched(case):
        declaration = case.backend().declaration
        route, now = fresh_route(), time.time_ns()
        one = canary_of(signal, 1, route, now - 2 * SECOND_NS)
        never = canary_of(signal, 2, route, now)
        await case.write(one)
        backend = case.backend()
        reading = await until_seen(backend, path, one, within_s=path.floor_s + 10)
        (sighting,) = reading.sightings
        if path.counts_only:
            assert (sighting.stamp_ns, sighting.body) == (None, None)
            assert sighting.copies in ({1} if declaration.dedupe is Dedupe.KEEPS else {1, None})
        else:
            assert same_record(one, sighting, declaration.precision_ns)
        absent = await backend.read(question_of(never), path, 5.0)
        assert (absent.complete, absent.sightings) == (True, ()), absent.detail


def test_row_15_no_backend_is_read_by_a_tail():
    """Polling alone is evidence: where a store has a tail, it is no access path."""
    for kind in BACKENDS.entries:
        names = [path.name for path in BACKENDS.load(kind).declaration.paths]
        assert not [name for name in names if "tail" in name or "stream" in name], kind


# Seconds by which a stamp is off: two clocks that disagree, and what is late or too old.
@pytest.mark.parametrize("off_s", [-60, 60])
async def test_row_20_a_clock_that_is_a_minute_off_loses_nothing(case, off_s):
    """One path at least shows it: a search may well end at the store's own now."""
    declaration = case.backend().declaration
    for signal in sorted(declaration.signals):
        if not stamped(case, signal):
            continue
        stamp_ns = time.time_ns() + off_s * SECOND_NS
        canary = canary_of(signal, 1, fresh_route(), stamp_ns, service=fresh_route())
        (receipt,) = await case.write(canary)
        assert receipt.sent is Sent.ACCEPTED, receipt.detail
        found = []
        async with asyncio.timeout(20):
            while not found:
                for path in declaration.paths_for(signal):
                    reading = await case.backend().read(question_of(canary), path, 5.0)
                    assert reading.complete, reading.detail
                    found += reading.sightings
        assert all(same_record(canary, one, declaration.precision_ns) for one in found)


async def test_row_23_many_canaries_of_a_route_are_one_series(case):
    """Whatever a store makes of the attributes of samples, it is the same for each of them."""
    if Signal.METRICS not in case.backend().declaration.signals:
        assert set(case.backend().declaration.signals) <= {Signal.LOGS, Signal.TRACES}
        return
    route, start = fresh_route(), time.time_ns() - 60 * SECOND_NS
    backlog = [canary_of(Signal.METRICS, n, route, start + n * SECOND_NS) for n in range(1, 51)]
    await case.write(*backlog)
    path = case.backend().declaration.paths_for(Signal.METRICS)[0]
    reading = await until_seen(case.backend(), path, *backlog)
    assert len({tuple(sorted(s.attributes.items())) for s in reading.sightings}) == 1


async def test_row_25_what_is_older_than_the_hot_window_is_asked_for_without_an_error(case):
    """A recheck of old canaries gets a complete answer; whether they are there is the store's."""
    said = case.backend().declaration
    age_s = (said.hot_window_s or 86400.0) + 3600.0
    assert said.hot_window_s is None or said.hot_window_s > 0
    for signal, path in pairs(case):
        old = canary_of(signal, 1, fresh_route(), time.time_ns() - int(age_s) * SECOND_NS)
        reading = await case.backend().read(question_of(old), path, 5.0)
        assert (reading.complete, reading.sightings) == (True, ()), reading.detail


def test_what_a_store_makes_impossible_is_told_with_its_reason():
    for kind in BACKENDS.entries:
        said = BACKENDS.load(kind).declaration
        for name, reason in said.impossible.items():
            assert name, kind
            assert len(reason) > 10, f"{kind}: {name}"
        if said.dedupe is not Dedupe.KEEPS:
            assert said.dedupe_note, kind
