"""What only Zipkin shows: lenient ids, traces dated by one of their spans, its own 404."""

import asyncio
import dataclasses
import json
import time

import pytest

from core.reason import Reason
from selfcheck.backends.zipkin import BY_ID, SEARCH, ZipkinBackend, ZipkinOptions
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.model import Sent, Signal
from tests.contracts.backends.case import Ground
from tests.contracts.backends.cases.zipkin import CASES
from tests.fakes.loopback import Loopback, Reply
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts

ODD_IDS = ["0000a" + "1" * 27, "0" * 16 + "2" * 16, "3" * 16 + "0" * 16, "4" * 16 + "2" * 16]
LOOKED_FOR = "ab" * 16
SECOND_NS = 10**9


def span_of(trace_id, seq=1, route="", stamp_ns=None):
    """A canary on a trace id of one's own."""
    canary = canary_of(Signal.TRACES, seq, route or f"zipkin-{time.time_ns()}", stamp_ns)
    return dataclasses.replace(canary, trace_id=bytes.fromhex(trace_id))


async def until_seen(backend, path, canary):
    async with asyncio.timeout(10):
        while not (reading := await backend.read(question_of(canary), path, 5.0)).sightings:
            assert reading.complete, reading.detail
    return reading


@pytest.fixture
async def case(tmp_path, start_server):
    async with (
        real_parts(tmp_path) as parts,
        CASES["zipkin"].open(Ground(parts, tmp_path, start_server)) as opened,
    ):
        yield opened


@pytest.mark.stack
@pytest.mark.parametrize("trace_id", ODD_IDS)
async def test_row_22_trace_ids_with_zeros_are_found_and_belong_to_no_other_trace(case, trace_id):
    canary, backend = span_of(trace_id), case.backend()
    (receipt,) = await case.write(canary)
    assert receipt.sent is Sent.ACCEPTED, receipt.detail
    for path in (BY_ID, SEARCH):
        (sighting,) = (await until_seen(backend, path, canary)).sightings
        assert same_record(canary, sighting, 1000)
        assert difference(canary, [sighting]) == ""
        assert sighting.copies is None
    linked = await backend.canaries_in(trace_id, 5.0)
    assert canary.canary_id in linked.found
    unlike = await backend.canaries_in("5" * 16 + trace_id[16:], 5.0)
    assert (unlike.complete, unlike.found) == (True, ())


@pytest.mark.stack
async def test_mode_38_stamps_are_cut_to_whole_microseconds(case):
    now_ns = time.time_ns() // 1000 * 1000
    canary = span_of(f"{now_ns:032x}", stamp_ns=now_ns + 789)
    await case.write(canary)
    (sighting,) = (await until_seen(case.backend(), BY_ID, canary)).sightings
    assert sighting.stamp_ns == now_ns


@pytest.mark.stack
async def test_a_span_is_found_though_its_trace_is_dated_by_another_route_of_the_beat(case):
    every_s, now_ns = 300, time.time_ns()
    beat = now_ns // (every_s * SECOND_NS)
    shared = f"{now_ns:032x}"
    first = span_of(shared, stamp_ns=now_ns - 200 * SECOND_NS)
    second = dataclasses.replace(span_of(shared, 2, stamp_ns=now_ns), beat=beat)
    await case.write(first)
    await until_seen(case.backend(), BY_ID, first)
    await case.write(second)
    (sighting,) = (await until_seen(case.backend(), SEARCH, second)).sightings
    assert same_record(second, sighting, 1000)


@pytest.mark.stack
@pytest.mark.parametrize("route", ["this and that", "a=b", "Ümläut & more", "x y+z%20"])
async def test_routes_that_stress_the_query_are_found_by_search(case, route):
    route = f"{route} {time.time_ns()}"
    found, other = (span_of(f"{time.time_ns() + n:032x}", n, route) for n in (1, 2))
    await case.write(found)
    await until_seen(case.backend(), SEARCH, found)
    reading = await case.backend().read(question_of(found, other), SEARCH, 5.0)
    assert {sighting.canary_id for sighting in reading.sightings} == {found.canary_id}


@pytest.mark.stack
async def test_service_names_are_compared_as_zipkin_writes_them(case):
    service = f"Shop-{time.time_ns()}"
    canary = canary_of(Signal.TRACES, service=service)
    await case.write(dataclasses.replace(canary, trace_id=time.time_ns().to_bytes(16)))
    async with asyncio.timeout(10):
        while (newest := await case.backend().newest(service, 60.0, 5.0)).stamp_ns is None:
            assert newest.complete, newest.detail
    assert newest.stamp_ns == canary.stamp_ns // 1000 * 1000


async def read_from(answer, folder, path=BY_ID, canary=None, **options):
    async with real_parts(folder) as parts, Loopback(answer) as server:
        model = ZipkinOptions.model_validate({"url": server.base, **options})
        backend = ZipkinBackend.build(model, parts)
        asked = question_of(canary or span_of(LOOKED_FOR))
        return await backend.read(asked, path, 2.0), server.seen


async def test_row_02_a_404_in_zipkins_words_is_absent(tmp_path):
    said = f"{LOOKED_FOR} not found".encode()
    reading, _ = await read_from(lambda _: Reply(404, said), tmp_path)
    assert (reading.complete, reading.sightings) == (True, ())


@pytest.mark.parametrize(
    "said", ["", "404 Not Found", "not found", "<html>", f"{'cd' * 16} not found", "x not found"]
)
async def test_a_404_of_anybody_else_is_a_read_error(said, tmp_path):
    reading, _ = await read_from(lambda _: Reply(404, said.encode()), tmp_path)
    assert not reading.complete
    assert reading.reason in {Reason.READBACK, Reason.BACKEND_PROTOCOL}


async def test_a_404_of_a_search_is_a_read_error(tmp_path):
    said = f"{LOOKED_FOR} not found".encode()
    reading, _ = await read_from(lambda _: Reply(404, said), tmp_path, SEARCH)
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)


def one_span(trace_id, canary):
    return {"traceId": trace_id, "timestamp": 1, "tags": {"canary.id": canary.canary_id}}


@pytest.mark.parametrize(("trace_id", "shown"), [(LOOKED_FOR, 1), ("0" * 16 + LOOKED_FOR[16:], 0)])
async def test_row_22_a_lenient_server_that_shows_another_trace_shows_nothing(
    trace_id, shown, tmp_path
):
    # STRICT_TRACE_ID=false compares the last 16 digits only.
    canary = span_of(LOOKED_FOR)
    said = json.dumps([one_span(trace_id, canary)]).encode()
    reading, _ = await read_from(lambda _: Reply(200, said), tmp_path, canary=canary)
    assert (reading.complete, len(reading.sightings)) == (True, shown)


async def test_row_06_a_full_page_that_cannot_be_narrowed_is_a_read_error(tmp_path):
    canary = span_of(LOOKED_FOR)
    said = json.dumps([[one_span(f"{n:032x}", canary)] for n in (1, 2)]).encode()
    reading, seen = await read_from(lambda _: Reply(200, said), tmp_path, SEARCH, row_limit=2)
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)
    assert len(seen) <= 100


async def test_a_page_with_a_trace_without_spans_is_a_read_error(tmp_path):
    reading, _ = await read_from(lambda _: Reply(200, b"[[]]"), tmp_path, SEARCH)
    assert (reading.complete, reading.reason) == (False, Reason.BACKEND_PROTOCOL)
