"""Canaries through a real Collector into real stores, and the faults that a test can make there."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from deploy.stack.launch import TENANT
from selfcheck.backends.protocol import BACKENDS
from selfcheck.canary.compare import difference
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors.otlp_http import OtlpHttpInjector, OtlpHttpOptions
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts
from tests.support.servers import stack_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(90)]

STORES = {Signal.LOGS: "loki", Signal.METRICS: "prometheus", Signal.TRACES: "jaeger"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with stack_of(tmp_path_factory.mktemp("stack"), "otelcol", *STORES.values()) as running:
        yield running


@asynccontextmanager
async def ends(stack, tmp_path):
    """An injector for the Collector, and a reader by signal."""
    async with real_parts(tmp_path) as parts:
        inject = OtlpHttpInjector.build(OtlpHttpOptions(url=stack["otelcol"].url()), parts, None)

        def reader(signal):
            kind = BACKENDS.load(STORES[signal])
            written = {"url": stack[STORES[signal]].url()}
            written |= {"tenant": TENANT} if signal is Signal.LOGS else {}
            return kind.build(kind.options_model.model_validate(written), parts)

        yield inject, reader


async def seen(backend, canary, within_s=20.0):
    async with asyncio.timeout(within_s):
        while True:
            path = backend.declaration.paths[0]
            reading = await backend.read(question_of(canary), path, 5.0)
            if reading.sightings:
                return reading.sightings[0]


async def absent(backend, canary):
    for path in backend.declaration.paths:
        reading = await backend.read(question_of(canary), path, 5.0)
        assert (reading.complete, reading.sightings) == (True, ())


def route():
    return f"gw-{time.time_ns()}"


@pytest.mark.parametrize("signal", list(Signal))
async def test_a_canary_passes_the_collector_unaltered_and_with_its_stamp(stack, signal, tmp_path):
    async with ends(stack, tmp_path) as (inject, reader):
        canary = canary_of(signal, route=route())
        assert (await inject.send(canary, 5.0)).sent is Sent.ACCEPTED
        sighting = await seen(reader(signal), canary)
        assert sighting.hop_stamps == {"gateway": "seen"}
        assert difference(canary, [sighting]) == ""


async def test_a_filter_answers_200_and_the_canary_never_comes(stack, tmp_path):
    everything = {"filter/all": {"error_mode": "ignore", "logs": {"log_record": ["true"]}}}
    before = stack.plan
    await asyncio.to_thread(stack.reconfigure, before.with_processors("logs", everything))
    try:
        async with ends(stack, tmp_path) as (inject, reader):
            name = route()
            dropped, passed = canary_of(Signal.LOGS, 1, name), canary_of(Signal.TRACES, 1, name)
            assert (await inject.send(dropped, 5.0)).sent is Sent.ACCEPTED
            assert (await inject.send(passed, 5.0)).sent is Sent.ACCEPTED
            await seen(reader(Signal.TRACES), passed)
            await absent(reader(Signal.LOGS), dropped)
    finally:
        await asyncio.to_thread(stack.reconfigure, before)


async def test_a_stopped_collector_rejects_and_a_frozen_one_is_silent(stack, tmp_path):
    async with ends(stack, tmp_path) as (inject, _):
        await asyncio.to_thread(stack.stop, "otelcol")
        receipt = await inject.send(canary_of(Signal.LOGS, route=route()), 3.0)
        assert receipt.sent is Sent.REJECTED
        await asyncio.to_thread(stack.start, "otelcol")
        stack.freeze("otelcol")
        try:
            canary = canary_of(Signal.LOGS, route=route())
            receipt = await inject.send(canary, 1.0)
            assert (receipt.sent, receipt.silent) == (Sent.MAYBE, True)
        finally:
            stack.thaw("otelcol")
        await asyncio.to_thread(stack.stop, "otelcol")
        await asyncio.to_thread(stack.start, "otelcol")


async def test_a_stopped_store_is_a_broken_read_and_the_queue_delivers_after_it(stack, tmp_path):
    async with ends(stack, tmp_path) as (inject, reader):
        await asyncio.to_thread(stack.kill, "loki")
        canary = canary_of(Signal.LOGS, route=route())
        assert (await inject.send(canary, 5.0)).sent is Sent.ACCEPTED
        backend = reader(Signal.LOGS)
        reading = await backend.read(question_of(canary), backend.declaration.paths[0], 2.0)
        assert not reading.complete
        await asyncio.to_thread(stack.start, "loki")
        await seen(backend, canary)
