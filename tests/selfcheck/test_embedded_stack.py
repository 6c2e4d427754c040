"""The built-in gateway and store as two hops: what they pass on, lose, hold and count."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager

import pytest

from core.outbound.protocol import Request, Response
from selfcheck.backends.embedded import BY_ID, SEARCH, EmbeddedBackend, EmbeddedOptions
from selfcheck.canary.model import Sent, Signal
from selfcheck.embedded.faults import Fault, FaultError, FaultKind
from selfcheck.embedded.gateway import EmbeddedGateway
from selfcheck.embedded.store import EmbeddedStore
from selfcheck.injectors.otlp_http import OtlpHttpInjector, OtlpHttpOptions
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts


@asynccontextmanager
async def two_hops(folder, **gateway_options):
    async with real_parts(folder) as parts:
        store = EmbeddedStore(parts.clock, parts.rng)
        await store.start()
        gateway = EmbeddedGateway(
            parts.clock, parts.rng, parts.outbound, store.url, **gateway_options
        )
        await gateway.start()
        inject = OtlpHttpInjector.build(OtlpHttpOptions(url=gateway.url), parts, None)
        backend = EmbeddedBackend.build(EmbeddedOptions(url=store.url), parts)
        try:
            yield parts, gateway, store, inject, backend
        finally:
            await gateway.stop()
            await store.stop()


async def seen(backend, canary, path=BY_ID, within_s=5.0):
    """Sightings of one canary, asked for until there is one or the time is over."""
    async with asyncio.timeout(within_s):
        while True:
            reading = await backend.read(question_of(canary), path, 2.0)
            assert reading.complete, reading.detail
            if reading.sightings:
                return reading.sightings


async def metric(parts, url, name):
    """Sum of the series of `name` on a metrics page."""
    answer = await parts.outbound.fetch(Request("GET", url, 2.0))
    assert isinstance(answer, Response)
    lines = answer.body.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0] == name)


async def settled(gateway, signal):
    """Return once the gateway's queue of `signal` is empty."""
    async with asyncio.timeout(5):
        while gateway.queued[signal]:
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", list(Signal))
async def test_a_canary_passes_the_gateway_with_its_stamp_and_both_hops_count_it(kind, tmp_path):
    async with two_hops(tmp_path) as (parts, gateway, store, inject, backend):
        canary = canary_of(kind)
        receipt = await inject.send(canary, 5.0)
        assert receipt.sent is Sent.ACCEPTED
        for path in (BY_ID, SEARCH):
            (sighting,) = await seen(backend, canary, path)
            assert sighting.stamp_ns == canary.stamp_ns
            assert sighting.hop_stamps == {"gateway": "seen"}
            assert sighting.copies == 1
        await settled(gateway, kind)
        noun = {"logs": "log_records", "metrics": "metric_points", "traces": "spans"}[kind]
        for url in (gateway.metrics_url, store.metrics_url):
            assert await metric(parts, url, f"otelcol_receiver_accepted_{noun}") == 1
            assert await metric(parts, url, f"otelcol_exporter_sent_{noun}") == 1


@pytest.mark.parametrize("kind", list(Signal))
async def test_a_filter_is_counted_as_intended_and_a_drop_is_not(kind, tmp_path):
    async with two_hops(tmp_path) as (parts, gateway, store, inject, _):
        gateway.faults.put(kind, Fault(FaultKind.FILTER))
        assert (await inject.send(canary_of(kind, seq=1), 5.0)).sent is Sent.ACCEPTED
        gateway.faults.clear()
        gateway.faults.put(kind, Fault(FaultKind.DROP))
        assert (await inject.send(canary_of(kind, seq=2), 5.0)).sent is Sent.ACCEPTED
        noun = {"logs": "logs", "metrics": "datapoints", "traces": "spans"}[kind]
        filtered = f"otelcol_processor_filter_{noun}_filtered"
        assert await metric(parts, gateway.metrics_url, filtered) == 1
        assert await metric(parts, gateway.metrics_url, "otelcol_processor_incoming_items") == 2
        assert await metric(parts, gateway.metrics_url, "otelcol_processor_outgoing_items") == 1
        assert store.store.count(kind) == 0


async def test_a_stalled_receiver_accepts_and_never_answers_and_other_signals_go_on(tmp_path):
    async with two_hops(tmp_path) as (_, gateway, _, inject, _):
        gateway.faults.put(Signal.LOGS, Fault(FaultKind.STALL))
        receipt = await inject.send(canary_of(Signal.LOGS), 0.5)
        assert (receipt.sent, receipt.silent) == (Sent.MAYBE, True)
        assert (await inject.send(canary_of(Signal.TRACES), 5.0)).sent is Sent.ACCEPTED


async def test_the_queue_grows_while_the_store_refuses_and_is_delivered_after(tmp_path):
    async with two_hops(tmp_path) as (parts, gateway, store, inject, backend):
        store.faults.put(Signal.LOGS, Fault(FaultKind.REJECT))
        canaries = [canary_of(Signal.LOGS, seq=n) for n in (1, 2, 3)]
        for canary in canaries:
            assert (await inject.send(canary, 5.0)).sent is Sent.ACCEPTED
        assert gateway.queued[Signal.LOGS] == 3
        assert await metric(parts, gateway.metrics_url, "otelcol_exporter_queue_size") == 3
        store.faults.clear()
        for canary in canaries:
            assert (await seen(backend, canary))[0].copies == 1


async def test_a_full_queue_refuses_with_a_status_that_may_be_retried(tmp_path):
    async with two_hops(tmp_path, queue_capacity=1) as (_, _, store, inject, _):
        store.faults.put(Signal.LOGS, Fault(FaultKind.REJECT))
        assert (await inject.send(canary_of(Signal.LOGS, seq=1), 5.0)).sent is Sent.ACCEPTED
        receipt = await inject.send(canary_of(Signal.LOGS, seq=2), 0.4)
        assert receipt.sent is Sent.REJECTED
        assert "503" in receipt.detail


async def test_duplicates_and_alterations_are_seen_in_the_store(tmp_path):
    async with two_hops(tmp_path) as (_, gateway, _, inject, backend):
        gateway.faults.put(Signal.LOGS, Fault(FaultKind.DUPLICATE))
        gateway.faults.put(Signal.LOGS, Fault(FaultKind.ALTER))
        canary = canary_of(Signal.LOGS)
        await inject.send(canary, 5.0)
        async with asyncio.timeout(5):
            while (found := await seen(backend, canary))[0].copies != 2:
                pass
        assert found[0].body != canary.body


async def test_a_read_side_that_is_down_is_a_broken_read_while_writes_go_on(tmp_path):
    async with two_hops(tmp_path) as (_, gateway, store, inject, backend):
        store.faults.put(Signal.LOGS, Fault(FaultKind.READ_DOWN))
        canary = canary_of(Signal.LOGS)
        await inject.send(canary, 5.0)
        await settled(gateway, Signal.LOGS)
        reading = await backend.read(question_of(canary), BY_ID, 2.0)
        assert not reading.complete
        assert store.store.count(Signal.LOGS) == 1


async def test_faults_are_set_shown_and_cleared_over_the_admin_route(tmp_path):
    async with two_hops(tmp_path) as (parts, gateway, _, _, _):
        url = f"{gateway.url}/admin/faults"
        wanted = {"signal": "all", "kind": "delay", "delay_s": 2}
        body = json.dumps(wanted).encode()
        answer = await parts.outbound.fetch(Request("PUT", url, 2.0, body=body))
        assert len(json.loads(answer.body)["faults"]) == 3
        answer = await parts.outbound.fetch(Request("DELETE", f"{url}?signal=logs", 2.0))
        assert len(json.loads(answer.body)["faults"]) == 2
        for bad in (b"{}", b"[]", b"x", b'{"signal":"logs","kind":"read_down"}'):
            answer = await parts.outbound.fetch(Request("PUT", url, 2.0, body=bad))
            assert answer.status == 400
        assert len(gateway.faults.active()) == 2


def test_a_fault_with_figures_that_make_no_sense_is_refused():
    for share, delay_s, kind in ((0, 0, "drop"), (1.1, 0, "drop"), (1, 0, "delay"), (1, 5, "drop")):
        with pytest.raises(FaultError):
            Fault(FaultKind(kind), share, delay_s)


async def test_the_store_keeps_a_bounded_number_of_records(tmp_path):
    async with real_parts(tmp_path) as parts:
        store = EmbeddedStore(parts.clock, parts.rng, capacity=3)
        await store.start()
        try:
            rule = EmbeddedBackend.write_rules(EmbeddedOptions(url=store.url))["otlp_http"]
            inject = OtlpHttpInjector.build(OtlpHttpOptions(), parts, rule)
            for seq in range(1, 6):
                await inject.send(canary_of(Signal.LOGS, seq=seq), 5.0)
            assert store.store.count(Signal.LOGS) == 3
        finally:
            await store.stop()


async def test_as_a_process_it_says_where_it_listens_and_ends_with_its_parent(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "selfcheck.embedded", "--tied",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ.copy(),
    )  # fmt: skip
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        async with real_parts(tmp_path) as parts:
            inject = OtlpHttpInjector.build(OtlpHttpOptions(url=ready["gateway"]), parts, None)
            backend = EmbeddedBackend.build(EmbeddedOptions(url=ready["store"]), parts)
            canary = canary_of(Signal.TRACES)
            assert (await inject.send(canary, 5.0)).sent is Sent.ACCEPTED
            assert await seen(backend, canary)
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
