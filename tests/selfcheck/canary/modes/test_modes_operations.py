"""Failure modes 39 to 43: operations."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.protocol import BACKENDS
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.make import KEEP, make_canary
from selfcheck.canary.model import CanaryKey, Outcome, Signal
from selfcheck.canary.volume import VolumeMeter
from selfcheck.injectors.protocol import INJECTORS
from selfcheck.otlp import CONTENT_TYPE, build_reply
from tests.fakes.hostile import hostile, says
from tests.fakes.route import CONTEXT, SPEC, RouteRig
from tests.fakes.store import never
from tests.selfcheck.canary.modes.rigs import always, became, row_of, warm
from tests.support.canaries import canary_of, question_of
from tests.support.clock import VirtualClock
from tests.support.parts import real_parts

# Hours of virtual time: seconds, unless the machine is busy.
pytestmark = pytest.mark.timeout(120)

MANY = 100_000
DAY_S = 86400.0


def label_set(signal: Signal, seq: int) -> tuple[tuple[str, str], ...]:
    """Everything of a canary that a store may make a series or a stream of."""
    key = CanaryKey("r", 1 + seq // 30_000, seq)
    canary = make_canary("0a1b2c3d", "all", key, seq, signal, seq * 10**10, "coalmine-canary")
    labels = {"service.name": canary.service_name, "service.instance.id": canary.service_instance}
    # Of logs and traces only the resource is indexed as labels; of metrics every attribute is.
    own = canary.attributes if signal is Signal.METRICS else {}
    return tuple(sorted({**labels, **own}.items()))


@pytest.mark.parametrize("signal", list(Signal))
def test_mode_39_a_hundred_thousand_canaries_are_one_series_or_stream(signal):
    """Over restarts too: neither an id nor an epoch is ever in a label."""
    sets = Counter(label_set(signal, seq) for seq in range(1, MANY + 1))
    assert len(sets) == 1


async def test_mode_40_two_hundred_routes_in_one_process_keep_their_budgets():
    """Each is judged on its own, none reads more than 12 times a minute."""
    clock, minutes = VirtualClock(), 5
    rigs = [RouteRig(replace(SPEC, name=f"r{n}"), clock=clock) for n in range(200)]
    for rig in rigs[::10]:
        rig.faults.drop = lambda canary: canary.key.seq > 5
    for step in range(minutes * 30):
        for rig in rigs:
            if step % 5 == 0:
                await rig.inject()
            await rig.cycle.read()
        clock.move(2)
    for number, rig in enumerate(rigs):
        assert len(rig.store.reads) <= 12 * minutes + 24
        wanted = Verdict.FAIL if number % 10 == 0 else Verdict.OK
        assert rig.cycle.status().verdict is wanted
        assert (await rig.ledger.account(rig.spec.name)).balanced


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
@pytest.mark.parametrize("kind", sorted(BACKENDS.entries))
async def test_mode_41_a_refused_credential_on_reads_is_auth(kind, status, tmp_path):
    async with real_parts(tmp_path) as parts, hostile(says(b"no", status)) as server:
        adapter = BACKENDS.load(kind)
        try:
            options = adapter.options_model.model_validate({"url": server.url})
        except ValueError:
            pytest.skip(f"{kind} needs more than a url: its own contract case shows this row")
        backend = adapter.build(options, parts)
        signal = min(backend.declaration.signals)
        path = backend.declaration.paths_for(signal)[0]
        reading = await backend.read(question_of(canary_of(signal)), path, 2.0)
        await backend.close()
    assert (reading.complete, reading.reason) == (False, Reason.AUTH)


async def test_mode_41_an_unreadable_store_for_lack_of_credentials_is_unknown_auth():
    rig = await warm()
    rig.faults.read_error = Reason.AUTH
    await rig.run(300)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.BLIND, Reason.AUTH)
    unknown = [row for row in await rig.rows() if row.outcome is Outcome.UNKNOWN]
    assert {row.reason for row in unknown} == {Reason.AUTH}
    assert became(rig, Outcome.LOST) == 0


async def test_mode_41_reads_and_writes_have_credentials_of_their_own_and_take_new_ones(tmp_path):
    """A token that was rotated is used from the next request on."""
    for name in ("read", "write"):
        (tmp_path / name).write_text(f"{name}-1")
    answer = says(build_reply(Signal.LOGS), "200 OK", f"Content-Type: {CONTENT_TYPE}")
    records = says(json.dumps({"records": [], "next": None}).encode())
    async with (
        real_parts(tmp_path) as parts,
        hostile(answer) as taking,
        hostile(records) as telling,
    ):
        injector = INJECTORS.load("otlp_http")
        backend = BACKENDS.load("embedded")

        def written(url, name):
            return {"url": url, "auth": {"bearer_file": str(tmp_path / name)}}

        sender = injector.build(
            injector.options_model.model_validate(written(taking.url, "write")), parts, None
        )
        reader = backend.build(
            backend.options_model.model_validate(written(telling.url, "read")), parts
        )
        for turn in (1, 2):
            (tmp_path / "read").write_text(f"read-{turn}")
            (tmp_path / "write").write_text(f"write-{turn}")
            canary = canary_of(Signal.LOGS, turn)
            await sender.send(canary, 3.0)
            await reader.read(question_of(canary), reader.declaration.paths[0], 3.0)
            assert f"Bearer write-{turn}" in taking.requests[-1]
            assert f"Bearer read-{turn}" in telling.requests[-1]
        await sender.close()
        await reader.close()


def test_mode_42_canaries_can_be_told_from_all_else():
    """Their own service name, and an attribute to keep or to exclude them by."""
    for signal in (Signal.LOGS, Signal.TRACES):
        canary = canary_of(signal)
        assert canary.service_name == "coalmine-canary"
        assert canary.attributes[KEEP] == "true"
        assert canary.attributes["canary.id"] == canary.canary_id


CAPPED = JudgingRules(cap_bytes_per_day=300 * 1000)


async def at_midnight(**given) -> RouteRig:
    """A route at the start of a UTC day, so that the whole day lies ahead."""
    rig = RouteRig(clock=VirtualClock(), **given)
    today = rig.clock.utc()
    left = DAY_S - (today.hour * 3600 + today.minute * 60 + today.second)
    rig.clock.move(left)
    rig._next_inject = rig._next_read = rig.clock.monotonic()
    return rig


async def test_mode_42_the_cap_slows_canaries_down_before_it_is_passed_and_never_is():
    """From 80 % of the day's bytes on the interval grows; what a day may cost is not exceeded."""
    rig = await at_midnight(spec=replace(SPEC, every_s=120.0), rules=CAPPED)
    rig.faults.body_bytes = 1000
    await rig.run(240 * 120 - 1)
    assert (len(rig.store.sent), rig.skipped) == (240, [])
    await rig.run(40 * 120)
    slower = len(rig.store.sent) - 240
    assert 20 < slower < 38
    assert "of 300000 bytes used today" in rig.skipped[0]
    assert rig.cycle.status().verdict is Verdict.OK
    await rig.run(DAY_S - 280 * 120 - 60)
    assert 290 < len(rig.store.sent) <= 300
    assert became(rig, Outcome.LOST) == became(rig, Outcome.UNKNOWN) == 0


async def test_mode_42_at_the_cap_nothing_is_sent_and_the_route_is_blind_until_the_next_day():
    meter = VolumeMeter()
    rig = await at_midnight(rules=CAPPED, meter=meter)
    await rig.run(300)
    # Another route of the same backend uses the day up.
    meter.sent("another", 300 * 1000, rig.clock.utc())
    sent = len(rig.store.sent)
    await rig.run(600)
    assert len(rig.store.sent) == sent
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.BLIND, Reason.CAP)
    assert "300000 bytes" in status.detail
    assert await rig.count(Outcome.PENDING) == 0
    await rig.run(DAY_S)
    assert rig.cycle.status().verdict is Verdict.OK


async def test_mode_42_the_cap_on_reads_leaves_unknown_and_loses_nothing():
    rules = JudgingRules(cap_reads_per_day=100)
    meter = VolumeMeter()
    rig = await at_midnight(rules=rules, meter=meter)
    await rig.run(200)
    for _ in range(100):
        meter.read("another", rig.clock.utc())
    rig.faults.drop = always
    reads = len(rig.store.reads)
    await rig.run(600)
    assert len(rig.store.reads) == reads
    assert (rig.cycle.status().verdict, rig.cycle.status().reason) == (Verdict.BLIND, Reason.CAP)
    assert became(rig, Outcome.LOST) == 0
    rig.faults.drop = never
    # Until five minutes into the next day.
    await rig.run(DAY_S - 500)
    assert rig.cycle.status().verdict is Verdict.OK


async def test_mode_42_a_restart_does_not_give_the_day_a_second_time():
    rig = await at_midnight(rules=CAPPED, meter=VolumeMeter())
    await rig.run(990 * 10)
    sent = len(rig.store.sent)
    after = rig.restarted()
    await after.run(120)
    more = len(rig.store.sent) - sent
    assert 0 < more < 9
    assert after.skipped


async def test_mode_43_rows_sent_under_other_parameters_are_never_lost():
    rig = await warm()
    rig.faults.drop = always
    await rig.cycle.inject(CONTEXT)
    row = (await rig.rows())[-1]
    rig.faults.drop = never
    after = rig.restarted(sent_under="under-2", every_s=5.0)
    await after.run(300)
    found = await row_of(after, row.canary.canary_id)
    assert (found.outcome, found.reason) == (Outcome.UNKNOWN, Reason.RECONFIGURED)


@pytest.mark.parametrize("every_s", [5.0, 60.0])
async def test_mode_43_another_interval_changes_nothing_for_what_is_in_flight(every_s):
    """Each row keeps the deadline it was sent with."""
    rig = await warm()
    rig.faults.delay_s = 25.0
    await rig.cycle.inject(CONTEXT)
    row = (await rig.rows())[-1]
    after = rig.restarted(every_s=every_s)
    await after.run(600)
    found = await row_of(after, row.canary.canary_id)
    assert (found.outcome, found.deadline_s) == (Outcome.OK, row.deadline_s)
    assert became(after, Outcome.LOST) == 0
    assert after.cycle.status().verdict is Verdict.OK
