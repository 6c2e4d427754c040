"""What every backend must do with its own store; rows of the conformance list by number."""

import asyncio
import dataclasses
import time

import pytest

from core.reason import Reason
from selfcheck.backends.protocol import BACKENDS, Dedupe
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.fields import FIELDS
from selfcheck.canary.model import Sent, Signal
from tests.contracts.backends.asking import fresh_route, pairs, until_seen
from tests.support.canaries import canary_of, question_of


async def test_row_01_what_was_written_is_read_unaltered_by_every_path(case):
    for signal, path in pairs(case):
        canary = canary_of(signal, route=fresh_route())
        (receipt,) = await case.write(canary)
        assert receipt.sent is Sent.ACCEPTED, receipt.detail
        started = time.monotonic()
        backend = case.backend()
        reading = await until_seen(backend, path, canary)
        assert time.monotonic() - started <= path.floor_s + 5
        (sighting,) = reading.sightings
        assert same_record(canary, sighting, backend.declaration.precision_ns)
        assert difference(canary, [sighting]) == ""
        assert reading.body_bytes > 0


async def test_row_02_an_id_that_was_never_written_is_absent_in_a_complete_read(case):
    for signal, path in pairs(case):
        route = fresh_route()
        written, never = canary_of(signal, 1, route), canary_of(signal, 2, route)
        if signal is Signal.METRICS:
            never = canary_of(signal, 2, route, stamp_ns=written.stamp_ns + 10**9)
        await case.write(written)
        await until_seen(case.backend(), path, written)
        reading = await case.backend().read(question_of(never), path, 5.0)
        assert (reading.complete, reading.sightings) == (True, ())


async def test_row_03_a_stream_that_does_not_exist_yet_is_absent_and_no_error(case):
    for signal, path in pairs(case):
        canary = canary_of(signal, route=fresh_route(), service=fresh_route())
        reading = await case.backend().read(question_of(canary), path, 5.0)
        assert (reading.complete, reading.sightings) == (True, ())


async def test_row_05_a_store_that_refuses_connections_is_a_read_error(case):
    backend = case.backend(url="http://127.0.0.1:1")
    for signal, path in pairs(case):
        reading = await backend.read(question_of(canary_of(signal)), path, 2.0)
        assert (reading.complete, reading.reason) == (False, Reason.READBACK)


@pytest.mark.timeout(120)
async def test_row_06_a_backlog_above_the_row_limit_is_paged_to_its_end(case):
    small = case.small_pages or {}
    count = 50 if small else 120  # three pages of 20 where that can be asked for
    batched = [(signal, path) for signal, path in pairs(case) if path.batched]
    for signal in sorted({signal for signal, _ in batched}):
        route, start = fresh_route(), time.time_ns() - 200 * 10**9
        backlog = [canary_of(signal, n, route, start + n * 10**9) for n in range(1, count + 1)]
        receipts = await case.write(*backlog)
        assert {receipt.sent for receipt in receipts} == {Sent.ACCEPTED}
        for path in [path for one, path in batched if one is signal]:
            await until_seen(case.backend(**small), path, *backlog)


async def test_row_16_a_doubled_record_is_seen_or_declared_not_observable(case):
    declaration = case.backend().declaration
    for signal, path in pairs(case):
        route, now = fresh_route(), time.time_ns()
        doubled = canary_of(signal, 1, route, now - 10**9)
        single = canary_of(signal, 2, route, now)
        await case.write(doubled, doubled, single)
        backend = case.backend()
        await until_seen(backend, path, single)
        async with asyncio.timeout(10):
            while True:
                reading = await until_seen(backend, path, doubled)
                copies = reading.sightings[0].copies
                if declaration.dedupe is not Dedupe.KEEPS or copies == 2:
                    break
        # A store that collapses copies need not always do so, as Loki behind a line of the future:
        # what it shows is told, and what it does not show is not taken for one.
        assert copies == 2 or (copies is None and declaration.dedupe is not Dedupe.KEEPS)
        lone = await until_seen(backend, path, single)
        assert lone.sightings[0].copies in {1, None}


async def test_row_17_an_altered_record_is_told_from_an_unaltered_one(case):
    for signal, path in pairs(case):
        canary = canary_of(signal, route=fresh_route())
        if signal is Signal.TRACES:
            changed = {**canary.attributes, "coalmine.seq": "9"}
            sent = dataclasses.replace(canary, attributes=changed)
        else:
            filler = f"{canary.filler[:-1]}~"
            sent = dataclasses.replace(canary, filler=filler, value=canary.value + 0.5)
        await case.write(sent)
        (sighting,) = (await until_seen(case.backend(), path, canary)).sightings
        assert same_record(canary, sighting, case.backend().declaration.precision_ns)
        assert difference(canary, [sighting]) != ""


CHANGES = {
    "trace_id": {"trace_id": bytes(range(1, 17))},
    "span_id": {"span_id": bytes(range(1, 9))},
    "span_name": {"span_name": "renamed"},
    "span_kind": {"span_kind": "server"},
    "span_status": {"span_status": "error"},
    "span_duration_ns": {"span_duration_ns": 2_000_000},
    "severity_text": {"severity_text": "WARN"},
    "severity_number": {"severity_number": 13},
}


async def test_row_17_every_field_that_a_path_shows_is_compared(case):
    for signal in sorted({signal for signal, _ in pairs(case)}):
        # A parent is added by no injector: see the adapters' own tests.
        named = [name for name in FIELDS[signal] if name in CHANGES]
        route, start = fresh_route(), time.time_ns() - 100 * 10**9
        plain = canary_of(signal, 99, route, start + 99 * 10**9)
        canaries = {
            name: canary_of(signal, n, route, start + n * 10**9) for n, name in enumerate(named, 1)
        }
        altered = [dataclasses.replace(one, **CHANGES[name]) for name, one in canaries.items()]
        await case.write(*altered, plain)
        for path in [path for one, path in pairs(case) if one is signal]:
            (sighting,) = (await until_seen(case.backend(), path, plain)).sightings
            assert sighting.fields.keys() == path.shows & FIELDS[signal].keys()
            assert difference(plain, [sighting]) == ""
            for name, canary in canaries.items():
                if name not in path.shows or (name == "trace_id" and asks_by_trace(signal, path)):
                    continue
                (sighting,) = (await until_seen(case.backend(), path, canary)).sightings
                assert difference(canary, [sighting]).startswith(f"{name}: sent "), name


def asks_by_trace(signal, path) -> bool:
    """Under another trace id a span is not found by its own."""
    return signal is Signal.TRACES and path.name == "by_id"


@pytest.mark.parametrize("odd", ["0000-0000", "aB.c*|(", 'q"uo\\te', "{x}=~"])
async def test_row_22_ids_that_stress_the_query_language_are_found_and_never_by_a_prefix(case, odd):
    for signal, path in pairs(case):
        if signal is Signal.METRICS:
            continue  # no id in a label: the sample's own time is the proof
        route, now = fresh_route(), time.time_ns()
        short = renamed(canary_of(signal, 1, route, now - 10**9), f"{route}{odd}")
        longer = renamed(canary_of(signal, 2, route, now), f"{route}{odd}1")
        await case.write(longer)
        await until_seen(case.backend(), path, longer)
        reading = await case.backend().read(question_of(short, longer), path, 5.0)
        assert {s.canary_id for s in reading.sightings} == {longer.canary_id}
        await case.write(short)
        await until_seen(case.backend(), path, short)


def renamed(canary, canary_id):
    attributes = {**canary.attributes, "canary.id": canary_id}
    return dataclasses.replace(canary, canary_id=canary_id, attributes=attributes)


async def test_row_24_two_instances_on_one_store_do_not_see_each_other(case):
    for signal, path in pairs(case):
        route, now = fresh_route(), time.time_ns()
        ours = canary_of(signal, 1, route, now, instance="aaaa1111")
        theirs = canary_of(signal, 1, route, now, instance="bbbb2222")
        await case.write(theirs)
        await until_seen(case.backend(), path, theirs)
        reading = await case.backend().read(question_of(ours), path, 5.0)
        assert (reading.complete, reading.sightings) == (True, ())


async def test_the_newest_record_of_a_service_is_found_and_a_quiet_one_is_none(case):
    backend, signals = case.backend(), case.backend().declaration.signals
    for signal in sorted(signals):
        service, now = fresh_route(), time.time_ns()
        older = canary_of(signal, 1, "r", now - 20 * 10**9, service=service)
        newer = canary_of(signal, 2, "r", now - 10**10, service=service)
        select = case.selector(signal, service)
        empty = await backend.newest(select, 60.0, 5.0)
        assert (empty.complete, empty.stamp_ns) == (True, None)
        await case.write(older, newer)
        precision = max(backend.declaration.precision_ns, 1)
        async with asyncio.timeout(10):
            # The two may become visible one after the other.
            while (found := await backend.newest(select, 60.0, 5.0)).stamp_ns is None or abs(
                found.stamp_ns - newer.stamp_ns
            ) >= precision:
                assert found.complete
        assert (await backend.newest(select, 2.0, 5.0)).stamp_ns is None


@pytest.mark.stack
async def test_row_04_loki_without_a_tenant_is_auth_and_a_wrong_one_looks_absent(opened):
    async with opened("loki") as case:
        canary = canary_of(Signal.LOGS, route=fresh_route())
        await case.write(canary)
        path = case.backend().declaration.paths[0]
        await until_seen(case.backend(), path, canary)
        none = await case.backend(tenant="").read(question_of(canary), path, 5.0)
        assert (none.complete, none.reason) == (False, Reason.AUTH)
        wrong = await case.backend(tenant="another-team").read(question_of(canary), path, 5.0)
        assert (wrong.complete, wrong.sightings) == (True, ())
        (receipt,) = await case.write(canary, tenant="")
        assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.AUTH)


def test_every_backend_declares_paths_for_each_of_its_signals():
    for kind in BACKENDS.entries:
        declaration = BACKENDS.load(kind).declaration
        assert declaration.signals
        for signal in declaration.signals:
            assert len(declaration.paths_for(signal)) >= 2, f"{kind} has no second path: {signal}"
        assert declaration.source
        assert declaration.absent
