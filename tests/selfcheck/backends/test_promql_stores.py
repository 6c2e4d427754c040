"""What holds for every store of PromQL: counts, exemplars, caches, and few series for ever."""

import asyncio
import dataclasses
import math
import struct
import time

import pytest

from core.reason import Reason
from selfcheck.backends.protocol import Dedupe
from selfcheck.canary.compare import difference
from selfcheck.canary.model import Sent, Signal
from tests.selfcheck.backends.series import (
    SECOND_NS,
    fresh_route,
    held_canary,
    held_question,
    scraped,
    until,
)
from tests.support.canaries import canary_of, question_of

# The value by which scrapers mark the end of a series (prometheus/prometheus, model/value).
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
MODE_39_CANARIES = 1000
SERIES_CAP = 5


def watched(backend, **wanted):
    """The paths that are watched for their own sake, of one sort."""
    paths = backend.declaration.judged_only(Signal.METRICS)
    return [p for p in paths if all(getattr(p, name) == is_ for name, is_ in wanted.items())]


async def test_an_aggregate_counts_what_is_stored_and_shows_no_stamp(promql_case):
    backend, route, now = promql_case.backend(), fresh_route(), time.time_ns()
    stored = canary_of(Signal.METRICS, 1, route, now - 3 * SECOND_NS)
    after = canary_of(Signal.METRICS, 2, route, now - 2 * SECOND_NS)
    await promql_case.write(stored)
    (path,) = watched(backend, counts_only=True)
    (sighting,) = (await until(backend, path, question_of(stored), 1)).sightings
    assert (sighting.canary_id, sighting.stamp_ns, sighting.value) == (stored.canary_id, None, None)
    beside = await backend.read(question_of(after), path, 5.0)
    assert (beside.complete, beside.sightings) == (True, ())
    await promql_case.write(after)
    both = (await until(backend, path, question_of(stored, after), 2)).sightings
    assert [s.canary_id for s in both] == [stored.canary_id, after.canary_id]


async def test_a_path_that_may_be_cached_shows_what_is_stored_and_nothing_else(promql_case):
    backend, route, now = promql_case.backend(), fresh_route(), time.time_ns()
    stored = [canary_of(Signal.METRICS, n, route, now - (50 - n) * SECOND_NS) for n in (1, 2)]
    never = [canary_of(Signal.METRICS, n, route, now - (50 - n) * SECOND_NS) for n in (3, 4, 48)]
    await promql_case.write(*stored)
    for path in watched(backend, cached=True):
        assert not path.evidence
        reading = await until(backend, path, question_of(*stored, *never), 2)
        assert {s.canary_id for s in reading.sightings} == {c.canary_id for c in stored}
        assert [s.stamp_ns for s in reading.sightings] == [c.stamp_ns for c in stored]


async def test_an_exemplar_leads_to_the_trace_of_its_canary_where_the_store_keeps_them(promql_case):
    backend, route, now = promql_case.backend(), fresh_route(), time.time_ns()
    one = canary_of(Signal.METRICS, 1, route, now - 2 * SECOND_NS)
    other = canary_of(Signal.METRICS, 2, route, now - SECOND_NS)
    await promql_case.write(one, other)
    path = backend.declaration.paths[0]
    await until(backend, path, question_of(one, other), 2)
    found = await backend.trace_ids(one, 5.0)
    assert (found.complete, found.reason) == (True, Reason.OK)
    keeps = "exemplar links" not in backend.declaration.impossible
    if keeps and promql_case.inject == "remote_write":
        assert found.found == (one.trace_id.hex(),)
    else:
        # Receivers of OTLP keep the exemplars of counters and histograms, not of gauges.
        assert found.found in {(), (one.trace_id.hex(),)}


async def test_links_that_cannot_be_read_are_told_as_such(promql_case):
    lost = promql_case.backend(url="http://127.0.0.1:1")
    found = await lost.trace_ids(canary_of(Signal.METRICS), 2.0)
    assert (found.complete, found.found, found.reason) == (False, (), Reason.READBACK)


async def test_mode_16_what_an_instant_query_goes_on_answering_is_no_new_canary(promql_case):
    backend, route, now = promql_case.backend(), fresh_route(), time.time_ns()
    stored = canary_of(Signal.METRICS, 1, route, now - 60 * SECOND_NS)
    after = [canary_of(Signal.METRICS, n, route, now - (60 - n) * SECOND_NS) for n in (2, 30, 55)]
    await promql_case.write(stored)
    for path in backend.declaration.paths:
        reading = await until(backend, path, question_of(stored, *after), 1)
        assert {s.canary_id for s in reading.sightings} == {stored.canary_id}
    query = {"query": f'{{coalmine_route="{route}"}}', "time": str(now // SECOND_NS)}
    answer = await backend.ask(backend.client.session(5.0), "query", query)
    assert len(answer["result"]) == 1


async def test_mode_17_the_first_and_the_last_of_a_backlog_are_found_or_missed_by_name(
    promql_case,
):
    backend, route = promql_case.backend(), fresh_route()
    now = time.time_ns()
    sent = [canary_of(Signal.METRICS, n, route, now - (400 - n) * SECOND_NS) for n in (1, 9, 399)]
    withheld = canary_of(Signal.METRICS, 400, route, now)
    await promql_case.write(*sent)
    for path in backend.declaration.paths_for(Signal.METRICS):
        reading = await until(backend, path, question_of(*sent, withheld), 3)
        assert {s.canary_id for s in reading.sightings} == {c.canary_id for c in sent}


async def test_mode_36_a_store_that_keeps_doubles_shows_them_and_another_never_says_none(
    promql_case,
):
    backend, route, now = promql_case.backend(), fresh_route(), time.time_ns()
    doubled = canary_of(Signal.METRICS, 1, route, now)
    await promql_case.write(doubled, doubled)
    keeps = backend.declaration.dedupe is Dedupe.KEEPS
    for path in backend.declaration.paths_for(Signal.METRICS):
        (sighting,) = (await until(backend, path, question_of(doubled), 1)).sightings
        assert sighting.copies == (2 if keeps else None)


async def test_the_mark_of_a_series_that_ended_is_no_sample_and_no_error(promql_case):
    backend, route = promql_case.backend(), fresh_route()
    there = held_canary(route, 1)
    ended = dataclasses.replace(scraped(there, 9500), value=STALE)
    infinite = dataclasses.replace(scraped(there, 12_500), value=math.inf)
    await promql_case.write(scraped(there, 1500), ended, infinite)
    for path in backend.declaration.paths_for(Signal.METRICS):
        (sighting,) = (await until(backend, path, held_question(there), 1)).sightings
        assert (sighting.canary_id, sighting.value) == (there.canary_id, there.value)


async def test_a_value_that_became_infinite_is_altered(promql_case):
    backend, route = promql_case.backend(), fresh_route()
    canary = canary_of(Signal.METRICS, 1, route)
    await promql_case.write(dataclasses.replace(canary, value=math.inf))
    for path in backend.declaration.paths_for(Signal.METRICS):
        (sighting,) = (await until(backend, path, question_of(canary), 1)).sightings
        assert difference(canary, [sighting]) == "value: sent 1, stored inf"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_mode_39_a_thousand_canaries_of_a_route_add_five_series_at_most(promql_case):
    backend, route = promql_case.backend(), fresh_route()
    start = time.time_ns() - (MODE_39_CANARIES + 60) * SECOND_NS
    sent = [
        canary_of(Signal.METRICS, n, route, start + n * SECOND_NS)
        for n in range(1, MODE_39_CANARIES + 1)
    ]
    before = await series_count(promql_case)
    receipts = await promql_case.write(*sent)
    assert {receipt.sent for receipt in receipts} == {Sent.ACCEPTED}
    for path in backend.declaration.paths_for(Signal.METRICS):
        reading = await until(backend, path, question_of(*sent), MODE_39_CANARIES)
        assert len(reading.sightings) == MODE_39_CANARIES
    async with asyncio.timeout(15):
        # Lists of series may come from a cache that learns of new ones a little later.
        while (added := await series_count(promql_case) - before) < 1:
            continue
    assert added <= SERIES_CAP


async def series_count(case) -> int:
    """Every series of the store that any canary, or its resource, has made."""
    backend = case.backend()
    now = int(time.time())
    query = {
        "match[]": (
            '{__name__=~".*coalmine.*|target_info|otel_scope_info"}',
            '{job=~".*canary.*"}',
        ),
        "start": str(now - 4000),
        "end": str(now + 10),
    }
    return len(await backend.ask(backend.client.session(10.0), "series", query))
