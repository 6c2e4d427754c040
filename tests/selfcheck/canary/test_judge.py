"""The judge: nothing is lost without proof, nothing unread is judged."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.clock import Instant
from core.reason import Reason
from selfcheck.backends.protocol import Reading
from selfcheck.canary.compare import DIFF_BYTES, difference
from selfcheck.canary.judge import ALLOWED, Bench, duplicated, judge, received, unread
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.make import make_canary
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import (
    CanaryKey,
    LedgerRow,
    Outcome,
    Receipt,
    Sent,
    Sighting,
    Signal,
)
from tests.fakes.store import BY_ID, SEARCH
from tests.support.clock import VirtualClock

RULES = JudgingRules()
BENCH = Bench(RULES, 1, "search", ever_seen=True, sent_under="u")
START = datetime(2026, 11, 21, tzinfo=UTC)


def at(seconds: float, boot: str = "b") -> Instant:
    return Instant(START + timedelta(seconds=seconds), boot, 1000 + seconds)


def receipt(sent: Sent, tries: int = 1) -> Receipt:
    return Receipt(sent, Reason.OK, "", tries, sent, 0.1, 1, silent=False)


def a_row(seq=1, signal=Signal.LOGS, sent=Sent.ACCEPTED, now=None) -> LedgerRow:
    canary = make_canary(
        "0a1b2c3d", "g", CanaryKey("r", 1, seq), 1, signal, 1_700_000_000_123_456_789, "s"
    )
    return LedgerRow(
        canary, now or at(0), "u", 60.0, receipt(sent) if sent else None, Outcome.PENDING,
        Reason.STARTING, None, None, None, None, None, "", "", "",
    )  # fmt: skip


def sighting(row, **changes) -> Sighting:
    one = row.canary
    shown = Sighting(one.canary_id, one.stamp_ns, 1, one.body, one.value, one.attributes)
    return replace(shown, **changes)


def read(row, seconds, *found, path=BY_ID, bench=BENCH) -> LedgerRow:
    return judge(row, Reading.full(found, at(seconds), 0.0, 0), path, at(seconds), bench)


def test_seen_in_time_is_ok_with_its_delay():
    row = read(a_row(), 10, sighting(a_row()))
    assert (row.outcome, row.delay_s, row.first_path) == (Outcome.OK, 10, "by_id")


def test_lost_needs_two_paths_five_seconds_apart_after_the_deadline():
    row = read(a_row(), 59.9)
    assert row.empty_read is None
    row = read(row, 60)
    assert (row.outcome, row.empty_path) == (Outcome.PENDING, "by_id")
    assert read(row, 70).outcome is Outcome.PENDING
    assert read(row, 64, path=SEARCH).outcome is Outcome.PENDING
    row = read(row, 65, path=SEARCH)
    assert (row.outcome, row.reason) == (Outcome.LOST, Reason.SILENT_LOSS)
    late = read(row, 90, sighting(row))
    assert (late.outcome, late.delay_s) == (Outcome.LATE, 90)


def test_where_there_is_one_path_it_confirms_itself():
    bench = replace(BENCH, confirm_path=None)
    assert read(read(a_row(), 60), 65, bench=bench).outcome is Outcome.LOST


@pytest.mark.parametrize("sent", [Sent.MAYBE, None])
def test_maybe_sent_and_not_seen_is_unknown(sent):
    row = read(read(a_row(sent=sent), 60), 70, path=SEARCH)
    assert (row.outcome, row.reason) == (Outcome.UNKNOWN, Reason.MAYBE_SENT)
    assert read(row, 80, sighting(row)).outcome is Outcome.LATE


def test_a_refusal_that_was_false_is_ok_or_late():
    row = received(a_row(sent=None), receipt(Sent.REJECTED), at(1))
    assert (row.outcome, row.reason) == (Outcome.REJECTED, Reason.INJECT)
    assert read(row, 90).outcome is Outcome.REJECTED
    assert read(row, 10, sighting(row)).outcome is Outcome.OK
    assert read(row, 90, sighting(row)).outcome is Outcome.LATE
    assert read(row, 10, sighting(row, body="x")).outcome is Outcome.LATE


def test_evidence_of_an_intended_drop_makes_it_no_loss():
    bench = replace(BENCH, intended="filter/x dropped 1")
    row = read(read(a_row(), 60), 65, path=SEARCH, bench=bench)
    assert (row.outcome, row.diff) == (Outcome.POLICY_DROP, "filter/x dropped 1")


def test_mode_16_an_old_sample_proves_nothing_for_a_new_canary():
    row = a_row(signal=Signal.METRICS)
    old = sighting(row, stamp_ns=row.canary.stamp_ns - 10**9)
    assert read(row, 10, old).outcome is Outcome.PENDING


def test_mode_17_each_sequence_number_is_proven_by_itself():
    rows = [a_row(seq) for seq in (1, 2, 3)]
    found = [sighting(row) for row in rows[1:]]
    seen = [read(row, 10, *found).outcome for row in rows]
    assert seen == [Outcome.PENDING, Outcome.OK, Outcome.OK]


@pytest.mark.parametrize("precision_ns", [1, 1000, 10**6, 10**9])
def test_mode_38_stamps_are_compared_at_the_stores_precision(precision_ns):
    row, bench = a_row(), replace(BENCH, precision_ns=precision_ns)
    cut = row.canary.stamp_ns // precision_ns * precision_ns
    assert read(row, 5, sighting(row, stamp_ns=cut), bench=bench).outcome is Outcome.OK
    far = sighting(row, stamp_ns=cut - 2 * precision_ns)
    assert read(row, 5, far, bench=bench).outcome is Outcome.PENDING


def test_fault_054_altered_bodies_values_and_dropped_attributes_are_seen():
    row, metric = a_row(), a_row(signal=Signal.METRICS)
    fewer = dict(list(row.canary.attributes.items())[:2])
    more = {**row.canary.attributes, "k8s.pod.name": "x"}
    for changed in ({"body": "x"}, {"attributes": fewer}):
        altered = read(row, 5, sighting(row, **changed))
        assert (altered.outcome, bool(altered.diff)) == (Outcome.ALTERED, True)
    assert read(metric, 5, sighting(metric, value=1.5)).outcome is Outcome.ALTERED
    for fine in ({"attributes": more}, {"attributes": {}, "body": None}):
        assert read(row, 5, sighting(row, **fine)).outcome is Outcome.OK


def test_a_difference_is_bounded():
    row = a_row()
    many = [sighting(row, body="é" * 9000)] * 20
    assert 0 < len(difference(row.canary, many).encode()) <= DIFF_BYTES


def test_copies_beyond_the_tries_are_a_mark_beside_the_outcome():
    row = read(a_row(), 5, sighting(a_row(), copies=2))
    assert (row.outcome, duplicated(row, 1)) == (Outcome.OK, True)
    assert not duplicated(replace(row, receipt=receipt(Sent.ACCEPTED, tries=2)), 1)
    assert not duplicated(replace(row, copies=None), 1)
    refused = replace(receipt(Sent.ACCEPTED, tries=2), first_try=Sent.REJECTED)
    assert duplicated(replace(row, receipt=refused), 1)
    assert read(row, 20, sighting(row, copies=3)).copies == 3


def test_an_unproven_clock_only_widens_the_deadline():
    row = a_row()
    later = Instant(START + timedelta(days=1), "other", 30.0)
    reading = Reading.full((), later, 0.0, 0)
    assert judge(row, reading, BY_ID, later, BENCH) == row
    seen = Reading.full((sighting(row),), later, 0.0, 0)
    assert judge(row, seen, BY_ID, later, BENCH).delay_s is None


def test_the_wait_a_store_asks_for_moves_the_deadline():
    reading = Reading.broken(Reason.THROTTLED, "429", at(50), 0.0, 30.0)
    row = judge(a_row(), reading, BY_ID, at(61), BENCH)
    assert (row.deadline_s, row.outcome) == (90, Outcome.PENDING)


class JudgedRoute(RuleBasedStateMachine):
    """Any order of sending, seeing, missing, failing and waiting."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed):
        self.clock, self.rng = VirtualClock(), random.Random(seed)
        self.ledger = MemoryLedger("0a1b2c3d", self.clock)
        self.complete: dict[CanaryKey, list[tuple[float, str]]] = {}
        self.sent = 0

    def now(self):
        return Instant(self.clock.utc(), "boot-1", self.clock.monotonic())

    def do(self, work):
        return asyncio.run(work)

    def rows(self):
        return self.do(self.ledger.recent("r", 1000))

    @rule(sent=st.sampled_from([Sent.ACCEPTED, Sent.REJECTED, Sent.MAYBE, None]))
    def send(self, sent):
        self.sent += 1
        row = a_row(self.sent, sent=None, now=self.now())
        self.do(self.ledger.open(row))
        if sent is not None:
            after = received(row, receipt(sent), self.now())
            self.do(self.ledger.receive(row.canary.key, receipt(sent)))
            self.do(self.ledger.settle([after]))

    @rule(seconds=st.sampled_from([0.5, 3.0, 5.0, 61.0]))
    def wait(self, seconds):
        self.clock.move(seconds)

    @precondition(lambda self: self.sent)
    @rule(
        path=st.sampled_from([BY_ID, SEARCH]),
        complete=st.booleans(),
        altered=st.booleans(),
        share=st.sampled_from([0.0, 0.3, 1.0]),
        wrong_stamp=st.booleans(),
    )
    def look(self, path, complete, altered, share, wrong_stamp):
        rows, now = self.rows(), self.now()
        shown = [row for row in rows if self.rng.random() < share]
        change = {"body": "changed"} if altered else {}
        found = [
            sighting(row, stamp_ns=row.canary.stamp_ns + wrong_stamp, **change) for row in shown
        ]
        reading = Reading(complete, tuple(found), Reason.OK, "", None, now, 0.0, 0)
        after = [judge(row, reading, path, now, BENCH) for row in rows]
        for old, new in zip(rows, after, strict=True):
            assert new.outcome is old.outcome or new.outcome in ALLOWED[old.outcome]
            if not complete:
                assert new.outcome in {old.outcome, Outcome.UNKNOWN}
        if complete:
            missed = {r.canary.key for r in rows}
            missed -= set() if wrong_stamp else {r.canary.key for r in shown}
            for key in missed:
                self.complete.setdefault(key, []).append((now.boot_s, path.name))
        self.do(self.ledger.settle(after))

    @precondition(lambda self: self.sent)
    @rule()
    def expire(self):
        rows = self.rows()
        self.do(self.ledger.settle([unread(r, Reason.READBACK, self.now()) for r in rows]))

    @invariant()
    def everything_sent_is_accounted_for(self):
        if hasattr(self, "ledger"):
            account = self.do(self.ledger.account("r"))
            assert account.balanced
            assert account.sent == self.sent

    @invariant()
    def lost_is_proven_by_complete_reads_after_the_deadline(self):
        for row in self.rows() if hasattr(self, "ledger") else []:
            if row.outcome is Outcome.LOST:
                assert row.receipt.sent is Sent.ACCEPTED
                end = row.sent.boot_s + row.deadline_s
                proof = [(s, p) for s, p in self.complete[row.canary.key] if s >= end]
                assert len({path for _, path in proof}) == 2
                assert max(proof)[0] - min(proof)[0] >= RULES.confirm_after


JudgedRoute.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestJudgedRoute = JudgedRoute.TestCase
