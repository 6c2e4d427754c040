"""The real SDK as a route of its own: what leaves, what is never concluded, what it must not touch.

Failure modes 5, 20, 23 and 41 of canaries, and the fact that all else here stands on: the SDK's
`force_flush` says True whatever became of the export.
"""

import asyncio
import logging
import os
import ssl
import subprocess
import sys
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import grpc
import pytest
import trustme
from opentelemetry import _logs, metrics, trace
from pydantic import ValidationError

from core.egress import Egress
from core.errors import CoalmineError
from core.outbound.protocol import Tls
from core.reason import Reason
from selfcheck import otlp
from selfcheck.backends.embedded import EmbeddedBackend
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import CanaryKey, Sent, Signal
from selfcheck.embedded.store import EmbeddedStore
from selfcheck.injectors.sdk import SdkInjector, SdkOptions
from selfcheck.injectors.sdk.ears import Ears
from selfcheck.injectors.sdk.engine import made
from selfcheck.injectors.sdk.target import Target
from tests.fakes.grpc_receiver import broken, echoes, receiver, refuses, says
from tests.fakes.hostile import hostile, reset, silence
from tests.fakes.hostile import says as answers
from tests.fakes.http_server import endless, reply, serving
from tests.support.canaries import INSTANCE, SERVICE, canary_of, question_of
from tests.support.parts import real_parts
from tests.support.tree import ROOT

LEAKS = {
    "OTEL_SDK_DISABLED": "true",
    "OTEL_RESOURCE_ATTRIBUTES": "leak=resource",
    "OTEL_SERVICE_NAME": "leak",
    "OTEL_TRACES_SAMPLER": "always_off",
    "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": "1",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3",
    "OTEL_BSP_MAX_QUEUE_SIZE": "nonsense",
    "OTEL_BLRP_SCHEDULE_DELAY": "nonsense",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    "OTEL_EXPORTER_OTLP_HEADERS": "leak=header",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "0.001",
    "OTEL_EXPORTER_OTLP_INSECURE": "false",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/nowhere",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/nowhere",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "grpc_proxy": "http://127.0.0.1:1",
    "REQUESTS_CA_BUNDLE": "/nowhere",
}


def options_of(url, **written):
    return SdkOptions.model_validate({"url": url, **written})


def unstamped_of(seq=1, route="r1"):
    """A metrics canary that is known by its value, as this kind's are."""
    key = CanaryKey(route, 7, seq)
    stamp = canary_of(Signal.LOGS).stamp_ns
    return make_canary(INSTANCE, "t", key, seq, Signal.METRICS, stamp, SERVICE, stamped=False)


def canary_for(signal, seq=1):
    return unstamped_of(seq) if signal is Signal.METRICS else canary_of(signal, seq)


@asynccontextmanager
async def injector_at(url, tmp_path, **written):
    """An injector that is closed at the end, whose threads are then gone."""
    async with real_parts(tmp_path) as parts:
        injector = SdkInjector.build(options_of(url, **written), parts, None)
        try:
            yield injector
        finally:
            await injector.close()


async def receipt_at(url, tmp_path, deadline_s=5.0, signal=Signal.LOGS, **written):
    async with injector_at(url, tmp_path, **written) as injector:
        return await injector.send(canary_for(signal), deadline_s)


def own_threads():
    return [t for t in threading.enumerate() if t.name.startswith(("Otel", "coalmine-sdk"))]


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Every test: no thread of the SDK's stays, no global provider is set, loggers are as before."""
    yield
    for thread in own_threads():
        thread.join(1)  # its work is done: only the thread's own last step may be left
    assert own_threads() == []
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert type(metrics.get_meter_provider()).__name__ == "_ProxyMeterProvider"
    assert type(_logs.get_logger_provider()).__name__ == "ProxyLoggerProvider"
    logger = logging.getLogger("opentelemetry")
    assert (logger.handlers, logger.propagate) == ([], True)


# -- what leaves


def content(signal, request):
    """Resource, ids, stamps, text and attributes of the one record in an export request."""
    if signal is Signal.LOGS:
        (group,) = request.resource_logs
        (record,) = group.scope_logs[0].log_records
        stamps = (record.time_unix_nano, record.observed_time_unix_nano)
        own = (record.trace_id, record.span_id, stamps, record.body.string_value)
        own += (record.severity_number, otlp.attribute_map(record.attributes))
    elif signal is Signal.TRACES:
        (group,) = request.resource_spans
        (record,) = group.scope_spans[0].spans
        stamps = (record.start_time_unix_nano, record.end_time_unix_nano)
        own = (record.trace_id, record.span_id, stamps, record.name, record.kind)
        own += (record.parent_span_id, otlp.attribute_map(record.attributes))
    else:
        (group,) = request.resource_metrics
        (metric,) = group.scope_metrics[0].metrics
        (record,) = metric.gauge.data_points
        (exemplar,) = record.exemplars
        own = (metric.name, record.as_double, exemplar.trace_id, exemplar.span_id)
        own += (exemplar.as_double, otlp.attribute_map(exemplar.filtered_attributes))
        own += (otlp.attribute_map(record.attributes),)
    return (otlp.attribute_map(group.resource.attributes), *own)


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("signal", list(Signal))
async def test_the_record_is_the_canarys_own_over_grpc(signal, compression, tmp_path):
    canary = canary_for(signal)
    async with receiver(says()) as server:
        written = {"protocol": "grpc", "compression": compression}
        async with injector_at(server.url, tmp_path, **written) as injector:
            receipt = await injector.send(canary, 5.0)
    (call,) = server.calls
    sent = otlp.parse_request(signal, call.body)
    assert content(signal, sent) == content(signal, otlp.build_request(canary))
    assert (receipt.sent, receipt.reason, receipt.detail) == (Sent.ACCEPTED, Reason.OK, "")
    assert receipt.body_bytes > 0


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("signal", list(Signal))
async def test_the_record_arrives_unaltered_over_http(signal, compression, tmp_path):
    canary = canary_for(signal)
    async with real_parts(tmp_path) as parts:
        store = EmbeddedStore(parts.clock, parts.rng)
        await store.start()
        options = options_of(store.url, compression=compression)
        injector = SdkInjector.build(options, parts, None)
        receipt = await injector.send(canary, 5.0)
        backend = EmbeddedBackend.build(
            EmbeddedBackend.options_model.model_validate({"url": store.url}), parts
        )
        stamped = signal not in SdkInjector.unstamped
        question = question_of(canary)
        question = replace(question, stamped=stamped, end_ns=question.end_ns + 10**10)
        for path in backend.declaration.paths_for(signal):
            reading = await backend.read(question, path, 5.0)
            (sighting,) = reading.sightings
            assert same_record(canary, sighting, 1, stamped=stamped)
            assert difference(canary, [sighting]) == ""
        await injector.close()
        await store.stop()
    assert receipt.sent is Sent.ACCEPTED


async def test_a_series_stays_one_over_many_canaries(tmp_path):
    """Each canary is exported once, and no old value is sent again under a new stamp."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(receiver(says()))
        at = injector_at(server.url, tmp_path, protocol="grpc")
        injector = await stack.enter_async_context(at)
        for seq in range(1, 6):
            await injector.send(unstamped_of(seq), 5.0)
    seen = [
        content(Signal.METRICS, otlp.parse_request(Signal.METRICS, c.body)) for c in server.calls
    ]
    assert [one[2] for one in seen] == [unstamped_of(seq).value for seq in range(1, 6)]
    assert len({repr(one[-1]) for one in seen}) == 1


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("signal", list(Signal))
async def test_nothing_of_the_hosts_environment_leaks_in(signal, protocol, tmp_path, monkeypatch):
    for name, value in LEAKS.items():
        monkeypatch.setenv(name, value)
    canary = canary_for(signal)
    if protocol == "grpc":
        async with receiver(says()) as server:
            receipt = await receipt_at(server.url, tmp_path, signal=signal, protocol=protocol)
        (call,) = server.calls
        sent = otlp.parse_request(signal, call.body)
        expected = content(signal, otlp.build_request(canary_for(signal)))
        stamps = [type(one) is tuple for one in expected]
        got = content(signal, sent)
        assert [g for g, s in zip(got, stamps, strict=True) if not s] == [
            e for e, s in zip(expected, stamps, strict=True) if not s
        ]
        assert "leak" not in call.metadata
    else:
        async with hostile(answers(b"", "200 OK", f"Content-Type: {otlp.CONTENT_TYPE}")) as server:
            receipt = await receipt_at(server.url, tmp_path, signal=signal)
        (head,) = server.requests
        assert "leak" not in head
        assert "content-encoding" not in head.lower()
    assert (receipt.sent, receipt.detail) == (Sent.ACCEPTED, "")
    assert canary.signal is signal


# -- what is never concluded


def flushed(url, signal, ears, timeout_s=1.0):
    """What the SDK's own `force_flush` returns for an export to `url`."""
    target = Target(f"{url}{otlp.DEFAULT_PATHS[signal]}", (), Tls(), False, timeout_s)
    pipeline = made("http", target, canary_for(signal), ears)
    pipeline.take(canary_for(signal))
    try:
        return pipeline._provider.force_flush(5000)
    finally:
        pipeline.shutdown()


@pytest.mark.parametrize("signal", list(Signal))
async def test_the_sdk_calls_every_failed_export_a_success(signal):
    """The fact: refused, 400, 503, a black hole, a login page and a full rejection are all True."""
    ears = Ears()
    ears.open()
    rejects_all = answers(
        otlp.build_reply(signal, 1, "no"), "200 OK", f"Content-Type: {otlp.CONTENT_TYPE}"
    )
    cases = [answers(b"", "400 No"), answers(b"", "503 No", "Retry-After: 60"), silence]
    cases += [answers(b"<html>", "200 OK", "Content-Type: text/html"), rejects_all]
    try:
        assert await asyncio.to_thread(flushed, "http://127.0.0.1:1", signal, ears) is True
        for case in cases:
            async with hostile(case) as server:
                assert await asyncio.to_thread(flushed, server.url, signal, ears) is True
    finally:
        ears.close()


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (answers(b"no", "400 Bad Request"), "400"),
        (answers(b"", "401 Unauthorized"), "401"),
        (answers(b"", "503 No", "Retry-After: 60"), "Failed to export"),
        (reset, "Failed to export"),
        (answers(b"<html>", "200 OK", "Content-Type: text/html"), ""),
        (answers(otlp.build_reply(Signal.LOGS, 1, "no"), "200 OK", "Content-Type: x"), ""),
    ],
    ids=["400", "401", "503", "reset", "login_page", "partial_success"],
)
async def test_mode_20_what_the_receiver_says_is_a_hint_and_never_a_verdict(answer, hint, tmp_path):
    async with hostile(answer) as server:
        receipt = await receipt_at(server.url, tmp_path, export_timeout="500ms")
    assert (receipt.sent, receipt.reason, receipt.silent) == (Sent.ACCEPTED, Reason.OK, False)
    assert hint in receipt.detail


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_a_port_that_refuses_is_no_rejection_either(protocol, tmp_path):
    url = "http://127.0.0.1:1"
    receipt = await receipt_at(url, tmp_path, protocol=protocol, export_timeout="500ms")
    assert receipt.sent is Sent.ACCEPTED
    assert "Failed to export" in receipt.detail


async def test_the_receivers_word_over_grpc_is_a_hint_too(tmp_path):
    async with receiver(refuses("PERMISSION_DENIED", "not you")) as server:
        receipt = await receipt_at(server.url, tmp_path, protocol="grpc")
    assert receipt.sent is Sent.ACCEPTED
    assert "not you" in receipt.detail


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_a_flush_that_hangs_is_unknown_and_says_so(protocol, tmp_path):
    if protocol == "http":
        async with hostile(silence) as server:
            receipt = await receipt_at(server.url, tmp_path, 0.5, export_timeout="1s")
    else:
        async with broken("deaf") as server:
            receipt = await receipt_at(
                server.url, tmp_path, 0.5, protocol="grpc", export_timeout="1s"
            )
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.MAYBE_SENT)
    assert receipt.silent
    assert 0.5 <= receipt.elapsed_s < 1.5


async def test_canaries_behind_a_hanging_flush_are_taken_and_leave_when_it_ends(tmp_path):
    """One flush at a time: a stuck receiver costs one thread, and no canary."""
    fine = answers(b"", "200 OK", f"Content-Type: {otlp.CONTENT_TYPE}")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(hostile(silence, fine))
        at = injector_at(server.url, tmp_path, export_timeout="1s")
        injector = await stack.enter_async_context(at)
        first = await injector.send(canary_of(Signal.LOGS, 1), 0.3)
        second = await injector.send(canary_of(Signal.LOGS, 2), 0.3)
        assert (first.silent, second.silent) == (True, True)
        assert [t.name for t in own_threads()].count("coalmine-sdk-flush") == 1
        third = await injector.send(canary_of(Signal.LOGS, 3), 5.0)
    assert third.sent is Sent.ACCEPTED
    assert len(server.requests) >= 2


async def test_a_receiver_that_drips_does_not_outlast_the_deadline(tmp_path):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\r\n"
    async with serving(endless(head, b" ", every_s=0.05)) as server:
        receipt = await receipt_at(server.url(""), tmp_path, 0.5, export_timeout="1s")
    assert (receipt.sent, receipt.silent) == (Sent.MAYBE, True)
    for thread in own_threads():
        await asyncio.to_thread(thread.join, 5)  # the drip ended with the server


async def test_settings_that_the_exporter_cannot_read_are_our_own_doing(tmp_path, monkeypatch):
    """The one variable that still gets through: it is parsed, though it is not used."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "nonsense")
    receipt = await receipt_at("http://127.0.0.1:1", tmp_path, protocol="grpc")
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.HARNESS)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "1")
    async with receiver(says()) as server:
        receipt = await receipt_at(server.url, tmp_path, protocol="grpc")
    assert receipt.sent is Sent.ACCEPTED


async def test_canaries_at_the_same_time_are_all_sent(tmp_path):
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(receiver(says()))
        at = injector_at(server.url, tmp_path, protocol="grpc")
        injector = await stack.enter_async_context(at)
        sends = [injector.send(canary_of(Signal.TRACES, seq), 5.0) for seq in range(1, 21)]
        receipts = await asyncio.gather(*sends)
    assert {receipt.sent for receipt in receipts} == {Sent.ACCEPTED}
    arrived = [
        span.span_id
        for call in server.calls
        for span in otlp.parse_request(Signal.TRACES, call.body)
        .resource_spans[0].scope_spans[0].spans
    ]  # fmt: skip
    assert sorted(arrived) == sorted(canary_of(Signal.TRACES, n).span_id for n in range(1, 21))


# -- what it must not touch


def test_nothing_is_printed_and_the_process_ends_beside_a_hanging_export(tmp_path):
    """In a process of its own: refused, then a black hole that outlasts the process."""
    code = (
        "import asyncio, sys; from pathlib import Path;"
        "from tests.contracts.injectors.test_sdk import two_failures;"
        "asyncio.run(two_failures(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, timeout=20,
        capture_output=True, text=True, env=os.environ | {"OTEL_LOG_LEVEL": "debug"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("accepted\nmaybe\n", "")


async def two_failures(folder):
    async with real_parts(folder) as parts:
        refused = SdkInjector.build(
            options_of("http://127.0.0.1:1", export_timeout="1s"), parts, None
        )
        print((await refused.send(canary_of(Signal.LOGS), 5.0)).sent)
        await refused.close()
        async with hostile(silence) as server:
            hanging = SdkInjector.build(options_of(server.url, export_timeout="60s"), parts, None)
            print((await hanging.send(canary_of(Signal.LOGS), 0.5)).sent)


async def test_what_others_log_goes_its_way(tmp_path, caplog):
    """Our own telemetry uses the same loggers: only the threads of the injector are told apart."""
    elsewhere = logging.getLogger("opentelemetry.exporter.somebody")
    async with injector_at("http://127.0.0.1:1", tmp_path, export_timeout="500ms") as injector:
        receipt = await injector.send(canary_of(Signal.LOGS), 5.0)
        elsewhere.warning("not the injector's")
    assert "Failed to export" in receipt.detail
    assert [record.getMessage() for record in caplog.records] == ["not the injector's"]


def test_the_library_is_loaded_only_when_such_an_injector_is_built():
    code = (
        "import sys, selfcheck.injectors.sdk as kind; kind.SdkOptions(url='http://127.0.0.1:4318');"
        "assert not {'grpc', 'requests', 'opentelemetry.sdk'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=30)


# -- who may be spoken to, and with what


async def test_what_the_guard_denies_is_never_handed_over(tmp_path):
    receipt = await receipt_at("http://169.254.169.254:4318", tmp_path, deadline_s=1.0)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.EGRESS)
    async with hostile(answers(b"")) as server, real_parts(tmp_path) as parts:
        port = int(server.url.rpartition(":")[2])
        guarded = replace(parts, egress=Egress((), own=(("127.0.0.1", port),)))
        injector = SdkInjector.build(options_of(server.url), guarded, None)
        receipt = await injector.send(canary_of(Signal.LOGS), 1.0)
        await injector.close()
    assert (receipt.reason, server.requests) == (Reason.EGRESS, [])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_mode_41_credentials_are_sent_read_again_and_never_told(protocol, tmp_path):
    token = tmp_path / "token"
    token.write_text("t0ken-one")
    written = {
        "tenant": "team-a",
        "auth": {"bearer_file": str(token)},
        "protocol": protocol,
        "export_timeout": "500ms",
    }

    async def both(url):
        async with injector_at(url, tmp_path, **written) as injector:
            yield await injector.send(canary_of(Signal.LOGS, 1), 5.0)
            token.write_text("t0ken-two")
            yield await injector.send(canary_of(Signal.LOGS, 2), 5.0)
            token.write_text("")
            yield await injector.send(canary_of(Signal.LOGS, 3), 5.0)

    if protocol == "grpc":
        async with receiver(echoes("authorization")) as server:
            receipts = [receipt async for receipt in both(server.url)]
        told = [(c.metadata["authorization"], c.metadata["x-scope-orgid"]) for c in server.calls]
        assert told == [("Bearer t0ken-one", "team-a"), ("Bearer t0ken-two", "team-a")]
    else:
        async with hostile(answers(b"no", "400 t0ken-one t0ken-two")) as server:
            receipts = [receipt async for receipt in both(server.url)]
        assert ["t0ken-one" in head for head in server.requests] == [True, False]
        assert ["t0ken-two" in head for head in server.requests] == [False, True]
        assert all("team-a" in head for head in server.requests)
    assert "t0ken-one" not in receipts[0].detail
    assert "t0ken-two" not in receipts[1].detail
    assert (receipts[2].sent, receipts[2].reason) == (Sent.REJECTED, Reason.AUTH)


async def test_a_signal_that_the_receiver_does_not_take_is_rejected_unsent(tmp_path):
    fine = answers(b"", "200 OK", f"Content-Type: {otlp.CONTENT_TYPE}")
    async with hostile(fine) as server, real_parts(tmp_path) as parts:
        paths = {Signal.TRACES: "/own/traces"}
        rule = WriteRule(server.url, paths, frozenset({200}), False, (("X-Own", "1"),))
        injector = SdkInjector.build(options_of(""), parts, rule)
        logs = await injector.send(canary_of(Signal.LOGS), 5.0)
        traces = await injector.send(canary_of(Signal.TRACES), 5.0)
        await injector.close()
        with pytest.raises(CoalmineError):
            SdkInjector.build(options_of(""), parts, None)
    assert (logs.sent, traces.sent) == (Sent.REJECTED, Sent.ACCEPTED)
    (head,) = server.requests
    assert head.startswith("POST /own/traces ")
    assert "x-own: 1" in head.lower()


@pytest.mark.parametrize(
    "written",
    [
        {"url": "https://a:4318", "tls": {"insecure": "lab"}},
        {"url": "http://a", "protocol": "grpc"},
        {"url": "http://me:pw@a:4318"},
    ],
)
def test_what_the_sdk_cannot_do_is_a_config_error(written):
    with pytest.raises(ValidationError):
        SdkOptions.model_validate(written)


# -- TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def tls_files(folder, ca):
    ours = ca.issue_cert("client.example")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    ours.private_key_pem.write_to_path(folder / "key.pem")
    ours.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    trusting = {"ca_file": "ca.pem"}
    return trusting, trusting | {"cert_file": "cert.pem", "key_file": "key.pem"}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_certificates_are_verified_and_shown_as_configured(authority, protocol, tmp_path):
    trusting, showing = tls_files(tmp_path, authority)
    issued = authority.issue_cert("localhost")

    async def arrivals(url, came):
        found = []
        for tls in (None, trusting, showing):
            written = {"protocol": protocol, "tls": tls, "export_timeout": "1s"}
            receipt = await receipt_at(url, tmp_path, **written)
            assert receipt.sent is Sent.ACCEPTED
            found.append((len(came), receipt.detail == ""))
        return found

    if protocol == "grpc":
        pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
        credentials = grpc.ssl_server_credentials([pair], authority.cert_pem.bytes(), True)
        async with receiver(says(), credentials=credentials) as server:
            url = f"https://localhost:{server.origin.rpartition(':')[2]}"
            found = await arrivals(url, server.calls)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        async with serving(reply(body=b""), context) as server:
            found = await arrivals(server.url("", "localhost"), server.heads)
    assert found == [(0, False), (0, False), (1, True)]


async def test_a_certificate_file_that_is_gone_is_our_own_doing(tmp_path):
    written = {"protocol": "grpc", "tls": {"ca_file": "nowhere.pem"}}
    receipt = await receipt_at("https://127.0.0.1:1", tmp_path, **written)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.TLS)
