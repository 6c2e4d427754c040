"""OTLP over HTTP: the JSON form, told apart from what JSON of protobuf usually is; hostile answers.

What every posting kind must do is in test_injector_contract.py.
"""

import base64
import gzip
import json
import random
import ssl

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SystemClock
from core.reason import Reason
from selfcheck import otlp
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import CanaryKey, Sent, Signal
from selfcheck.injectors.otlp_http import OtlpHttpInjector, OtlpHttpOptions
from selfcheck.injectors.tries import Attempt, rejected, tried
from tests.fakes.hostile import hostile, says
from tests.fakes.http_server import reply, serving
from tests.support.canaries import canary_of
from tests.support.parts import real_parts

COUNTS = {
    Signal.LOGS: "rejectedLogRecords",
    Signal.METRICS: "rejectedDataPoints",
    Signal.TRACES: "rejectedSpans",
}
JSON = f"Content-Type: {otlp.JSON_TYPE}"
canaries = st.builds(
    lambda epoch, seq, signal, stamp, stamped: make_canary(
        "ab12cd34", "g", CanaryKey("r", epoch, seq), seq, signal, stamp, "svc", stamped=stamped
    ),
    st.integers(1, 2**20), st.integers(1, 2**31), st.sampled_from(Signal),
    st.integers(0, 2**63 - 1), st.booleans(),
)  # fmt: skip


def leaves(value, key=""):
    """Every scalar of a document with the name it stands under."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one, key)
    else:
        yield key, value


@given(canaries)
def test_the_json_form_holds_what_the_protobuf_form_holds(canary):
    written = otlp.encode_json(canary)
    assert otlp.parse_json_request(canary.signal, written) == otlp.build_request(canary)


@given(canaries)
def test_ids_are_hex_enums_are_numbers_and_long_integers_are_text(canary):
    found = list(leaves(json.loads(otlp.encode_json(canary))))
    names = {name for name, _ in found}
    assert ("traceId", canary.trace_id.hex()) in found
    assert ("spanId", canary.span_id.hex()) in found
    for name, value in found:
        assert "_" not in name
        if name.endswith("UnixNano"):
            assert value == str(int(value))
        if name in {"kind", "severityNumber"}:
            assert isinstance(value, int)
        if name == "asDouble":
            assert value == canary.value
    expected = {"asDouble"} if canary.signal is Signal.METRICS else {"stringValue"}
    assert expected <= names


@given(canaries)
def test_base64_ids_which_protobufs_own_json_has_are_not_what_leaves(canary):
    told = otlp.encode_json(canary).decode()
    assert base64.b64encode(canary.trace_id).decode() not in told


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"1", b"\xff", b"{", b'{"partialSuccess":1}', b"[" * 60_000,
     b'{"a":' * 10_000, b'{"partialSuccess":{"errorMessage":1e400}}',
     b'{"partialSuccess":{"NAME":1e400}}', b'{"partialSuccess":{"NAME":"many"}}',
     b'{"partialSuccess":{},"partialSuccess":{}}', b"<html>", b'{"partialSuccess":' + b"9" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("signal", list(Signal))
def test_what_is_no_answer_in_json_is_said_to_be_none(signal, body):
    with pytest.raises(otlp.NotOtlpError):
        otlp.parse_json_reply(signal, body.replace(b"NAME", COUNTS[signal].encode()))


@pytest.mark.parametrize(("signal", "name"), COUNTS.items(), ids=map(str, COUNTS))
@pytest.mark.parametrize("count", [3, "3"], ids=["number", "text"])
def test_rejected_records_are_read_as_number_and_as_text(signal, name, count):
    part = {name: count, "errorMessage": "why", "added": [1]}
    said = otlp.parse_json_reply(signal, json.dumps({"partialSuccess": part, "new": 1}).encode())
    assert said == otlp.ExportReply(3, "why")


async def receipt_of(tmp_path, *answers, signal=Signal.LOGS, **written):
    async with real_parts(tmp_path, random.Random(1)) as parts, hostile(*answers) as server:
        options = OtlpHttpOptions.model_validate({"url": server.url, **written})
        injector = OtlpHttpInjector.build(options, parts, None)
        return await injector.send(canary_of(signal), 3.0), server.requests


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_a_json_request_says_so_and_is_answered_in_json(compression, tmp_path):
    answer = says(b"{}", "200 OK", "Content-Type: application/json; charset=utf-8")
    written = {"encoding": "json", "compression": compression}
    receipt, (head,) = await receipt_of(tmp_path, answer, **written)
    assert receipt.sent is Sent.ACCEPTED
    assert f"content-type: {otlp.JSON_TYPE}" in head.lower()
    assert ("content-encoding: gzip" in head.lower()) == (compression == "gzip")


async def test_gzip_holds_the_same_json(tmp_path):
    async with real_parts(tmp_path) as parts:
        written = {"url": "http://127.0.0.1:1", "encoding": "json", "compression": "gzip"}
        options = OtlpHttpOptions.model_validate(written)
        canary = canary_of(Signal.TRACES)
        parcel = OtlpHttpInjector.build(options, parts, None).parcel(canary)
    assert gzip.decompress(parcel.body) == otlp.encode_json(canary)


@pytest.mark.parametrize("signal", list(Signal))
async def test_mode_20_partial_success_in_json_is_rejected_and_never_retried(signal, tmp_path):
    part = {COUNTS[signal]: "1", "errorMessage": "too long"}
    answer = says(json.dumps({"partialSuccess": part}).encode(), "200 OK", JSON)
    receipt, requests = await receipt_of(tmp_path, answer, signal=signal, encoding="json")
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.PARTIAL_SUCCESS)
    assert "too long" in receipt.detail
    assert len(requests) == 1


async def test_mode_05_a_first_try_that_may_have_arrived_is_not_forgotten_over_later_ones(tmp_path):
    """Neither our own trouble nor a refusal after it makes a rejection of the whole."""
    left = Attempt(Sent.MAYBE, Reason.MAYBE_SENT, "reset", retry=True, left=True, wait_s=0.0)
    ours = Attempt(Sent.MAYBE, Reason.DESCRIPTORS, "none", retry=True, wait_s=0.0)
    script = [left, ours, rejected(Reason.INJECT, "400")]

    async def once(_):
        return script.pop(0)

    tries = await tried(once, 10.0, SystemClock(), random.Random(1))
    assert (tries.last.sent, tries.tries, tries.first) == (Sent.MAYBE, 3, Sent.MAYBE)


async def test_a_server_that_is_not_verified_gets_nothing(tmp_path):
    """Failure mode 41 for the HTTP kind: a private authority is no authority until it is given."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    answer = reply(200, b"{}", content_type=otlp.JSON_TYPE)
    async with serving(answer, context) as server, real_parts(tmp_path) as parts:
        receipts = []
        for tls in (None, {"ca_file": "ca.pem"}):
            written = {"url": server.url("", "localhost"), "encoding": "json", "tls": tls}
            options = OtlpHttpOptions.model_validate(written)
            injector = OtlpHttpInjector.build(options, parts, None)
            receipts.append(await injector.send(canary_of(Signal.LOGS), 3.0))
        assert len(server.heads) == 1
    assert [(one.sent, one.reason) for one in receipts] == [
        (Sent.REJECTED, Reason.TLS),
        (Sent.ACCEPTED, Reason.OK),
    ]


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_counter_is_a_monotonic_sum_and_all_else_of_the_sample_is_the_same(encoding):
    canary = canary_of(Signal.METRICS)
    encode = otlp.encode if encoding == "protobuf" else otlp.encode_json
    parse = otlp.parse_request if encoding == "protobuf" else otlp.parse_json_request

    def metric(written_as):
        request = parse(Signal.METRICS, encode(canary, written_as))
        return request.resource_metrics[0].scope_metrics[0].metrics[0]

    gauge, counter = metric(otlp.MetricAs.GAUGE), metric(otlp.MetricAs.COUNTER)
    assert counter.sum.is_monotonic
    assert counter.sum.aggregation_temporality == 2
    assert list(counter.sum.data_points) == list(gauge.gauge.data_points)
    assert counter.name == gauge.name
