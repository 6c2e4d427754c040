"""What only CloudWatch Logs shows: tokens, empty pages, throttling as a 400, bare lines."""

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reason import Reason
from core.secrets import Secret
from selfcheck.backends.cloudwatch_logs import BY_ID, SEARCH, _event
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors.cloudwatch_logs import message
from selfcheck.injectors.file import render
from tests.contracts.backends.cases.cloudwatch_logs import CASES
from tests.fakes.hostile import hostile, says
from tests.support.aws import KEYS
from tests.support.canaries import canary_of, question_of
from tests.support.case import opened_case

# A server of its own, moto, that takes seconds to start.
pytestmark = pytest.mark.slow

_ROUTES = itertools.count(1)
_MS = 10**6
BOTH = pytest.mark.parametrize("path", [BY_ID, SEARCH], ids=lambda path: path.name)


def fresh_route():
    return f"logs-{time.time_ns()}-{next(_ROUTES)}"


@pytest.fixture
async def case(tmp_path):
    async with opened_case(CASES["cloudwatch_logs"], tmp_path) as opened:
        yield opened


async def read(case, path, *canaries, **options):
    return await case.backend(**options).read(question_of(*canaries), path, 5.0)


def page(*canaries, **tokens):
    events = [{"timestamp": c.stamp_ns // _MS, "message": message(c)} for c in canaries]
    return says(json.dumps({"events": events, **tokens}).encode())


def refusal(code, status="400 Bad Request"):
    return says(json.dumps({"__type": code, "message": "no"}).encode(), status)


async def test_mode_09_an_empty_page_with_a_token_is_not_the_last_one(case):
    one, two = canary_of(Signal.LOGS, 1), canary_of(Signal.LOGS, 2)
    answers = [page(nextToken="a"), page(one, nextToken="b"), page(nextToken="c"), page(two)]
    async with hostile(*answers) as server:
        reading = await read(case, BY_ID, one, two, url=server.url)
    assert reading.complete
    assert [s.canary_id for s in reading.sightings] == [one.canary_id, two.canary_id]


async def test_mode_09_a_stream_ends_where_its_token_comes_back(case):
    one, two = canary_of(Signal.LOGS, 1), canary_of(Signal.LOGS, 2)
    answers = [
        page(one, nextForwardToken="f/1"),
        page(nextForwardToken="f/2"),
        page(two, nextForwardToken="f/3"),
        page(nextForwardToken="f/3"),
    ]
    async with hostile(*answers) as server:
        reading = await read(case, SEARCH, one, two, url=server.url)
        assert len(server.requests) == 4
    assert [s.canary_id for s in reading.sightings] == [one.canary_id, two.canary_id]


async def test_tokens_without_end_are_a_read_error(case):
    async with hostile(page(nextToken="a", nextForwardToken="a")) as server:
        reading = await read(case, BY_ID, canary_of(Signal.LOGS), url=server.url)
        assert (reading.complete, reading.reason) == (False, Reason.READBACK)
        assert len(server.requests) == 100


async def test_a_stream_that_tells_no_token_is_no_complete_read(case):
    async with hostile(page()) as server:
        reading = await read(case, SEARCH, canary_of(Signal.LOGS), url=server.url)
    assert (reading.complete, reading.reason) == (False, Reason.BACKEND_PROTOCOL)


@BOTH
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ThrottlingException", Reason.THROTTLED),
        ("LimitExceededException", Reason.THROTTLED),
        ("AccessDeniedException", Reason.AUTH),
        ("ExpiredTokenException", Reason.AUTH),
        ("UnrecognizedClientException", Reason.AUTH),
        ("InvalidSignatureException", Reason.AUTH),
        ("InvalidParameterException", Reason.READBACK),
    ],
)
async def test_mode_11_throttling_comes_as_a_400_and_is_no_bad_request(case, path, code, reason):
    async with hostile(refusal(code)) as server:
        reading = await read(case, path, canary_of(Signal.LOGS), url=server.url)
    assert (reading.complete, reading.reason) == (False, reason)


async def test_throttling_of_a_write_is_tried_again_and_told(case):
    throttled, taken = refusal("ThrottlingException"), says(b"{}")
    async with hostile(throttled, taken) as server:
        receipt = await case.injector({"url": server.url}).send(canary_of(Signal.LOGS), 9.0)
    assert (receipt.sent, receipt.tries, receipt.first_try) == (Sent.ACCEPTED, 2, Sent.REJECTED)
    async with hostile(throttled) as server:
        receipt = await case.injector({"url": server.url}).send(canary_of(Signal.LOGS), 9.0)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.THROTTLED)


@BOTH
async def test_a_group_that_is_not_there_yet_is_absence(case, path):
    reading = await read(case, path, canary_of(Signal.LOGS), log_group="not-yet")
    assert (reading.complete, reading.sightings) == (True, ())


async def test_a_group_or_stream_that_is_not_there_takes_no_line(case):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    for options in ({"log_group": "not-yet"}, {"log_stream": "not-yet"}):
        (receipt,) = await case.write(canary, **options)
        assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
        assert "ResourceNotFoundException" in receipt.detail


@pytest.mark.parametrize("age_days", [-0.2, 15])
async def test_mode_37_a_line_outside_of_the_window_is_rejected_with_the_reason(case, age_days):
    stamp = time.time_ns() - int(age_days * 86_400) * 10**9
    (receipt,) = await case.write(canary_of(Signal.LOGS, route=fresh_route(), stamp_ns=stamp))
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.PARTIAL_SUCCESS)
    assert "LogEvent" in receipt.detail


@BOTH
async def test_mode_38_a_stamp_is_cut_to_the_millisecond_and_still_the_same_record(case, path):
    stamp = time.time_ns() // _MS * _MS + 999_999
    canary = canary_of(Signal.LOGS, route=fresh_route(), stamp_ns=stamp)
    await case.write(canary)
    (sighting,) = (await read(case, path, canary)).sightings
    assert sighting.stamp_ns == stamp // _MS * _MS
    assert same_record(canary, sighting, _MS)


@BOTH
async def test_mode_36_copies_are_counted(case, path):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    await case.write(canary, canary)
    (sighting,) = (await read(case, path, canary)).sightings
    assert sighting.copies == 2


async def test_mode_41_wrong_keys_are_auth_and_never_absence(case):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    wrong = {**KEYS, "secret_access_key": Secret.inline("wrong-secret")}
    unknown = {**KEYS, "access_key_id": Secret.inline("AKIANOBODY")}
    for keys in (wrong, unknown, None):
        for path in (BY_ID, SEARCH):
            reading = await read(case, path, canary, keys=keys)
            assert (reading.complete, reading.reason) == (False, Reason.AUTH)
            assert "wrong-secret" not in repr(reading)
        receipt = await case.injector({"keys": keys}).send(canary, 5.0)
        assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.AUTH)


@pytest.mark.parametrize("path", [BY_ID, SEARCH], ids=lambda path: path.name)
async def test_a_bare_line_is_its_own_body(case, path):
    canary = canary_of(Signal.LOGS)
    events = [{"timestamp": canary.stamp_ns // _MS, "message": canary.body}]
    told = {"events": events, "nextForwardToken": "f/1"}
    last = {"events": [], "nextForwardToken": "f/1"}
    async with hostile(says(json.dumps(told).encode()), says(json.dumps(last).encode())) as server:
        reading = await read(case, path, canary, url=server.url)
    (sighting,) = reading.sightings
    assert difference(canary, [sighting]) == ""
    assert same_record(canary, sighting, _MS)


async def seen(case, path, canary, text):
    """Sightings of `canary` where its event is `text`."""
    events = [{"timestamp": canary.stamp_ns // _MS, "message": text}]
    told, last = ({"events": some, "nextForwardToken": "f/1"} for some in (events, []))
    answers = [says(json.dumps(answer).encode()) for answer in (told, last)]
    async with hostile(*answers) as server:
        return (await read(case, path, canary, url=server.url)).sightings


@BOTH
async def test_a_line_of_a_file_that_an_agent_passes_on_is_unaltered(case, path):
    canary = canary_of(Signal.LOGS)
    line = render(canary, "json").decode()
    (sighting,) = await seen(case, path, canary, line)
    assert difference(canary, [sighting]) == ""
    (sighting,) = await seen(case, path, canary, line.replace('"INFO"', '"ERROR"'))
    assert difference(canary, [sighting]) == "severity_text: sent 'INFO', stored 'ERROR'"


@pytest.mark.parametrize("left", [{"body", "severity_text"}, {"body"}])
async def test_a_record_whose_attributes_a_hop_took_is_found_by_its_body_alone(case, left):
    canary = canary_of(Signal.LOGS)
    told = {name: part for name, part in json.loads(message(canary)).items() if name in left}
    assert await seen(case, BY_ID, canary, json.dumps(told)) == ()
    assert len(await seen(case, SEARCH, canary, json.dumps(told))) == 1


@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="replace")))
def test_any_line_of_others_is_read(line):
    event = _event(1, line)
    assert event.stamp_ns == _MS
    assert isinstance(event.body, str)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_filter_asks_for_no_more_than_the_route_needs(case, count):
    canaries = [canary_of(Signal.LOGS, seq) for seq in range(1, count + 1)]
    bodies = []

    class Spy:
        async def fetch(self, request):
            bodies.append(json.loads(request.body))
            return await case.parts.outbound.fetch(request)

    backend = case.backend()
    object.__setattr__(backend.client, "outbound", Spy())
    await backend.read(question_of(*canaries), BY_ID, 5.0)
    wanted = canaries[0].canary_id if count == 1 else canaries[0].service_instance
    assert bodies[0]["filterPattern"] == f'"{wanted}"'
