"""What only Tempo shows: a cutoff, odd ids, parts of a trace, searches that leave jobs undone."""

import base64
import dataclasses
import json
import time

import pytest

from core.reason import Reason
from selfcheck.backends.tempo import AGGREGATE, BY_ID, SEARCH, TempoBackend, TempoOptions
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.model import Sent, Signal
from tests.contracts.backends.case import Case
from tests.fakes.loopback import Loopback, Reply
from tests.fakes.tempo import MAX_SPANS, FakeTempo
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts

PATHS = (BY_ID, SEARCH, AGGREGATE)
FLOOR_S = 31
SECOND_NS = 10**9
ODD_IDS = ["0000a" + "1" * 27, "0" * 16 + "2" * 16, "3" * 16 + "0" * 16, "4" * 16 + "2" * 16]


def span_of(trace_id="", seq=1, **more):
    canary = canary_of(Signal.TRACES, seq, **{"route": f"tempo-{time.time_ns()}", **more})
    return dataclasses.replace(canary, trace_id=bytes.fromhex(trace_id or f"{time.time_ns():032x}"))


@pytest.fixture
async def tempo():
    async with FakeTempo() as server:
        yield server


@pytest.fixture(params=["v1", "v2"])
async def case(request, tmp_path, tempo):
    async with real_parts(tmp_path) as parts:
        options = {"url": tempo.url, "write_url": tempo.url, "api": request.param}
        yield Case("tempo", "", parts, options, lambda _, s: s)


async def seen_ids(case, path, *canaries):
    reading = await case.backend().read(question_of(*canaries), path, 5.0)
    assert reading.complete, reading.detail
    return {sighting.canary_id for sighting in reading.sightings}


async def test_mode_15_search_and_count_show_a_span_at_their_floor_and_by_id_at_once(case, tempo):
    canary = span_of()
    (receipt,) = await case.write(canary)
    assert receipt.sent is Sent.ACCEPTED, receipt.detail
    for ahead_s, shown in ((0, {BY_ID}), (28, {BY_ID}), (FLOOR_S, set(PATHS))):
        tempo.ahead_s = ahead_s
        for path in PATHS:
            found = await seen_ids(case, path, canary)
            assert (found == {canary.canary_id}) is (path in shown), (ahead_s, path.name)
    assert (BY_ID.floor_s, SEARCH.floor_s, AGGREGATE.floor_s) == (0.01, FLOOR_S, FLOOR_S)


@pytest.mark.parametrize("trace_id", ODD_IDS)
async def test_row_22_trace_ids_with_zeros_are_found_and_belong_to_no_other_trace(
    case, tempo, trace_id
):
    canary = span_of(trace_id)
    await case.write(canary)
    tempo.ahead_s = FLOOR_S
    for path in (BY_ID, SEARCH):
        (sighting,) = (await case.backend().read(question_of(canary), path, 5.0)).sightings
        assert same_record(canary, sighting, 1)
        assert difference(canary, [sighting]) == ""
    linked = await case.backend().canaries_in(trace_id, 5.0)
    assert (linked.complete, linked.found) == (True, (canary.canary_id,))
    unlike = await case.backend().canaries_in("5" * 16 + trace_id[16:], 5.0)
    assert (unlike.complete, unlike.found) == (True, ())


async def test_by_id_is_asked_without_a_range_that_would_leave_blocks_out(case, tempo):
    canary = span_of()
    await case.write(canary)
    assert await seen_ids(case, BY_ID, canary) == {canary.canary_id}
    assert "start" not in tempo.seen[-1].path


async def test_mode_18_a_search_that_shows_less_than_by_id_is_only_that_paths(case, tempo):
    canary = span_of()
    await case.write(canary)
    tempo.ahead_s, tempo.undone = FLOOR_S, 1
    reading = await case.backend().read(question_of(canary, span_of()), SEARCH, 5.0)
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)
    assert await seen_ids(case, BY_ID, canary) == {canary.canary_id}


async def test_mode_10_a_part_of_a_trace_is_a_read_error(case, tempo):
    canary = span_of()
    await case.write(canary)
    tempo.ahead_s, tempo.partial = FLOOR_S, True
    for path in {AGGREGATE} | ({BY_ID} if case.options["api"] == "v2" else set()):
        reading = await case.backend().read(question_of(canary), path, 5.0)
        assert (reading.complete, reading.reason) == (False, Reason.READBACK), path.name
        assert "partial" in reading.detail


async def test_mode_09_more_traces_than_a_page_are_found_to_the_last(case, tempo):
    start_ns = time.time_ns() - 300 * SECOND_NS
    route = f"many-{start_ns}"
    many = [
        span_of(f"{start_ns + n:032x}", n, route=route, stamp_ns=start_ns + n * SECOND_NS)
        for n in range(1, 61)
    ]
    await case.write(*many)
    backend = case.backend(row_limit=20)
    reading = await backend.read(question_of(*many), SEARCH, 5.0)
    assert reading.complete, reading.detail
    assert {s.canary_id for s in reading.sightings} == {canary.canary_id for canary in many}
    assert {s.copies for s in reading.sightings} == {None}
    counted = await backend.read(question_of(*many), AGGREGATE, 5.0)
    assert {s.canary_id for s in counted.sightings} == {canary.canary_id for canary in many}
    assert {s.stamp_ns for s in counted.sightings} == {None}


async def test_traces_that_no_narrower_page_parts_are_a_read_error(case):
    now_ns, route = time.time_ns() - 100 * SECOND_NS, "same"
    many = [span_of(f"{now_ns + n:032x}", n, route=route, stamp_ns=now_ns) for n in (1, 2, 3)]
    await case.write(*many)
    reading = await case.backend(row_limit=2).read(question_of(*many), SEARCH, 5.0)
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)


async def test_more_spans_of_a_trace_than_a_search_shows_are_a_read_error(case):
    now_ns, shared = time.time_ns() - 100 * SECOND_NS, "ab" * 16
    many = [span_of(shared, n, route="wide", stamp_ns=now_ns) for n in range(1, MAX_SPANS + 2)]
    await case.write(*many)
    reading = await case.backend().read(question_of(*many), SEARCH, 5.0)
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)
    assert len(await seen_ids(case, BY_ID, *many)) == len(many)


async def test_mode_11_a_throttled_read_says_so(case, tempo):
    tempo.throttled = True
    for path in PATHS:
        reading = await case.backend().read(question_of(span_of()), path, 5.0)
        assert (reading.complete, reading.reason) == (False, Reason.THROTTLED)


async def test_a_range_beyond_what_a_search_may_span_is_a_read_error(case):
    old = span_of(stamp_ns=time.time_ns() - 8 * 24 * 3600 * SECOND_NS)
    reading = await case.backend().read(question_of(old, span_of()), SEARCH, 5.0)
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)
    assert "168h" in reading.detail
    assert await seen_ids(case, SEARCH, old) == set()


async def test_mode_41_without_a_tenant_is_auth_and_a_wrong_one_looks_absent(case, tempo):
    tempo.tenants, tempo.ahead_s = True, FLOOR_S
    canary = span_of()
    (refused,) = await case.write(canary)
    assert (refused.sent, refused.reason) == (Sent.REJECTED, Reason.AUTH)
    await case.write(canary, tenant="a")
    for path in PATHS:
        none = await case.backend().read(question_of(canary), path, 5.0)
        assert (none.complete, none.reason) == (False, Reason.AUTH)
        own = await case.backend(tenant="a").read(question_of(canary), path, 5.0)
        assert [s.canary_id for s in own.sightings] == [canary.canary_id]
        wrong = await case.backend(tenant="b").read(question_of(canary), path, 5.0)
        assert (wrong.complete, wrong.sightings) == (True, ())


async def test_the_newest_span_shows_once_the_cutoff_has_passed_it(case, tempo):
    service = f"shop-{time.time_ns()}"
    canary = span_of(service=service)
    await case.write(canary)
    select = f'{{ resource.service.name = "{service}" }}'
    quiet = await case.backend().newest(select, 120.0, 5.0)
    assert (quiet.complete, quiet.stamp_ns) == (True, None)
    tempo.ahead_s = FLOOR_S
    assert (await case.backend().newest(select, 120.0, 5.0)).stamp_ns == canary.stamp_ns


async def read_from(answer, folder, path, api, canary=None):
    async with real_parts(folder) as parts, Loopback(answer) as server:
        model = TempoOptions.model_validate({"url": server.base, "api": api})
        asked = question_of(canary or span_of())
        return await TempoBackend.build(model, parts).read(asked, path, 2.0)


@pytest.mark.parametrize("body", [b"", b"404 page not found\n", b"<html>"])
async def test_a_404_of_anybody_else_is_a_read_error(body, tmp_path):
    for api, path in (("v1", BY_ID), ("v2", BY_ID), ("v2", SEARCH), ("v2", AGGREGATE)):
        reading = await read_from(lambda _: Reply(404, body), tmp_path, path, api)
        assert (reading.complete, reading.reason) == (False, Reason.READBACK), (api, path.name)


async def test_row_02_a_bare_404_of_v1_is_absent_where_tempo_echoes(tmp_path):
    def tempo(seen):
        return Reply(200, b"echo") if seen.path == "/api/echo" else Reply(404, b"")

    reading = await read_from(tempo, tmp_path, BY_ID, "v1")
    assert (reading.complete, reading.sightings) == (True, ())


@pytest.mark.parametrize("said", [b"{}", b'{"message":"ok"}', b'{"trace":7,"traces":7,"series":7}'])
async def test_an_answer_with_nothing_of_tempos_is_a_read_error(said, tmp_path):
    for path in PATHS:
        reading = await read_from(lambda _: Reply(200, said), tmp_path, path, "v2")
        assert (reading.complete, reading.reason) == (False, Reason.BACKEND_PROTOCOL)


@pytest.mark.parametrize(("trace_id", "shown"), [("ab" * 16, 1), ("ab" * 15 + "ac", 0)])
async def test_row_22_a_store_that_shows_another_trace_shows_nothing(trace_id, shown, tmp_path):
    canary = span_of("ab" * 16)
    span = {
        "traceId": base64.b64encode(bytes.fromhex(trace_id)).decode(),
        "startTimeUnixNano": str(canary.stamp_ns),
        "attributes": [{"key": "canary.id", "value": {"stringValue": canary.canary_id}}],
    }
    spans = [{"scopeSpans": [{"spans": [span]}]}]
    for api, told in (("v1", {"batches": spans}), ("v2", {"trace": {"resourceSpans": spans}})):
        said = Reply(200, json.dumps(told).encode())
        reading = await read_from(lambda _, said=said: said, tmp_path, BY_ID, api, canary)
        assert (reading.complete, len(reading.sightings)) == (True, shown), api
