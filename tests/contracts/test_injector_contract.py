"""What an injector may call accepted, rejected or unknown: over every registered injector.

Row 18 of the conformance list and faults 50 and 51: success is the receiver's declared status and
a parsable answer, nothing else.
"""

import asyncio
import gzip
import random
import socket
from dataclasses import replace

import pytest

from core.errors import CoalmineError
from core.outbound.protocol import Response, Trouble
from core.reason import Reason
from selfcheck.backends.protocol import BACKENDS, WriteRule
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors.otlp_http import OtlpHttpInjector, OtlpHttpOptions
from selfcheck.injectors.protocol import INJECTORS
from selfcheck.otlp import CONTENT_TYPE, DEFAULT_PATHS, build_reply, parse_request
from tests.fakes.hostile import hostile, reset, says, silence
from tests.support.canaries import canary_of
from tests.support.clock import VirtualClock
from tests.support.parts import real_parts

PROTOBUF = f"Content-Type: {CONTENT_TYPE}"
ACCEPTED = says(build_reply(Signal.LOGS), "200 OK", PROTOBUF)


@pytest.fixture(params=sorted(INJECTORS.entries))
def build(request):
    """Builds each registered injector for a receiver at `url`."""
    kind = INJECTORS.load(request.param)

    def make(parts, url, rule=None, **options):
        written = {"url": url, **options}
        return kind.build(kind.options_model.model_validate(written), parts, rule)

    return make


async def receipt_of(build, tmp_path, *answers, deadline_s=3.0, signal=Signal.LOGS, rule=None):
    """What is known after sending to a receiver with those answers, and the requests it got."""
    async with real_parts(tmp_path, QuickRandom()) as parts, hostile(*answers) as server:
        if rule is not None:
            rule = replace(rule, url=server.url)
        injector = build(parts, "" if rule else server.url, rule)
        receipt = await injector.send(canary_of(signal), deadline_s)
        return receipt, server.requests


class QuickRandom(random.Random):
    """Jitter at its lower end, so that retries follow at once."""

    def uniform(self, a, b):
        return a


@pytest.mark.parametrize("signal", list(Signal))
async def test_a_declared_status_with_an_otlp_answer_is_accepted(build, signal, tmp_path):
    for body in (b"", b"\n\x00", build_reply(signal)):
        answer = says(body, "200 OK", PROTOBUF)
        receipt, _ = await receipt_of(build, tmp_path, answer, signal=signal)
        assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.ACCEPTED, Reason.OK, 1)
        assert receipt.body_bytes > 0
        assert receipt.silent is False


@pytest.mark.parametrize(
    "answer",
    [
        says(b"<html>log in</html>", "200 OK", "Content-Type: text/html"),
        says(b"<html>log in</html>", "200 OK", PROTOBUF),
        says(b"", "302 Found", "Location: /login"),
        says(b"", "204 No Content"),
        says(b"", "202 Accepted", PROTOBUF),
        says(b"", "200 OK"),
        says(b"{}", "200 OK", "Content-Type: application/json"),
    ],
    ids=["html", "html_as_protobuf", "redirect", "no_content", "202", "untyped", "json"],
)
async def test_fault_050_what_is_no_otlp_answer_is_rejected(build, answer, tmp_path):
    receipt, requests = await receipt_of(build, tmp_path, answer)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.NOT_OTLP)
    assert (receipt.tries, len(requests)) == (1, 1)


async def test_fault_051_partial_success_with_rejections_is_rejected_and_never_retried(
    build, tmp_path
):
    answer = says(build_reply(Signal.LOGS, 1, "line too long"), "200 OK", PROTOBUF)
    receipt, requests = await receipt_of(build, tmp_path, answer)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.PARTIAL_SUCCESS)
    assert "line too long" in receipt.detail
    assert len(requests) == 1


async def test_fault_051_a_message_without_rejections_is_accepted_with_the_message(build, tmp_path):
    answer = says(build_reply(Signal.LOGS, 0, "use the other port"), "200 OK", PROTOBUF)
    receipt, _ = await receipt_of(build, tmp_path, answer)
    assert (receipt.sent, receipt.detail) == (Sent.ACCEPTED, "use the other port")


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "413 Too Large", "500 No"])
async def test_a_status_that_must_not_be_retried_is_final(build, status, tmp_path):
    receipt, requests = await receipt_of(build, tmp_path, says(b"no", status), ACCEPTED)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
    assert len(requests) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_retryable_status_is_tried_again_under_the_same_deadline(build, status, tmp_path):
    receipt, requests = await receipt_of(build, tmp_path, says(b"", f"{status} No"), ACCEPTED)
    assert (receipt.sent, receipt.first_try) == (Sent.ACCEPTED, Sent.REJECTED)
    assert (receipt.tries, len(requests)) == (2, 2)


async def test_three_tries_are_all(build, tmp_path):
    receipt, requests = await receipt_of(build, tmp_path, says(b"", "503 No"))
    assert (receipt.sent, receipt.tries, len(requests)) == (Sent.REJECTED, 3, 3)


async def test_a_wait_beyond_the_deadline_is_throttling(build, tmp_path):
    answer = says(b"", "503 No", "Retry-After: 60")
    receipt, requests = await receipt_of(build, tmp_path, answer, ACCEPTED)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.THROTTLED)
    assert len(requests) == 1


async def test_credentials_that_are_refused_are_rejected_as_auth(build, tmp_path):
    receipt, _ = await receipt_of(build, tmp_path, says(b"", "401 Unauthorized"))
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.AUTH)


async def test_a_port_that_refuses_is_rejected(build, tmp_path):
    async with real_parts(tmp_path, QuickRandom()) as parts:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        receipt = await build(parts, url).send(canary_of(Signal.LOGS), 3.0)
        assert (receipt.sent, receipt.tries, receipt.silent) == (Sent.REJECTED, 3, False)


async def test_accepted_and_silent_is_unknown_and_says_so(build, tmp_path):
    receipt, _ = await receipt_of(build, tmp_path, silence, deadline_s=0.5)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.MAYBE_SENT)
    assert receipt.silent
    assert receipt.elapsed_s < 1.5


async def test_a_reset_after_the_request_stays_possible_even_when_a_retry_is_refused(
    build, tmp_path
):
    receipt, requests = await receipt_of(build, tmp_path, reset, says(b"", "400 No"))
    assert receipt.sent is Sent.MAYBE
    assert len(requests) == 2


async def test_a_reset_and_then_an_acceptance_is_accepted(build, tmp_path):
    receipt, _ = await receipt_of(build, tmp_path, reset, ACCEPTED)
    assert (receipt.sent, receipt.first_try, receipt.tries) == (Sent.ACCEPTED, Sent.MAYBE, 2)


@pytest.mark.parametrize("kind", sorted(BACKENDS.entries))
async def test_a_backends_own_rule_decides_what_it_accepts(build, kind, tmp_path):
    adapter = BACKENDS.load(kind)
    written = {"url": "http://127.0.0.1:1"}
    if "write_url" in adapter.options_model.model_fields:
        written["write_url"] = written["url"]
    rule = adapter.write_rules(adapter.options_model.model_validate(written))["otlp_http"]
    signal = min(rule.paths)
    for status in (200, 202, 204):
        answer = says(b"", f"{status} Status")
        receipt, requests = await receipt_of(build, tmp_path, answer, signal=signal, rule=rule)
        fine = status in rule.accepted_status and rule.empty_body
        assert receipt.sent is (Sent.ACCEPTED if fine else Sent.REJECTED), (kind, status)
        assert f" {rule.paths[signal]} " in requests[0]


async def test_a_signal_that_the_receiver_does_not_take_is_rejected_unsent(build, tmp_path):
    rule = WriteRule("", {Signal.LOGS: "/v1/logs"}, frozenset({200}), empty_body=False)
    receipt, requests = await receipt_of(build, tmp_path, ACCEPTED, signal=Signal.TRACES, rule=rule)
    assert (receipt.sent, requests) == (Sent.REJECTED, [])


async def test_neither_an_address_nor_a_backend_is_an_error(build, tmp_path):
    async with real_parts(tmp_path) as parts:
        with pytest.raises(CoalmineError):
            build(parts, "")


class Recorder:
    """An HTTP client that answers from a list and keeps what it was asked, without a network."""

    def __init__(self, clock, *answers):
        self.clock, self.answers, self.requests = clock, list(answers), []

    async def fetch(self, request):
        self.requests.append(request)
        return self.answers.pop(0)

    async def close(self):
        pass


def response(status, body=b"", **headers):
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Response(status, pairs, body, (), 0.01)


def injector_with(tmp_path, clock, *answers, **options):
    outbound = Recorder(clock, *answers)
    model = OtlpHttpOptions.model_validate({"url": "http://127.0.0.1:4318/", **options})
    tls = model.tls_parameters(tmp_path)
    rule = WriteRule("", DEFAULT_PATHS, frozenset({200}), empty_body=False)
    return OtlpHttpInjector(model, rule, tls, outbound, clock, random.Random(3)), outbound


async def test_pauses_double_with_full_jitter_and_the_rest_of_the_deadline_is_passed_on(tmp_path):
    clock = VirtualClock()
    answers = [response(503), response(503), response(200, content_type=CONTENT_TYPE)]
    injector, outbound = injector_with(tmp_path, clock, *answers)
    task = asyncio.create_task(injector.send(canary_of(Signal.LOGS), 10.0))
    await clock.advance(1.5)
    assert task.done(), "pauses of at most 0.5 s and 1 s"
    deadlines = [request.deadline_s for request in outbound.requests]
    assert deadlines[0] == 10.0
    assert deadlines[0] > deadlines[1] > deadlines[2] >= 8.5
    assert (await task).sent is Sent.ACCEPTED


async def test_a_wait_that_fits_is_kept_to_the_second(tmp_path):
    clock = VirtualClock()
    answers = [response(429, retry_after="4"), response(200, content_type=CONTENT_TYPE)]
    injector, outbound = injector_with(tmp_path, clock, *answers)
    task = asyncio.create_task(injector.send(canary_of(Signal.LOGS), 10.0))
    await clock.advance(3.9)
    assert len(outbound.requests) == 1
    await clock.advance(0.2)
    assert (await task).sent is Sent.ACCEPTED


async def test_our_own_trouble_is_never_called_a_rejection(tmp_path):
    clock = VirtualClock()
    ours = Trouble(Reason.DESCRIPTORS, "no descriptors", True, False, None, (), 0.0)
    injector, _ = injector_with(tmp_path, clock, ours, ours, ours)
    task = asyncio.create_task(injector.send(canary_of(Signal.LOGS), 10.0))
    await clock.advance(5)
    receipt = await task
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.DESCRIPTORS)


async def test_the_request_carries_tenant_credentials_and_a_body_that_can_be_parsed(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TOKEN", "t0ken")
    injector, outbound = injector_with(
        tmp_path,
        VirtualClock(),
        response(200, content_type=CONTENT_TYPE),
        tenant="team-a",
        auth={"bearer": "env:TOKEN"},
        compression="gzip",
    )
    canary = canary_of(Signal.LOGS)
    await injector.send(canary, 10.0)
    (request,) = outbound.requests
    headers = dict(request.headers)
    assert headers["X-Scope-OrgID"] == "team-a"
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["Content-Encoding"] == "gzip"
    assert request.url == "http://127.0.0.1:4318/v1/logs"
    sent = parse_request(Signal.LOGS, gzip.decompress(request.body))
    (record,) = sent.resource_logs[0].scope_logs[0].log_records
    assert record.body.string_value == canary.body
    assert record.trace_id == canary.trace_id
    assert "t0ken" not in repr(injector)


def test_a_metrics_canary_is_a_constant_series_with_an_exemplar_of_the_trace():
    from selfcheck.otlp import build_request

    points = []
    for seq in (1, 2):
        canary = canary_of(Signal.METRICS, seq)
        request = build_request(canary)
        metric = request.resource_metrics[0].scope_metrics[0].metrics[0]
        (point,) = metric.gauge.data_points
        assert metric.name == "coalmine_canary"
        assert point.as_double == seq
        assert point.exemplars[0].trace_id == canary.trace_id
        points.append({pair.key: pair.value.string_value for pair in point.attributes})
    assert points[0] == points[1]
