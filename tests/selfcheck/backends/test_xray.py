"""What only X-Ray shows: its ids, documents in documents, summaries by the time of arrival."""

import dataclasses
import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reason import Reason
from core.secrets import Secret
from selfcheck.backends.http import ReadError
from selfcheck.backends.xray import BY_ID, SEARCH
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.fields import sent_fields
from selfcheck.canary.model import Sent, Signal
from selfcheck.segments import decode, encode, latest, summarised, trace_id_of
from tests.contracts.backends.cases.xray import CASES
from tests.fakes.hostile import hostile, says
from tests.support.aws import KEYS
from tests.support.canaries import canary_of, question_of
from tests.support.case import opened_case

# A server of its own, moto, that takes seconds to start.
pytestmark = pytest.mark.slow

_ROUTES = itertools.count(1)
_MS = 10**6
NAMES = {"canary_id": "canary.id"}
BOTH = pytest.mark.parametrize("path", [BY_ID, SEARCH], ids=lambda path: path.name)


def fresh_route():
    return f"xray-{time.time_ns()}-{next(_ROUTES)}"


@pytest.fixture
async def case(tmp_path):
    async with opened_case(CASES["xray"], tmp_path) as opened:
        yield opened


async def read(case, path, *canaries, **options):
    return await case.backend(**options).read(question_of(*canaries), path, 5.0)


@given(st.integers(0, 2**61), st.integers(1, 2**31))
def test_a_segment_gives_back_what_its_canary_carried(stamp_ns, seq):
    stamp_ns %= 4 * 10**18
    canary = canary_of(Signal.TRACES, seq, stamp_ns=stamp_ns)
    names = {name.replace(".", "_"): name for name in canary.attributes}
    segment = decode(encode(canary), names)
    assert abs(segment.stamp_ns - stamp_ns) < 1500
    assert canary.attributes.items() <= segment.attributes.items()
    assert segment.segment_id == canary.span_id.hex()
    sent = sent_fields(canary)
    assert segment.fields == {name: sent[name] for name in BY_ID.shows}


@pytest.mark.parametrize("flag", ["HasFault", "HasError", "HasThrottle"])
def test_a_summary_that_tells_of_a_failure_is_altered(flag):
    canary = canary_of(Signal.TRACES)
    shown = {"canary_id": canary.canary_id, "span_name": canary.span_name}
    told = {
        "Id": trace_id_of(canary.trace_id.hex()),
        "StartTime": 1795264408.5,
        "HasFault": False,
        "Annotations": {
            name: [{"AnnotationValue": {"StringValue": value}}] for name, value in shown.items()
        },
    }
    well, failed = summarised(told, NAMES), summarised({**told, flag: True}, NAMES)
    assert well.fields == {"span_name": "coalmine.canary"}
    assert failed.fields == {"span_name": "coalmine.canary", "span_status": "error"}


def test_an_id_of_the_w3c_is_written_in_three_parts_and_loses_nothing():
    assert trace_id_of("4efaaf4d1e720b39541901243993cb41") == "1-4efaaf4d-1e720b39541901243993cb41"


def test_attributes_that_a_collector_did_not_index_are_found_in_the_metadata():
    told = json.loads(encode(canary_of(Signal.TRACES)))
    told["metadata"] = {"default": {"canary.id": told.pop("annotations")["canary_id"], "n": 7}}
    segment = decode(json.dumps(told), NAMES)
    assert segment.attributes == {"canary.id": told["metadata"]["default"]["canary.id"]}


@pytest.mark.parametrize(
    "document", ["", "[]", "{}", '{"id": "a"}', '{"id": 7, "start_time": 1}', '{"start_time": "x"}']
)
def test_a_document_that_is_none_is_refused(document):
    with pytest.raises(ReadError):
        decode(document, NAMES)


def test_a_later_document_replaces_an_earlier_one_of_its_id():
    canary = canary_of(Signal.TRACES)
    first = decode(encode(canary), NAMES)
    second = dataclasses.replace(first, stamp_ns=first.stamp_ns + 1)
    other = dataclasses.replace(first, segment_id="f" * 16)
    assert latest([first, other, second]) == [second, other]


async def test_more_traces_than_one_call_takes_are_asked_for_in_turn(case):
    route, now = fresh_route(), time.time_ns()
    many = [canary_of(Signal.TRACES, n, route, now - n * 10**9) for n in range(1, 32)]
    await case.write(*many)
    for path in (BY_ID, SEARCH):
        reading = await read(case, path, *many)
        assert reading.complete, reading.detail
        assert {s.canary_id for s in reading.sightings} == {c.canary_id for c in many}


@BOTH
async def test_mode_36_a_segment_sent_twice_is_one_and_no_count(case, path):
    canary = canary_of(Signal.TRACES, route=fresh_route())
    await case.write(canary, canary)
    (sighting,) = (await read(case, path, canary)).sightings
    assert sighting.copies is None


@BOTH
async def test_mode_38_a_stamp_is_the_same_record_at_the_precision_of_the_page(case, path):
    stamp = time.time_ns() // _MS * _MS + 999_999
    canary = canary_of(Signal.TRACES, route=fresh_route(), stamp_ns=stamp)
    await case.write(canary)
    (sighting,) = (await read(case, path, canary)).sightings
    assert same_record(canary, sighting, _MS)
    assert difference(canary, [sighting]) == ""


async def test_a_span_is_found_in_the_trace_that_its_log_leads_to(case):
    log, span = canary_of(Signal.LOGS, route=fresh_route()), None
    span = canary_of(Signal.TRACES, 1, log.key.route, log.stamp_ns, epoch=time.time_ns() % 10**9)
    backend = case.backend()
    nothing = await backend.canaries_in(span.trace_id.hex(), 5.0)
    assert (nothing.complete, nothing.found) == (True, ())
    await case.write(span)
    assert (await backend.canaries_in(span.trace_id.hex(), 5.0)).found == (span.canary_id,)
    away = await case.backend(url="http://127.0.0.1:1").canaries_in("ab" * 16, 2.0)
    assert (away.complete, away.reason) == (False, Reason.READBACK)


async def test_a_long_interval_is_asked_for_in_parts_that_x_ray_takes(case):
    route, now = fresh_route(), time.time_ns()
    old = canary_of(Signal.TRACES, 1, route, now - 20 * 3600 * 10**9)
    new = canary_of(Signal.TRACES, 2, route, now)
    await case.write(old, new)
    reading = await read(case, SEARCH, old, new)
    assert reading.complete, reading.detail
    assert {s.canary_id for s in reading.sightings} == {old.canary_id, new.canary_id}


@BOTH
@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("ThrottledException", "429 X", Reason.THROTTLED),
        ("ThrottlingException", "400 X", Reason.THROTTLED),
        ("ExpiredTokenException", "400 X", Reason.AUTH),
        ("InvalidRequestException", "400 X", Reason.READBACK),
    ],
)
async def test_mode_11_a_refusal_is_told_by_its_name(case, path, code, status, reason):
    body = json.dumps({"__type": code, "Message": "no"}).encode()
    async with hostile(says(body, status)) as server:
        reading = await read(case, path, canary_of(Signal.TRACES), url=server.url)
    assert (reading.complete, reading.reason) == (False, reason)


async def test_mode_18_summaries_that_lag_do_not_hide_what_is_there_by_id(case):
    canary = canary_of(Signal.TRACES)
    segment = {"Id": canary.span_id.hex(), "Document": encode(canary)}
    trace = {"Traces": [{"Id": trace_id_of(canary.trace_id.hex()), "Segments": [segment]}]}
    async with hostile(says(json.dumps(trace).encode())) as server:
        assert (await read(case, BY_ID, canary, url=server.url)).sightings
    async with hostile(says(b'{"TraceSummaries": []}')) as server:
        reading = await read(case, SEARCH, canary, url=server.url)
    assert (reading.complete, reading.sightings) == (True, ())


async def test_mode_41_wrong_keys_are_auth_and_never_absence(case):
    canary = canary_of(Signal.TRACES, route=fresh_route())
    wrong = {**KEYS, "secret_access_key": Secret.inline("wrong-secret")}
    for keys in (wrong, {**KEYS, "access_key_id": Secret.inline("AKIANOBODY")}, None):
        for path in (BY_ID, SEARCH):
            reading = await read(case, path, canary, keys=keys)
            assert (reading.complete, reading.reason) == (False, Reason.AUTH)
        receipt = await case.injector({"keys": keys}).send(canary, 5.0)
        assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.AUTH)


async def test_pages_of_a_trace_are_followed(case):
    canary = canary_of(Signal.TRACES)
    segment = {"Id": canary.span_id.hex(), "Document": encode(canary)}
    first = {"Traces": [], "NextToken": "more"}
    second = {"Traces": [{"Id": "1", "Segments": [segment]}]}
    answers = [says(json.dumps(one).encode()) for one in (first, second)]
    async with hostile(*answers) as server:
        reading = await read(case, BY_ID, canary, url=server.url)
        assert len(server.requests) == 2
    assert reading.sightings


async def test_a_trace_of_two_canaries_is_opened_to_tell_them_apart(case):
    """Routes of one group share their traces: a summary does not say what belongs to which."""
    now = time.time_ns() // 1000 * 1000 + 5000
    epoch = now % 10**9
    one = canary_of(Signal.TRACES, 1, fresh_route(), now, epoch=epoch)
    two = canary_of(Signal.TRACES, 1, fresh_route(), now + 7 * _MS, epoch=epoch)
    assert one.trace_id == two.trace_id
    await case.write(one, two)
    for canary in (one, two):
        for path in (BY_ID, SEARCH):
            (sighting,) = (await read(case, path, canary)).sightings
            assert same_record(canary, sighting, _MS)
            assert difference(canary, [sighting]) == ""


def indexed(canary, start_s, *ids):
    values = [{"AnnotationValue": {"StringValue": one}} for one in ids]
    told = {"Id": trace_id_of(canary.trace_id.hex()), "StartTime": start_s}
    return says(
        json.dumps({"TraceSummaries": [{**told, "Annotations": {"canary_id": values}}]}).encode()
    )


async def test_what_is_indexed_and_cannot_be_opened_is_not_called_absent(case):
    canary, nothing = canary_of(Signal.TRACES), says(b'{"Traces": []}')
    unclear = [
        indexed(canary, canary.stamp_ns / 1e9, canary.canary_id, "another"),
        indexed(canary, canary.stamp_ns // 10**9, canary.canary_id),
        indexed(canary, canary.stamp_ns / 1e9),
    ]
    for answer in unclear:
        async with hostile(answer, nothing) as server:
            reading = await read(case, SEARCH, canary, url=server.url)
        assert (reading.complete, reading.reason) == (False, Reason.READBACK)
        assert "cannot be opened" in reading.detail


async def test_mode_18_what_cannot_be_opened_is_still_found_by_its_summary(case):
    canary = canary_of(Signal.TRACES)
    async with hostile(indexed(canary, canary.stamp_ns / 1e9, canary.canary_id)) as server:
        (sighting,) = (await read(case, SEARCH, canary, url=server.url)).sightings
        assert len(server.requests) == 1
    assert same_record(canary, sighting, _MS)
