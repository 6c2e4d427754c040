"""Every form of OTLP that we send, through a real Collector into real stores, and straight to some.

Arrived means: found by id, or for a metric that the SDK stamped by value, with nothing altered.
"""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from core.reason import Reason
from deploy.stack.launch import TENANT
from selfcheck.backends.protocol import BACKENDS
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import CanaryKey, Sent, Signal
from selfcheck.injectors.protocol import INJECTORS
from tests.support.canaries import INSTANCE, SERVICE, canary_of, question_of
from tests.support.parts import real_parts
from tests.support.servers import stack_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(90)]

STORES = {Signal.LOGS: "loki", Signal.METRICS: "prometheus", Signal.TRACES: "jaeger"}
FORMS = {
    "http-json": ("otlp_http", "http", {"encoding": "json"}),
    "http-json-gzip": ("otlp_http", "http", {"encoding": "json", "compression": "gzip"}),
    "http-protobuf-gzip": ("otlp_http", "http", {"compression": "gzip"}),
    "grpc": ("otlp_grpc", "grpc", {}),
    "grpc-gzip": ("otlp_grpc", "grpc", {"compression": "gzip"}),
    "sdk-http": ("sdk", "http", {"protocol": "http"}),
    "sdk-http-gzip": ("sdk", "http", {"protocol": "http", "compression": "gzip"}),
    "sdk-grpc": ("sdk", "grpc", {"protocol": "grpc"}),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with stack_of(tmp_path_factory.mktemp("stack"), "otelcol", *STORES.values()) as running:
        yield running


def fresh_canary(signal, kind):
    """One of a route that no test before has used, stamped as canaries of this kind are."""
    stamped = signal not in INJECTORS.load(kind).unstamped
    key = CanaryKey(f"form-{time.time_ns()}", 9, 1)
    stamp = time.time_ns()
    made = make_canary(INSTANCE, "t", key, 1, signal, stamp, SERVICE, stamped=stamped)
    return made, stamped


@asynccontextmanager
async def injector(parts, kind, **written):
    known = INJECTORS.load(kind)
    built = known.build(known.options_model.model_validate(written), parts, None)
    try:
        yield built
    finally:
        await built.close()


async def arrived(parts, kind, canary, stamped, **written):
    """The sighting of a canary by the backend's first path, once it is there."""
    known = BACKENDS.load(kind)
    backend = known.build(known.options_model.model_validate(written), parts)
    async with asyncio.timeout(20):
        while True:
            question = replace(question_of(canary), stamped=stamped)
            if not stamped:
                question = replace(question, end_ns=time.time_ns() + 10**9)
            path = backend.declaration.paths_for(canary.signal)[0]
            reading = await backend.read(question, path, 5.0)
            if reading.sightings:
                (sighting,) = reading.sightings
                assert same_record(
                    canary, sighting, backend.declaration.precision_ns, stamped=stamped
                )
                return sighting


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("signal", list(Signal))
async def test_a_canary_of_every_form_passes_the_collector_unaltered(stack, form, signal, tmp_path):
    kind, port, written = FORMS[form]
    canary, stamped = fresh_canary(signal, kind)
    url = f"http://127.0.0.1:{stack['otelcol'].ports[port]}"
    store = STORES[signal]
    reading = {"url": stack[store].url()} | ({"tenant": TENANT} if store == "loki" else {})
    async with real_parts(tmp_path) as parts, injector(parts, kind, url=url, **written) as one:
        receipt = await one.send(canary, 5.0)
        assert (receipt.sent, receipt.detail, receipt.tries) == (Sent.ACCEPTED, "", 1)
        sighting = await arrived(parts, store, canary, stamped, **reading)
    assert sighting.hop_stamps == {"gateway": "seen"}
    assert difference(canary, [sighting]) == ""
    if signal is Signal.METRICS:
        assert sighting.value == canary.value
    else:
        assert sighting.attributes.keys() & canary.attributes.keys(), "nothing was compared"


async def test_loki_and_jaeger_take_json_themselves(stack, tmp_path):
    async with real_parts(tmp_path) as parts:
        logs, traces = canary_of(Signal.LOGS, route="j"), canary_of(Signal.TRACES, route="j")
        loki, jaeger = stack["loki"].url(), stack["jaeger"].url("otlp")
        ways = ((logs, "loki", loki), (traces, "jaeger", jaeger))
        for canary, kind, write_url in ways:
            model = BACKENDS.load(kind)
            read = {"url": stack[kind].url()} | ({"tenant": TENANT} if kind == "loki" else {})
            own = {"write_url": write_url} if kind == "jaeger" else {}
            options = model.options_model.model_validate(read | own)
            rule = model.write_rules(options)["otlp_http"]
            known = INJECTORS.load("otlp_http")
            written = {"encoding": "json"} | ({"tenant": TENANT} if kind == "loki" else {})
            built = known.build(known.options_model.model_validate(written), parts, rule)
            receipt = await built.send(canary, 5.0)
            assert receipt.sent is Sent.ACCEPTED, (kind, receipt)
            sighting = await arrived(parts, kind, canary, True, **read)
            assert difference(canary, [sighting]) == ""


async def test_victoria_metrics_refuses_json_and_that_is_a_rejection(tmp_path, tmp_path_factory):
    with stack_of(tmp_path_factory.mktemp("vm"), "victoria-metrics") as running:
        async with real_parts(tmp_path) as parts:
            url = running["victoria-metrics"].url() + "/opentelemetry"
            written = {"url": url, "encoding": "json"}
            async with injector(parts, "otlp_http", **written) as one:
                receipt = await one.send(canary_of(Signal.METRICS), 5.0)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
    assert receipt.detail.startswith("HTTP 400")
    assert receipt.tries == 1


async def test_a_stopped_collector_rejects_and_a_frozen_one_is_silent_over_grpc(stack, tmp_path):
    url = f"http://127.0.0.1:{stack['otelcol'].ports['grpc']}"
    async with real_parts(tmp_path) as parts, injector(parts, "otlp_grpc", url=url) as one:
        assert (await one.send(canary_of(Signal.LOGS), 5.0)).sent is Sent.ACCEPTED
        stack.freeze("otelcol")
        try:
            # On the connection that stood, and on a new one, which the kernel still accepts.
            held = await one.send(canary_of(Signal.LOGS), 1.0)
            async with injector(parts, "otlp_grpc", url=url) as other:
                anew = await other.send(canary_of(Signal.LOGS), 1.0)
            async with injector(parts, "sdk", url=url, protocol="grpc") as real:
                sdk = await real.send(canary_of(Signal.LOGS), 1.0)
        finally:
            stack.thaw("otelcol")
        assert [(r.sent, r.silent) for r in (held, anew, sdk)] == [(Sent.MAYBE, True)] * 3
        await asyncio.to_thread(stack.stop, "otelcol")
        try:
            gone = await one.send(canary_of(Signal.LOGS), 3.0)
            assert (gone.sent, gone.reason, gone.silent) == (
                Sent.REJECTED, Reason.REFUSED, False,
            )  # fmt: skip
        finally:
            await asyncio.to_thread(stack.start, "otelcol")
        assert (await one.send(canary_of(Signal.LOGS), 5.0)).sent is Sent.ACCEPTED


async def test_the_collectors_own_words_over_grpc_are_a_rejection(stack, tmp_path):
    """A signal without a pipeline is a service that the Collector does not have."""
    before = stack.plan
    only_traces = replace(before, targets={"traces": before.targets["traces"]})
    await asyncio.to_thread(stack.reconfigure, only_traces)
    try:
        url = f"http://127.0.0.1:{stack['otelcol'].ports['grpc']}"
        async with real_parts(tmp_path) as parts, injector(parts, "otlp_grpc", url=url) as one:
            receipt = await one.send(canary_of(Signal.LOGS), 5.0)
    finally:
        await asyncio.to_thread(stack.reconfigure, before)
    assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.REJECTED, Reason.NOT_OTLP, 1)
    assert "UNIMPLEMENTED" in receipt.detail
