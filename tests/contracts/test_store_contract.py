"""One contract for the stores, over SQLite, PostgreSQL and, for the ledger, memory."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.clock import instant
from core.errors import StoreError
from core.reason import Reason
from core.result import RunEnvelope, Trust
from core.verdict import Verdict
from paging.model import Answer, Incident, IncidentState, Page, PageAction, Severity
from paging.store import Action, Change, OutboxKey, OutboxRow
from scheduler.engine.protocol import ScheduleMark
from scheduler.store import open_stores
from scheduler.store.canary_rows import LOOKS
from scheduler.store.retention import Retention
from scheduler.store.samples import HopWindow, Vital
from selfcheck.canary.ledger import OPEN_S, OPEN_UNKNOWN_S, HourPast, PathPast
from selfcheck.canary.make import make_canary
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import CanaryKey, Look, Outcome, Receipt, Sent, Signal
from selfcheck.cost.model import Point, Usage
from tests.support.clock import VirtualClock
from tests.support.stores import pending_row, postgres_url, sqlite_folder

RECEIPT = Receipt(Sent.ACCEPTED, Reason.OK, "200", 1, Sent.ACCEPTED, 0.01, 321, False)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request, tmp_path, clock):
    where = sqlite_folder(tmp_path) if request.param == "sqlite" else postgres_url()
    opened = open_stores(where, clock)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgres", "memory"])
def ledger(request, tmp_path, clock):
    if request.param == "memory":
        yield MemoryLedger("0123abcd", clock)
        return
    where = sqlite_folder(tmp_path) if request.param == "sqlite" else postgres_url()
    opened = open_stores(where, clock, instance="0123abcd")
    yield opened.ledger
    opened.close()


async def sent(ledger, clock, n, route="logs", signal=Signal.LOGS, instance="0123abcd"):
    epoch = await ledger.begin()
    rows = [
        pending_row(instance, CanaryKey(route, epoch.number, seq), clock, signal)
        for seq in range(1, n + 1)
    ]
    for row in rows:
        await ledger.open(row)
    return rows


async def test_every_epoch_is_greater_than_any_before(ledger):
    epochs = [await ledger.begin() for _ in range(3)]
    numbers = [epoch.number for epoch in epochs]
    assert numbers == sorted(set(numbers))
    assert {epoch.instance for epoch in epochs} == {"0123abcd"}


@pytest.mark.parametrize("signal", list(Signal))
async def test_a_row_comes_back_as_it_was_opened(ledger, clock, signal):
    (row,) = await sent(ledger, clock, 1, signal=signal)
    assert await ledger.find(row.canary.canary_id) == row
    assert await ledger.find("cm-none") is None


async def test_a_sequence_number_that_is_not_the_next_is_refused(ledger, clock):
    (row,) = await sent(ledger, clock, 1)
    key = row.canary.key
    with pytest.raises(StoreError, match="next sequence number"):
        await ledger.open(pending_row("0123abcd", replace(key, seq=3), clock))
    assert (await ledger.account("logs")).sent == 1


async def test_receipt_and_judgement_come_back_as_they_were_written(ledger, clock):
    (row,) = await sent(ledger, clock, 1)
    await ledger.receive(row.canary.key, RECEIPT)
    clock.move(3.25)
    judged = replace(
        row,
        receipt=RECEIPT,
        outcome=Outcome.LATE,
        reason=Reason.LATE,
        judged=instant(clock),
        seen=instant(clock),
        delay_s=3.25,
        copies=2,
        empty_read=instant(clock),
        empty_path="by id",
        diff="body: 'ä' became '?'",
        first_path="search",
        hop_stamps={"gateway": "2026-11-21T03:12:44Z"},
        looks=(
            Look(1.0625, "by id", False, False, Reason.TIMEOUT, 'no answer: "ä"'),
            Look(3.25, "search", True, True, Reason.OK, ""),
        ),
    )
    await ledger.settle([judged])
    assert await ledger.find(row.canary.canary_id) == judged
    assert list(await ledger.delays_s("logs", 10)) == [3.25]


async def test_a_route_starts_from_what_all_its_rows_say(ledger, clock):
    old = await sent(ledger, clock, 2)
    clock.move(86_400)
    midnight = clock.utc() - timedelta(hours=1)
    rows = await sent(ledger, clock, 4)
    seen = instant(clock)
    doubled = replace(
        rows[0], outcome=Outcome.OK, receipt=replace(RECEIPT, tries=2), copies=3, seen=seen,
        judged=seen, delay_s=0.5, first_path="search", empty_path="by id",
    )  # fmt: skip
    single = replace(rows[1], outcome=Outcome.OK, receipt=RECEIPT, copies=1, judged=seen)
    lost = replace(old[0], outcome=Outcome.LOST)
    await ledger.settle([doubled, single, lost])
    await sent(ledger, clock, 3, route="other")
    past = await ledger.past("logs", rows[0].sent_under, midnight, 5)
    assert [one.key for one in past.recent] == [r.canary.key for r in (old[1], *rows)]
    assert [one.doubled for one in past.recent] == [None, True, False, None, None]
    assert [one.unheard for one in past.recent] == [True, False, False, True, True]
    told = past.recent[1]
    assert (told.judged, told.delay_s, told.first_path, told.empty_path) == (
        seen, 0.5, "search", "by id",
    )  # fmt: skip
    newest = {one.outcome: one.key.seq for one in past.newest}
    assert newest == {Outcome.OK: 2, Outcome.LOST: 1, Outcome.PENDING: 4}
    assert (past.seen_under, past.only_under, past.sent_today) == (True, True, 4)


async def test_what_was_sent_under_other_parameters_is_told_apart(ledger, clock):
    rows = await sent(ledger, clock, 2)
    midnight = clock.utc() - timedelta(hours=1)
    before = await ledger.past("logs", "others", midnight, 5)
    assert (before.seen_under, before.only_under) == (False, False)
    seen = instant(clock)
    await ledger.settle([replace(rows[0], outcome=Outcome.OK, seen=seen)])
    assert not (await ledger.past("logs", "others", midnight, 5)).seen_under
    assert (await ledger.past("logs", rows[0].sent_under, midnight, 5)).seen_under
    nothing = await ledger.past("none", rows[0].sent_under, midnight, 5)
    assert (nothing.recent, nothing.newest, nothing.only_under) == ([], [], False)


async def test_a_week_is_told_by_the_hour_of_what_was_sent_under_present_parameters(ledger, clock):
    """Hours without a known delay, and those before the week, are left out."""
    hour = int(clock.utc().timestamp() // 3600)
    midnight = clock.utc().replace(hour=0, minute=0, second=0, microsecond=0)
    old = await sent(ledger, clock, 1)
    clock.move(8 * 86_400)
    rows = [*await sent(ledger, clock, 4), *await sent(ledger, clock, 2, route="other")]
    clock.move(3600)
    later = await sent(ledger, clock, 2)
    delays = {0: 0.5, 1: 2.5, 4: 9.0}
    judged = [
        replace(rows[n], outcome=Outcome.OK, seen=instant(clock), delay_s=delay_s)
        for n, delay_s in delays.items()
    ]
    judged += [replace(row, outcome=Outcome.OK, delay_s=4.0) for row in (old[0], later[0])]
    # Seen, but nobody knows after how long.
    judged += [replace(rows[2], outcome=Outcome.LATE, seen=instant(clock))]
    await ledger.settle(judged)
    under = rows[0].sent_under
    past = await ledger.past("logs", under, midnight + timedelta(days=8), 5)
    day = hour + 8 * 24
    assert sorted(past.hours, key=lambda one: one.hour) == [
        HourPast(day, 2, 60.0, 1.5, 2.5), HourPast(day + 1, 1, 60.0, 4.0, 4.0),
    ]  # fmt: skip
    assert (past.sent_today, past.seen_under, past.only_under) == (6, True, True)
    week = await ledger.past("logs", under, midnight + timedelta(days=7), 5)
    assert HourPast(hour, 1, 60.0, 4.0, 4.0) in week.hours
    assert not (await ledger.past("logs", "others", midnight, 5)).hours
    assert not (await ledger.past("none", under, midnight, 5)).hours


async def test_what_paths_answered_is_kept_for_the_present_parameters(ledger, clock):
    """The last word counts, and what was said of other parameters is not told."""

    async def kept(route, sent_under):
        return list((await ledger.past(route, sent_under, clock.utc(), 5)).paths)

    first = [
        PathPast("by_id", 1, 0, 3),
        PathPast("search", (1 << 60) - 1, 5, 1 << 99, (1.25, 2.5), {"body": 20_000, "span_id": 3}),
    ]
    await ledger.keep_paths("logs", "under", first)
    assert await kept("logs", "under") == first
    assert await kept("logs", "others") == await kept("other", "under") == []
    await ledger.keep_paths("logs", "others", first[:1])
    assert (await kept("logs", "under"), await kept("logs", "others")) == ([], first[:1])
    await ledger.keep_paths("logs", "others", [])
    assert await kept("logs", "others") == []


async def test_of_many_looks_the_first_and_the_last_are_kept(stores, clock):
    (row,) = await sent(stores.ledger, clock, 1, instance=stores.ledger.instance)
    looks = tuple(Look(float(n), "by id", True, False, Reason.OK, "") for n in range(LOOKS + 30))
    await stores.ledger.settle([replace(row, looks=looks)])
    kept = (await stores.ledger.find(row.canary.canary_id)).looks
    assert kept == (*looks[: LOOKS // 2], *looks[-LOOKS // 2 :])
    assert len(kept) == LOOKS
    await stores.ledger.settle([replace(row, looks=looks[:LOOKS])])
    assert (await stores.ledger.find(row.canary.canary_id)).looks == looks[:LOOKS]


async def test_an_unstamped_canary_comes_back_with_its_value(ledger, clock):
    epoch = await ledger.begin()
    key = CanaryKey("scraped", epoch.number, 1)
    row = pending_row("0123abcd", key, clock, Signal.METRICS)
    canary = make_canary(
        "0123abcd", "all", key, row.canary.beat, Signal.METRICS, row.canary.stamp_ns,
        row.canary.service_name, stamped=False,
    )  # fmt: skip
    await ledger.open(replace(row, canary=canary))
    assert (await ledger.find(canary.canary_id)).canary == canary
    assert canary.value > 1 << 32


async def test_the_identity_holds_over_epochs_and_outcomes(ledger, clock):
    rows = [*await sent(ledger, clock, 3), *await sent(ledger, clock, 2)]
    await ledger.settle([replace(rows[0], outcome=Outcome.OK, reason=Reason.OK)])
    await ledger.settle([replace(rows[4], outcome=Outcome.LOST, reason=Reason.SILENT_LOSS)])
    account = await ledger.account("logs")
    assert (account.sent, account.balanced) == (5, True)
    assert account.by_outcome[Outcome.OK] == account.by_outcome[Outcome.LOST] == 1
    assert account.by_outcome[Outcome.PENDING] == 3
    assert set(account.by_outcome) == set(Outcome)
    assert (await ledger.account("never")).sent == 0


async def test_recent_is_newest_first_and_limited(ledger, clock):
    rows = await sent(ledger, clock, 5)
    assert list(await ledger.recent("logs", 2)) == [rows[4], rows[3]]


async def test_unsettled_leaves_out_what_has_been_open_too_long(ledger, clock):
    rows = await sent(ledger, clock, 4)
    after = (Outcome.UNKNOWN, Outcome.LOST, Outcome.OK)
    settled = [
        replace(row, outcome=outcome, reason=Reason.READBACK)
        for row, outcome in zip(rows, after, strict=False)
    ]
    await ledger.settle(settled)

    async def open_seqs():
        return [row.canary.key.seq for row in await ledger.unsettled("logs", 10)]

    assert await open_seqs() == [1, 2, 4]
    clock.move(OPEN_S + 1)
    assert await open_seqs() == [1, 4]
    clock.step_wall(-10 * OPEN_UNKNOWN_S)
    clock.move(OPEN_UNKNOWN_S)
    assert await open_seqs() == [4]
    assert len(await ledger.unsettled("logs", 1)) == 1


async def test_settling_a_canary_that_does_not_exist_is_an_error(stores, clock):
    row = pending_row(stores.ledger.instance, CanaryKey("logs", 1, 1), clock)
    with pytest.raises(StoreError, match="no such canary"):
        await stores.ledger.settle([row])
    with pytest.raises(StoreError, match="no such canary"):
        await stores.ledger.receive(row.canary.key, RECEIPT)


async def test_a_pruned_canary_keeps_the_outcome_under_which_it_was_folded(stores, clock):
    ledger = stores.ledger
    rows = await sent(ledger, clock, 2, instance=ledger.instance)
    unknown = [replace(row, outcome=Outcome.UNKNOWN, reason=Reason.READBACK) for row in rows]
    await ledger.settle(unknown)
    await ledger.prune(clock.utc() + timedelta(seconds=1))
    late = [replace(row, outcome=Outcome.LATE, reason=Reason.LATE) for row in rows]
    await ledger.settle(late)
    await ledger.receive(rows[0].canary.key, RECEIPT)
    account = await ledger.account("logs")
    assert (account.balanced, account.by_outcome[Outcome.UNKNOWN]) == (True, 2)
    assert await ledger.transitions("logs") == {(Outcome.PENDING, Outcome.UNKNOWN): 2}


async def test_pruning_keeps_the_account_and_counts_transitions(stores, clock):
    ledger = stores.ledger
    epoch = await ledger.begin()
    keys = [CanaryKey("logs", epoch.number, seq) for seq in range(1, 7)]
    rows = [pending_row(ledger.instance, key, clock) for key in keys]
    for row in rows:
        await ledger.open(row)
    await ledger.settle([replace(row, outcome=Outcome.OK, reason=Reason.OK) for row in rows[:4]])
    await ledger.settle([replace(rows[0], outcome=Outcome.OK, reason=Reason.OK)])
    before = await ledger.account("logs")
    cutoff = clock.utc() + timedelta(seconds=1)
    assert [await ledger.prune(cutoff, 3) for _ in range(3)] == [3, 1, 0]
    assert await ledger.account("logs") == before
    assert (await ledger.accounts())["logs"] == before
    assert await ledger.find(rows[0].canary.canary_id) is None
    assert await ledger.transitions("logs") == {(Outcome.PENDING, Outcome.OK): 4}


async def test_a_bad_write_fails_alone_and_spares_its_neighbours(stores, clock):
    ledger = stores.ledger
    epoch = await ledger.begin()
    good = [
        pending_row(ledger.instance, CanaryKey(f"r{n}", epoch.number, 1), clock) for n in range(20)
    ]
    bad = pending_row(ledger.instance, CanaryKey("bad", epoch.number, 7), clock)
    results = await asyncio.gather(
        *(ledger.open(row) for row in [*good, bad]), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None)] * 20 + [StoreError]
    assert len(await ledger.accounts()) == 20


async def test_schedule_marks_replace_older_ones(stores, clock):
    mark = ScheduleMark("shop", 1, clock.utc(), 30.0, clock.utc())
    later = replace(mark, accounted_until=clock.utc() + timedelta(seconds=90, microseconds=7))
    await stores.ledger.keep([mark])
    await stores.ledger.keep([later])
    assert await stores.ledger.marks() == {"shop": later}


def incident(clock, fingerprint="f" * 32, **changes):
    at = instant(clock)
    made = Incident(
        fingerprint, 1, "check", "shop", Severity.CRITICAL, IncidentState.FIRING, "shop fails",
        "status 500 \x1b[31m", "gateway", ("e1", "e2"), at, at, at, None, fingerprint, "", None,
        "", {"n": "1"},
    )  # fmt: skip
    return replace(made, **changes)


def outbox_row(clock, one, receiver="pager", seq=1):
    key = OutboxKey(one.dedup_key("prod"), receiver, "t", PageAction.TRIGGER, seq)
    page = Page(
        key.dedup_key, key.action, seq, "prod", one, (one,), (("board", "http://x/"),),
        instant(clock),
    )  # fmt: skip
    return OutboxRow(
        key, page, "chat", "", instant(clock), instant(clock), 0, None, "", "", 0, None
    )


async def test_incident_outbox_and_rule_state_commit_together(stores, clock):
    state, one = stores.state, incident(clock)
    row = outbox_row(clock, one)
    await state.commit(Change([one], [row], {"check/shop": '{"s":1}'}, [], "fired"))
    assert await state.open_incidents() == [one]
    assert await state.unfinished() == [row]
    assert await state.rule_states() == {"check/shop": '{"s":1}'}
    resolved = replace(one, state=IncidentState.RESOLVED, resolved=instant(clock))
    await state.commit(Change([resolved], [row], {}, [], "resolved"))
    assert await state.open_incidents() == []
    assert await state.episodes() == {one.fingerprint: 1}
    assert len(await state.unfinished()) == 1
    assert state.history(one.fingerprint, 9) == [("resolved", resolved), ("fired", one)]
    assert state.rebuild_incidents() == 1
    assert state.incidents(5) == [resolved]


async def test_a_lease_fences_out_older_epochs(stores, clock):
    state, one = stores.state, incident(clock)
    row = outbox_row(clock, one)
    await state.commit(Change([one], [row], {}, [], "fired"))
    until = clock.utc() + timedelta(seconds=30)
    assert await state.lease(row.key, 1, until)
    assert not await state.lease(row.key, 2, until)
    clock.move(31)
    assert await state.lease(row.key, 2, clock.utc() + timedelta(seconds=30))
    accepted = replace(row, answer=Answer.ACCEPTED, thread="ts-1", tries=1, lease_epoch=1)
    assert not await state.record(accepted)
    assert await state.record(replace(accepted, lease_epoch=2))
    assert not await state.lease(row.key, 3, until)
    assert await state.unfinished() == []
    assert await state.threads(row.key.dedup_key) == {("pager", "t"): "ts-1"}
    assert state.deliveries(1)[0].answer is Answer.ACCEPTED


async def test_an_action_is_appended_once_and_folded_once(stores, clock):
    state = stores.state
    acts = [Action(f"a{n}", "ack", "k", "ann", "on it", None, instant(clock)) for n in range(3)]
    for act in (*acts, acts[0]):
        state.append_action(act)
    assert list(await state.actions()) == acts
    await state.commit(Change([], [], {}, ["a0", "a1"], "ack"))
    assert list(state.pending_actions()) == acts[2:]
    assert state.folded(["a0", "a2"]) == {"a0"}
    assert [act.action_id for act in state.recent_actions(2)] == ["a2", "a1"]


def run(clock, verdict=Verdict.OK, check="shop", at=None):
    reason = Reason.OK if verdict is Verdict.OK else Reason.STATUS
    started = instant(clock)
    ended = replace(started, boot_s=started.boot_s + 0.25)
    trust = Trust(0.0, 0.1, 0.2)
    when = at or clock.utc()
    return RunEnvelope(
        check, "http", 1, 7, when, started, ended, verdict, reason, "d", {"s": 200}, trust
    )


async def test_history_keeps_blind_apart_and_rows_only_for_news(stores, clock):
    samples = stores.samples
    order = [Verdict.OK, Verdict.OK, Verdict.BLIND, Verdict.OK, Verdict.OK, Verdict.FAIL]
    start = clock.utc()
    for verdict in order:
        samples.append(run(clock, verdict))
        clock.move(30)
    samples.append(last := run(clock))
    samples.append(last)
    await samples.flush()
    counts = samples.counts("shop", start)
    assert counts == {Verdict.OK: 5, Verdict.DEGRADED: 0, Verdict.FAIL: 1, Verdict.BLIND: 1}
    kept = [row.verdict for row in samples.runs("shop", 9)][::-1]
    assert kept == [Verdict.OK, Verdict.BLIND, Verdict.OK, Verdict.FAIL, Verdict.OK]
    assert samples.latest("shop") == last
    assert samples.latest_all() == [last]
    assert samples.latest("none") is None
    strip = samples.strip("shop", 5, 60.0)
    assert strip == (None, Verdict.OK, Verdict.BLIND, Verdict.OK, Verdict.FAIL)


async def test_what_could_not_be_read_stays_unknown(stores, clock):
    samples = stores.samples
    window = HopWindow("gw", Signal.LOGS, clock.utc(), 60.0, 5, None, None, 0, None)
    hour = datetime(2026, 11, 21, 3, tzinfo=UTC)
    usage = Usage(Signal.LOGS, Point.M2, None, 1 << 40, 1800.0, "otelcol")
    vital = Vital("engine", instant(clock), Verdict.OK, "ticks")
    samples.hop_window(window)
    samples.meter(hour + timedelta(minutes=9), replace(usage, body_bytes=3))
    samples.meter(hour, usage)
    samples.vital(vital)
    await samples.flush()
    assert samples.hop_windows(clock.utc() - timedelta(seconds=1)) == [window]
    assert samples.meters(hour) == [(hour, usage)]
    assert samples.vitals() == [vital]
    assert samples.dropped_total == 0


async def test_retention_by_days_deletes_in_batches(stores, clock):
    samples = stores.samples
    for n in range(25):
        samples.append(run(clock, Verdict.FAIL, at=clock.utc() + timedelta(seconds=n)))
    clock.move(15 * 86400)
    samples.append(run(clock, Verdict.FAIL))
    await samples.flush()
    rule = Retention(days=14, batch=10)
    assert [await samples.prune(rule) for _ in range(4)] == [11, 10, 5, 0]
    assert len(samples.runs("shop", 99)) == 1
