"""Links from records to traces: followed in a real store, and each way of being broken."""

import asyncio
import random
from dataclasses import replace

import pytest

from core.clock import age_s, instant
from core.errors import StoreBusyError
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.embedded import EmbeddedBackend, EmbeddedOptions
from selfcheck.backends.protocol import Linked
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import LedgerRow, Outcome, Signal
from selfcheck.canary.policy import ExpectDrop
from selfcheck.embedded.store import EmbeddedStore
from selfcheck.injectors.otlp_http import OtlpHttpInjector, OtlpHttpOptions
from selfcheck.joins.beats import Beats
from selfcheck.joins.model import Join, longest_gap, newest_beat
from selfcheck.joins.watch import JoinWatch
from tests.fakes.route import SPEC, RouteRig, side_by_side
from tests.support.canaries import canary_of
from tests.support.clock import VirtualClock
from tests.support.parts import real_parts

RULES = JudgingRules()
JOIN = Join("log-to-trace", "logs", "traces")


def row(signal, seq, clock, outcome=Outcome.OK) -> LedgerRow:
    """A judged canary; those of one `seq` are one beat."""
    return LedgerRow(
        canary_of(signal, seq, str(signal)), instant(clock), "u", 60.0, None, outcome,
        Reason.OK, None, None, None, None, None, "", "", "",
    )  # fmt: skip


def test_the_newest_beat_is_one_that_both_routes_have_seen():
    clock = VirtualClock()
    logs = [row(Signal.LOGS, seq, clock) for seq in (1, 2, 3, 4)]
    spans = [row(Signal.TRACES, seq, clock) for seq in (1, 2, 4)]
    logs[3] = replace(logs[3], outcome=Outcome.LOST)
    beat = newest_beat(logs, spans)
    assert (beat.record, beat.span) == (logs[1], spans[1])
    assert newest_beat(logs[2:], spans) is None
    assert newest_beat([], spans) is None


def ready(beat):
    """A look for the newest beat that finds this one."""

    async def found():
        return beat

    return found


class Ends:
    """Both stores as one: what the record leads to, and what the trace shows, one answer a look."""

    def __init__(self, *links: Linked, trace: Linked) -> None:
        self.links, self.trace, self.asked = list(links), trace, 0

    async def trace_ids(self, _canary, _deadline_s):
        self.asked += 1
        return self.links.pop(0) if len(self.links) > 1 else self.links[0]

    async def canaries_in(self, _trace_id, _deadline_s):
        return self.trace


def full(*found):
    return Linked(True, found, Reason.OK, "")


DOWN = Linked(False, (), Reason.TIMEOUT, "no answer")


async def judged(ends, clock, age_s=0.0):
    """The result of one step, with the clock run through its pause."""
    record, span = row(Signal.LOGS, 1, clock), row(Signal.TRACES, 1, clock)
    await clock.advance(age_s)
    beat = newest_beat([record], [span])
    watch = JoinWatch(JOIN, ready(beat), ends, ends, clock, RULES, limit_s=60.0)
    step = asyncio.create_task(watch.step())
    await clock.advance(RULES.confirm_after + 1)
    return await step


@pytest.fixture
def clock():
    return VirtualClock()


def own_trace(clock):
    return row(Signal.LOGS, 1, clock).canary.trace_id.hex()


def own_span(clock):
    return row(Signal.TRACES, 1, clock).canary.canary_id


async def test_a_link_that_leads_to_its_span_is_ok(clock):
    ends = Ends(full(own_trace(clock)), trace=full("another", own_span(clock)))
    assert (await judged(ends, clock)).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("link", "words"),
    [((), "leads to no trace"), (("ab" * 16,), "leads to trace abab")],
    ids=["none", "another"],
)
async def test_a_record_that_leads_nowhere_or_elsewhere_is_a_broken_link(clock, link, words):
    ends = Ends(full(*link), trace=full(own_span(clock)))
    result = await judged(ends, clock)
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.JOIN)
    assert words in result.detail
    assert ends.asked == 2


async def test_a_trace_without_the_span_is_a_broken_link(clock):
    result = await judged(Ends(full(own_trace(clock)), trace=full()), clock)
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.JOIN)
    assert "does not show the span" in result.detail


async def test_a_link_that_is_there_at_the_second_look_is_ok(clock):
    ends = Ends(full(), full(own_trace(clock)), trace=full(own_span(clock)))
    assert (await judged(ends, clock)).verdict is Verdict.OK


async def test_an_end_that_cannot_be_read_is_blind(clock):
    for ends in (
        Ends(DOWN, trace=full(own_span(clock))),
        Ends(full(own_trace(clock)), trace=DOWN),
        Ends(full(), DOWN, trace=full()),
    ):
        result = await judged(ends, clock)
        assert (result.verdict, result.reason) == (Verdict.BLIND, Reason.READBACK)


async def test_without_a_fresh_beat_nothing_is_said(clock):
    ends = Ends(full(), trace=full())
    old = await judged(ends, clock, age_s=61.0)
    assert (old.verdict, old.reason) == (Verdict.BLIND, Reason.ROUTE)
    none = await JoinWatch(JOIN, ready(None), ends, ends, clock, RULES, 60.0).step()
    assert (none.verdict, none.reason) == (Verdict.BLIND, Reason.STARTING)
    assert ends.asked == 0


async def test_a_ledger_that_cannot_be_read_is_no_broken_link(clock):
    async def unread():
        raise StoreBusyError("the ledger did not answer within 5 s")

    ends = Ends(full(), trace=full())
    result = await JoinWatch(JOIN, unread, ends, ends, clock, RULES, 60.0).step()
    assert (result.verdict, result.reason) == (Verdict.BLIND, Reason.STORE)
    assert ends.asked == 0


def route(signal, clock, **given):
    return RouteRig(replace(SPEC, name=str(signal), signal=signal, **given), clock=clock)


@pytest.mark.parametrize(("ratio", "delay_s"), [(0.9, 0.2), (0.95, 0.2), (None, 300.0)])
async def test_a_beat_is_found_though_one_route_sees_few_or_sees_them_late(clock, ratio, delay_s):
    """Twelve canaries are in mind: of those a sampler of 0.9 keeps none, one time in four."""
    dropped = None if ratio is None else ExpectDrop(ratio, "")
    logs, traces = route(Signal.LOGS, clock), route(Signal.TRACES, clock, expect_drop=dropped)
    dice = random.Random(11)
    traces.faults.drop = lambda _one: dice.random() < (ratio or 0.0)
    traces.faults.delay_s = delay_s
    beats = Beats(logs.cycle, traces.cycle, 200)
    await side_by_side([logs, traces], 3600)
    for _ in range(30):
        await side_by_side([logs, traces], 60)
        beat = await beats.newest()
        assert beat is not None
        assert beat.record.canary.trace_id == beat.span.canary.trace_id
        assert (
            age_s(beat.record.sent, clock)[0] < 10 * longest_gap(1 - (ratio or 0.0)) + 2 * delay_s
        )


@pytest.mark.parametrize(("kept", "gap"), [(1.0, 1), (0.5, 20), (0.1, 132), (0.01, 1375)])
def test_the_longest_gap_of_a_sampler_is_met_once_in_a_million(kept, gap):
    assert longest_gap(kept) == gap
    assert kept == 1.0 or (1 - kept) ** gap <= 1e-6 < (1 - kept) ** (gap - 1)


@pytest.mark.parametrize("signal", [Signal.LOGS, Signal.METRICS])
async def test_a_link_is_followed_in_a_real_store(tmp_path, signal):
    async with real_parts(tmp_path) as parts:
        store = EmbeddedStore(parts.clock, parts.rng)
        await store.start()
        try:
            options = EmbeddedOptions(url=store.url)
            rule = EmbeddedBackend.write_rules(options)["otlp_http"]
            injector = OtlpHttpInjector.build(OtlpHttpOptions(), parts, rule)
            backend = EmbeddedBackend.build(options, parts)
            record, span = row(signal, 1, parts.clock), row(Signal.TRACES, 1, parts.clock)
            for one in (record, span):
                await injector.send(one.canary, 5.0)
            beat = newest_beat([record], [span])
            rules = RULES.model_copy(update={"confirm_after": 0.1})

            def following(beat):
                return JoinWatch(JOIN, ready(beat), backend, backend, parts.clock, rules, 60.0)

            assert (await following(beat).step()).verdict is Verdict.OK
            missing = row(signal, 2, parts.clock), row(Signal.TRACES, 2, parts.clock)
            await injector.send(missing[0].canary, 5.0)
            beat = newest_beat([missing[0]], [missing[1]])
            assert (await following(beat).step()).reason is Reason.JOIN
        finally:
            await store.stop()
