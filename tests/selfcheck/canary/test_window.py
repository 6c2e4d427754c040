"""The verdict of a route, rule by rule."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import instant
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.kept import Tally, brief_of
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import (
    CanaryKey,
    LedgerRow,
    Outcome,
    Receipt,
    Sent,
    Signal,
)
from selfcheck.canary.window import Evidence, RouteVerdict, route_verdict, verifying
from tests.support.clock import VirtualClock

RULES = JudgingRules()
WORDS = {
    "o": Outcome.OK, "L": Outcome.LOST, "A": Outcome.ALTERED, "R": Outcome.REJECTED,
    "t": Outcome.LATE, "P": Outcome.POLICY_DROP, "u": Outcome.UNKNOWN, "s": Outcome.UNKNOWN,
    ".": Outcome.PENDING,
}  # fmt: skip


def a_row(word: str, seq: int) -> LedgerRow:
    clock = VirtualClock()
    now = instant(clock)
    quiet = word == "s"
    sent = Sent.MAYBE if quiet else Sent.ACCEPTED
    receipt = Receipt(sent, Reason.OK, "why", 1, sent, 0.1, 1, silent=quiet)
    reason = Reason.MAYBE_SENT if quiet else {"t": Reason.LATE}.get(word, Reason.READBACK)
    canary = make_canary("i", "g", CanaryKey("r", 1, seq), 1, Signal.LOGS, 10**18, "s")
    return LedgerRow(
        canary, now, "u", 60.0, receipt, WORDS[word], reason, now, None, 1.0, 1, None, "", "", ""
    )


def hour_of(rows: list[LedgerRow]) -> Tally:
    hour = Tally()
    for row in rows:
        hour.add(brief_of(row), 1)
    return hour


def verdict(word: str, previous=None, **changes) -> RouteVerdict:
    """`word`: newest first."""
    rows = [a_row(letter, 100 - n) for n, letter in enumerate(word)]
    evidence = Evidence(rows, hour_of(rows), 10.0, 95.0, True, False, "", None, "", "", "", "")
    return route_verdict(replace(evidence, **changes), RULES, previous)


FAILED = RouteVerdict(Verdict.FAIL, Reason.SILENT_LOSS, "")
OLD = {"verified_age_s": 96.0}
NEVER = {"ever_seen": False, "verified_age_s": None}


@pytest.mark.parametrize(
    ("word", "changes", "expected", "reason"),
    [
        ("oooooo", {}, Verdict.OK, Reason.OK),
        ("..oooooo", {}, Verdict.OK, Reason.OK),
        ("Looooo", {}, Verdict.OK, Reason.OK),
        ("LLoooo", {}, Verdict.FAIL, Reason.SILENT_LOSS),
        ("LoooooL", {}, Verdict.OK, Reason.OK),
        ("AAoooo", {}, Verdict.FAIL, Reason.ALTERED),
        ("RRoooo", {}, Verdict.FAIL, Reason.INJECT),
        ("RR", NEVER, Verdict.FAIL, Reason.INJECT),
        ("ssoooo", {}, Verdict.FAIL, Reason.INJECT),
        ("PPoooo", {}, Verdict.FAIL, Reason.POLICY),
        ("PPoooo", {"drop_declared": True}, Verdict.OK, Reason.OK),
        ("LLoooo", OLD, Verdict.FAIL, Reason.SILENT_LOSS),
        ("uuuuuu", OLD, Verdict.BLIND, Reason.READBACK),
        ("oooooo", OLD, Verdict.BLIND, Reason.STALE),
        ("oooooo", {"imbalance": "sent 7, 6"}, Verdict.BLIND, Reason.ACCOUNTING),
        ("", NEVER, Verdict.BLIND, Reason.STARTING),
        ("...", NEVER, Verdict.BLIND, Reason.STARTING),
        ("tooooo", {}, Verdict.DEGRADED, Reason.LATE),
        ("oooooooLoooooLoooooLooooo", {}, Verdict.DEGRADED, Reason.SILENT_LOSS),
        ("oooooo", {"target_s": 0.5}, Verdict.DEGRADED, Reason.SLOW),
        ("oooooo", {"slower": "why"}, Verdict.DEGRADED, Reason.SLOWER),
        ("oooooo", {"target_s": 0.5, "slower": "why"}, Verdict.DEGRADED, Reason.SLOW),
        ("tooooo", {"slower": "why"}, Verdict.DEGRADED, Reason.LATE),
        ("uuuuuu", {**OLD, "slower": "why"}, Verdict.BLIND, Reason.READBACK),
        ("LLoooo", {"slower": "why"}, Verdict.FAIL, Reason.SILENT_LOSS),
    ],
)
def test_the_first_rule_that_holds_wins(word, changes, expected, reason):
    found = verdict(word, **changes)
    assert (found.verdict, found.reason) == (expected, reason)


def test_a_route_is_slower_until_it_surely_is_not():
    was = RouteVerdict(Verdict.DEGRADED, Reason.SLOWER, "")
    assert verdict("oooooo", was, still_slower="why").reason is Reason.SLOWER
    assert verdict("oooooo", was).verdict is Verdict.OK
    assert verdict("oooooo", still_slower="why").verdict is Verdict.OK


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("oLoooo", Verdict.FAIL),
        ("ooLooo", Verdict.OK),
        ("ooLLoo", Verdict.FAIL),
        ("tooooo", Verdict.FAIL),
        ("ootooo", Verdict.DEGRADED),
    ],
)
def test_a_failure_clears_below_two_losses_and_after_two_ok(word, expected):
    assert verdict(word, FAILED).verdict is expected


def test_an_old_failure_without_a_loss_left_gives_way_to_blind():
    assert verdict("uuuuuu", FAILED, **OLD).verdict is Verdict.BLIND


@given(st.text("oLARtPus.", max_size=12), st.booleans(), st.booleans())
def test_never_ok_without_something_verified(word, old, seen):
    found = verdict(word, verified_age_s=96.0 if old else 5.0, ever_seen=seen)
    if old or not seen or not set(word) - {"."}:
        assert found.verdict in {Verdict.BLIND, Verdict.FAIL}


@pytest.mark.parametrize(
    ("word", "expected", "reason"),
    [
        ("ouoooo", Verdict.OK, Reason.OK),
        ("ououoo", Verdict.BLIND, Reason.READBACK),
        ("ouoLLo", Verdict.FAIL, Reason.SILENT_LOSS),
        ("ooooooAoooooAoooooAo", Verdict.DEGRADED, Reason.ALTERED),
        ("ooooooPoooooPoooooPo", Verdict.DEGRADED, Reason.POLICY),
        ("ooooooRRRRRRRRRRRRRo", Verdict.OK, Reason.OK),
    ],
)
def test_most_of_them_being_ok_does_not_hide_the_others(word, expected, reason):
    found = verdict(word)
    assert (found.verdict, found.reason) == (expected, reason)


@pytest.mark.parametrize(("times", "expected"), [(2, Verdict.OK), (3, Verdict.DEGRADED)])
def test_refusals_at_separate_times_are_told_and_one_outage_is_not(times, expected):
    assert verdict("oooooo", hour=Tally(judged=360, refused=40, times=times)).verdict is expected


@pytest.mark.parametrize(("runs", "expected"), [(1, Verdict.OK), (2, Verdict.DEGRADED)])
def test_what_is_too_few_of_each_kind_is_added_up(runs, expected):
    hour = Tally(judged=360, lost=3, refused=3, times=runs, runs=runs)
    assert verdict("oooooo", hour=hour).verdict is expected


@pytest.mark.parametrize("what", ["altered", "doubled", "lost"])
def test_what_a_declared_sampler_leaves_is_not_diluted_by_what_it_takes(what):
    hour = replace(Tally(judged=360, dropped=324, times=3), **{what: 3})
    assert verdict("oooooo", hour=hour, drop_declared=True).verdict is Verdict.DEGRADED


def test_what_is_dropped_as_declared_counts_for_no_hour():
    assert verdict("ooooooPoooooPoooooPo", drop_declared=True).verdict is Verdict.OK


@pytest.mark.parametrize("letter", ["o", "t"])
def test_stored_though_refused_is_degraded_by_the_senders_word(letter):
    row = a_row(letter, 1)
    assert row.receipt
    refusal = replace(row.receipt, sent=Sent.REJECTED, detail="HTTP 500 boom")
    rows = [replace(row, receipt=refusal, reason=Reason.READBACK)] * 2 + [a_row("o", 1)] * 4
    evidence = Evidence(rows, hour_of(rows), 10.0, 95.0, True, False, "", None, "", "", "", "")
    found = route_verdict(evidence, RULES, None)
    assert (found.verdict, found.reason) == (Verdict.DEGRADED, Reason.INJECT)
    assert found.detail == "2 of the last 6 stored, though refused: HTTP 500 boom"


@pytest.mark.parametrize(
    ("first", "again", "expected"),
    [
        (Sent.REJECTED, 6, Verdict.DEGRADED),
        (Sent.REJECTED, 4, Verdict.DEGRADED),
        (Sent.REJECTED, 3, Verdict.OK),
        (Sent.MAYBE, 6, Verdict.OK),
    ],
)
def test_most_first_tries_refused_are_degraded(first, again, expected):
    row = a_row("o", 1)
    assert row.receipt
    retried = replace(row, receipt=replace(row.receipt, tries=2, first_try=first))
    rows = [retried] * again + [row] * (6 - again)
    evidence = Evidence(rows, hour_of(rows), 10.0, 95.0, True, False, "", None, "", "", "", "")
    found = route_verdict(evidence, RULES, None)
    assert found.verdict is expected
    if expected is Verdict.DEGRADED:
        assert found.reason is Reason.INJECT
        assert found.detail == f"{again} of the last 6 taken, but not at the first try"


def test_late_because_nobody_looked_in_time_says_nothing_of_the_route():
    rows = [replace(a_row("t", 100 - n), reason=Reason.READBACK) for n in range(6)]
    evidence = Evidence(rows, hour_of(rows), 10.0, 95.0, True, False, "", None, "", "", "", "")
    assert route_verdict(evidence, RULES, None).verdict is Verdict.OK


def test_only_a_declared_sampler_makes_an_absence_a_verified_canary():
    assert Outcome.POLICY_DROP in verifying(sampled=True)
    assert verifying(sampled=True) - verifying(sampled=False) == {Outcome.POLICY_DROP}
    assert Outcome.UNKNOWN not in verifying(sampled=True)
