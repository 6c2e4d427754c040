"""What only Thanos does: partial answers, replicas, chosen stores, tenants by a header of its own."""

import time

import pytest

from core.reason import Reason
from selfcheck.backends.promql import CACHED
from selfcheck.canary.model import Sent, Signal
from tests.contracts.backends.case import Case
from tests.fakes.thanos import FakeThanos
from tests.selfcheck.backends.series import (
    SECOND_NS,
    fresh_route,
    held_canary,
    held_question,
    scraped,
)
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts

TENANT = "team-a"


@pytest.fixture
async def thanos():
    async with FakeThanos(enforce_tenancy=True) as running:
        yield running


@pytest.fixture
async def case(thanos, tmp_path):
    async with real_parts(tmp_path) as parts:
        options = {"url": thanos.query_url, "write_url": thanos.receive_url, "tenant": TENANT}
        yield Case("thanos", "fake", parts, options, lambda _, service: service)


async def readings(backend, canary):
    """One reading by every path, those that are only watched among them."""
    question = question_of(canary)
    return [await backend.read(question, path, 5.0) for path in backend.declaration.paths]


@pytest.mark.parametrize("told", [True, False])
async def test_mode_10_a_store_that_does_not_answer_makes_no_complete_read(case, thanos, told):
    canary = canary_of(Signal.METRICS, route=fresh_route())
    await case.write(canary)
    thanos.down, thanos.always_partial = {"r1"}, not told
    for reading in await readings(case.backend(), canary):
        assert (reading.complete, reading.reason) == (False, Reason.READBACK)
        assert ("HTTP 422" in reading.detail) == told
        assert ("warnings" in reading.detail) != told
    newest = await case.backend().newest('{job="coalmine-canary"}', 60.0, 5.0)
    links = await case.backend().trace_ids(canary, 5.0)
    assert (newest.complete, links.complete) == (False, False)
    assert all("partial_response=false" in seen.path for seen in thanos.asked)


async def test_the_stores_that_are_asked_can_be_chosen(case, thanos):
    canary = canary_of(Signal.METRICS, route=fresh_route())
    await case.write(canary)
    thanos.down = {"r1"}
    for reading in await readings(case.backend(store_match=['{receive="r0"}']), canary):
        assert reading.complete, reading.detail
        assert [s.canary_id for s in reading.sightings] == [canary.canary_id]
    for reading in await readings(case.backend(store_match=['{receive="r1"}']), canary):
        assert not reading.complete


@pytest.mark.parametrize("dedup", [True, False])
async def test_replicas_of_one_sample_are_no_doubles(case, dedup):
    canary = canary_of(Signal.METRICS, route=fresh_route())
    await case.write(canary)
    backend = case.backend(dedup=dedup)
    for path in backend.declaration.paths_for(Signal.METRICS):
        (sighting,) = (await backend.read(question_of(canary), path, 5.0)).sightings
        assert sighting.copies is None


@pytest.mark.parametrize("dedup", [True, False])
async def test_a_sample_that_one_replica_lost_is_still_stored(case, thanos, dedup):
    canary = canary_of(Signal.METRICS, route=fresh_route())
    thanos.hidden = {"r0"}
    await case.write(canary)
    for reading in await readings(case.backend(dedup=dedup), canary):
        assert [s.canary_id for s in reading.sightings] == [canary.canary_id]


async def test_a_sample_that_every_replica_lost_is_absent_in_complete_reads(case, thanos):
    route, now = fresh_route(), time.time_ns()
    known = canary_of(Signal.METRICS, 1, route, now - SECOND_NS)
    await case.write(known)
    thanos.hidden = {"r0", "r1"}
    lost = canary_of(Signal.METRICS, 2, route, now)
    (receipt,) = await case.write(lost)
    assert receipt.sent is Sent.ACCEPTED
    for reading in await readings(case.backend(), lost):
        assert (reading.complete, reading.sightings) == (True, ())


async def test_row_04_another_tenant_sees_nothing_and_no_error(case):
    canary = canary_of(Signal.METRICS, route=fresh_route())
    await case.write(canary)
    for reading in await readings(case.backend(tenant="team-b"), canary):
        assert (reading.complete, reading.sightings) == (True, ())
    for reading in await readings(case.backend(), canary):
        assert [s.canary_id for s in reading.sightings] == [canary.canary_id]


async def test_the_tenant_goes_into_the_header_that_thanos_knows(case, thanos):
    await case.backend().read(question_of(canary_of(Signal.METRICS)), CACHED, 5.0)
    (seen,) = thanos.asked
    assert seen.headers["thanos-tenant"] == TENANT
    assert "x-scope-orgid" not in seen.headers
    assert case.rule().headers == (("THANOS-TENANT", TENANT),)


async def test_mode_13_an_old_answer_of_the_frontend_is_seen_on_the_cached_path_alone(case, thanos):
    thanos.caching = True
    backend, route, now = case.backend(), fresh_route(), time.time_ns()
    known = canary_of(Signal.METRICS, 1, route, now - SECOND_NS)
    late = canary_of(Signal.METRICS, 2, route, now)
    await case.write(known)
    for canary in (known, late):
        assert (await backend.read(question_of(canary), CACHED, 5.0)).complete
    await case.write(late)
    for path in backend.declaration.paths_for(Signal.METRICS):
        assert (await backend.read(question_of(late), path, 5.0)).sightings
    stale = await backend.read(question_of(late), CACHED, 5.0)
    assert (stale.complete, stale.sightings) == (True, ())


@pytest.mark.parametrize("offset_s", [0, 1, 29, 59])
async def test_mode_14_times_that_are_cut_to_minutes_hide_nothing(case, thanos, offset_s):
    thanos.align_s = 60
    minute = time.time_ns() // (60 * SECOND_NS) * 60 - 120
    stamp_ns = (minute + offset_s) * SECOND_NS
    one = canary_of(Signal.METRICS, 1, fresh_route(), stamp_ns)
    never = canary_of(Signal.METRICS, 2, one.key.route, stamp_ns + SECOND_NS)
    await case.write(one)
    backend = case.backend()
    for path in backend.declaration.paths_for(Signal.METRICS):
        reading = await backend.read(question_of(one, never), path, 5.0)
        assert [s.canary_id for s in reading.sightings] == [one.canary_id], path.name


async def test_row_18_refusals_of_receive_are_told_apart(case, thanos):
    route, now = fresh_route(), time.time_ns()
    newer = canary_of(Signal.METRICS, 2, route, now)
    older = canary_of(Signal.METRICS, 1, route, now - SECOND_NS)
    await case.write(newer)
    (receipt,) = await case.write(older)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
    assert "409" in receipt.detail
    thanos.limited = True
    (receipt,) = await case.write(older)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.THROTTLED)
    thanos.limited, thanos.quorum = False, False
    (receipt,) = await case.write(older)
    assert (receipt.sent, receipt.tries) == (Sent.REJECTED, 3)
    assert "503" in receipt.detail


async def test_an_interval_that_is_too_long_to_be_read_is_a_read_error_and_no_absence(case):
    route = fresh_route()
    here, gone = held_canary(route, 1), held_canary(route, 2, age_s=20 * 86400)
    await case.write(scraped(here, 1500))
    backend = case.backend()
    reading = await backend.read(held_question(gone), backend.declaration.paths[0], 10.0)
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)
    assert "pages" in reading.detail


def test_a_query_without_a_receive_is_not_written_to(case):
    assert type(case.backend()).write_rules(case.model(write_url="")) == {}


async def test_the_fake_refuses_what_the_real_one_refuses(case, thanos):
    """Bad queries, paths and parameters: else nothing proven against it would count."""
    backend = case.backend()
    for path, status in {
        "/api/v1/query?query=%7Bx%3D%7D&time=1": 400,
        "/api/v1/query?query=rate(x)&time=1": 400,
        "/api/v1/query?query=%7Bx%3D%22y%22%7D&time=1&partial_response=maybe": 400,
        "/api/v1/query_range?query=%7Bx%3D%22y%22%7D&start=0&end=20000&step=1": 400,
        "/api/v1/nothing": 404,
    }.items():
        answer = await backend.client.fetch(path, {}, 5.0)
        assert answer.status == status, path
