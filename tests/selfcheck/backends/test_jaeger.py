"""What only Jaeger shows: two APIs, ids without leading zeros, a Zipkin receiver."""

import asyncio
import dataclasses
import json
import string
import time

import pytest

from core.reason import Reason
from deploy.stack.launch import CONF, Instance, Stack
from selfcheck.backends.jaeger import BY_ID, SEARCH, JaegerBackend, JaegerOptions
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.model import Sent, Signal
from tests.contracts.backends.case import Case, Ground
from tests.contracts.backends.cases.jaeger import CASES
from tests.fakes.loopback import Loopback, Reply
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts
from tests.support.servers import stack_of

ODD_IDS = ["0000a" + "1" * 27, "0" * 16 + "2" * 16, "3" * 16 + "0" * 16, "4" * 16 + "2" * 16]
LOOKED_FOR = "ab" * 16


def span_of(trace_id, seq=1):
    """A canary on a trace id of one's own."""
    canary = canary_of(Signal.TRACES, seq, f"jaeger-{time.time_ns()}")
    return dataclasses.replace(canary, trace_id=bytes.fromhex(trace_id))


async def until_seen(backend, path, canary):
    async with asyncio.timeout(10):
        while not (reading := await backend.read(question_of(canary), path, 5.0)).sightings:
            assert reading.complete, reading.detail
    return reading


@pytest.fixture(params=sorted(CASES))
async def case(request, tmp_path, start_server):
    async with (
        real_parts(tmp_path) as parts,
        CASES[request.param].open(Ground(parts, tmp_path, start_server)) as opened,
    ):
        yield opened


@pytest.mark.stack
@pytest.mark.parametrize("trace_id", ODD_IDS)
async def test_row_22_trace_ids_with_zeros_are_found_and_belong_to_no_other_trace(case, trace_id):
    canary, backend = span_of(trace_id), case.backend()
    await case.write(canary)
    for path in (BY_ID, SEARCH):
        (sighting,) = (await until_seen(backend, path, canary)).sightings
        assert same_record(canary, sighting, 1000)
        assert difference(canary, [sighting]) == ""
    linked = await backend.canaries_in(trace_id, 5.0)
    assert canary.canary_id in linked.found
    unlike = await backend.canaries_in("5" * 16 + trace_id[16:], 5.0)
    assert (unlike.complete, unlike.found) == (True, ())


@pytest.mark.stack
async def test_mode_38_v3_shows_nanoseconds_where_v1_shows_whole_microseconds(case):
    canary = canary_of(
        Signal.TRACES, 1, f"ns-{time.time_ns()}", time.time_ns() // 1000 * 1000 + 789
    )
    await case.write(canary)
    (sighting,) = (await until_seen(case.backend(), BY_ID, canary)).sightings
    assert sighting.stamp_ns == canary.stamp_ns - (789 if case.options["api"] == "v1" else 0)
    assert same_record(canary, sighting, JaegerBackend.declaration.precision_ns)


@pytest.mark.stack
async def test_an_api_that_is_not_given_is_found_by_asking_once(case):
    backend = case.backend(api="auto")
    canary = canary_of(Signal.TRACES, 1, f"auto-{time.time_ns()}")
    assert (await backend.read(question_of(canary), BY_ID, 5.0)).complete
    assert [type(api).__name__ for api in backend.spoken] == ["V3"]
    await case.write(canary)
    await until_seen(backend, SEARCH, canary)


@pytest.mark.stack
async def test_jaegers_zipkin_receiver_takes_what_the_zipkin_injector_sends(tmp_path):
    def with_zipkin(stack: Stack) -> str:
        ports = stack["jaeger"].ports
        text = (CONF / "jaeger2.yml").read_text()
        receiver = f'receivers:\n  zipkin: {{endpoint: "127.0.0.1:{ports["zipkin"]}"}}\n'
        text = text.replace("receivers:\n", receiver).replace("[otlp]", "[otlp, zipkin]")
        values = {name.replace("-", "_"): port for name, port in ports.items()}
        return string.Template(text).substitute(values)

    instances = {"jaeger": Instance("jaeger2", config=with_zipkin, ports=("zipkin",))}
    with stack_of(tmp_path, instances=instances) as stack:
        async with real_parts(tmp_path) as parts:
            server = stack["jaeger"]
            urls = {"url": server.url(), "zipkin_url": server.url("zipkin")}
            case = Case("jaeger", "", parts, urls, lambda _, s: s, inject="zipkin")
            canary = span_of(ODD_IDS[1])
            (receipt,) = await case.write(canary)
            assert receipt.sent is Sent.ACCEPTED, receipt.detail
            for path in (BY_ID, SEARCH):
                (sighting,) = (await until_seen(case.backend(), path, canary)).sightings
                assert same_record(canary, sighting, 1000)
                assert difference(canary, [sighting]) == ""


def test_receivers_that_are_not_named_are_not_written_to():
    named = JaegerOptions.model_validate({"url": "http://j", "zipkin_url": "http://z"})
    assert set(JaegerBackend.write_rules(named)) == {"zipkin"}
    assert JaegerBackend.write_rules(JaegerOptions.model_validate({"url": "http://j"})) == {}


V1_ABSENT = b'{"data":null,"errors":[{"code":404,"msg":"trace not found"}]}'
V3_ABSENT = b'{"error":{"httpCode":404,"message":"No traces found"}}'
HTML = b"<!DOCTYPE html><title>Jaeger UI</title>"


async def read_from(answer, folder, api, path=BY_ID, canary=None):
    """The reading of a Jaeger that answers each path as `answer` says, and what it was asked."""
    async with real_parts(folder) as parts, Loopback(answer) as server:
        model = JaegerOptions.model_validate({"url": server.base, "api": api})
        backend = JaegerBackend.build(model, parts)
        reading = await backend.read(question_of(canary or span_of(LOOKED_FOR)), path, 2.0)
        return reading, backend, [seen.path.partition("?")[0] for seen in server.seen]


@pytest.mark.parametrize("path", [BY_ID, SEARCH])
@pytest.mark.parametrize(("api", "said"), [("v1", V1_ABSENT), ("v3", V3_ABSENT)])
async def test_row_02_a_404_in_the_apis_own_words_is_absent(api, said, path, tmp_path):
    reading, _, _ = await read_from(lambda _: Reply(404, said), tmp_path, api, path)
    assert (reading.complete, reading.sightings) == (True, ())


@pytest.mark.parametrize("path", [BY_ID, SEARCH])
@pytest.mark.parametrize("api", ["auto", "v1", "v3"])
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"404 page not found",
        HTML,
        b'{"message":"no Route matched"}',
        b"[]",
        b'{"data":[]',
        b'{"data":[]}',
        b'{"data":[],"errors":null}',
        b'{"result":{"resourceSpans":[]}}',
        b'{"errors":[{"code":500,"msg":"storage"}]}',
        b'{"error":{"httpCode":500}}',
        b'{"error":1}',
    ],
)
async def test_a_404_of_anybody_else_is_a_read_error(said, api, path, tmp_path):
    reading, backend, _ = await read_from(lambda _: Reply(404, said), tmp_path, api, path)
    assert (reading.complete, reading.reason) == (False, Reason.BACKEND_PROTOCOL)
    assert backend.spoken == []


async def test_a_jaeger_without_v3_is_read_by_v1_and_not_asked_for_v3_again(tmp_path):
    def old(seen):
        return Reply(200, HTML) if "/v3/" in seen.path else Reply(404, V1_ABSENT)

    async with real_parts(tmp_path) as parts, Loopback(old) as server:
        backend = JaegerBackend.build(JaegerOptions.model_validate({"url": server.base}), parts)
        for _ in range(2):
            reading = await backend.read(question_of(span_of(LOOKED_FOR)), BY_ID, 2.0)
            assert (reading.complete, reading.sightings) == (True, ())
        asked = [seen.path.partition("?")[0].removesuffix(LOOKED_FOR) for seen in server.seen]
    assert asked == ["/api/v3/traces/", "/api/traces/", "/api/traces/"]


async def test_a_refusal_is_not_taken_for_the_lack_of_an_api(tmp_path):
    reading, backend, asked = await read_from(lambda _: Reply(503), tmp_path, "auto")
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)
    assert len(asked) == 1
    assert backend.spoken == []


@pytest.mark.parametrize(("trace_id", "shown"), [(LOOKED_FOR, 1), (LOOKED_FOR[:-1] + "c", 0)])
async def test_row_22_a_store_that_shows_another_trace_shows_nothing(trace_id, shown, tmp_path):
    canary = span_of(LOOKED_FOR)
    attributes = [{"key": "canary.id", "value": {"stringValue": canary.canary_id}}]
    span = {"traceId": trace_id, "attributes": attributes}
    span["startTimeUnixNano"] = str(canary.stamp_ns)
    said = json.dumps({"result": {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}}).encode()
    reading, _, _ = await read_from(lambda _: Reply(200, said), tmp_path, "v3", BY_ID, canary)
    assert (reading.complete, len(reading.sightings)) == (True, shown)
