"""Rechecks, the pure parts: which canaries at which ages, and what becomes of each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.clock import Instant, instant
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.protocol import Reading
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome, Sighting, Signal
from selfcheck.canary.recheck.judge import RecheckBench, deferred, judged, opened, overdue
from selfcheck.canary.recheck.model import (
    VERIFIED,
    WAITING,
    Recheck,
    RecheckState,
    account_of,
    violation,
)
from selfcheck.canary.recheck.plan import (
    OVERDUE_S,
    WAITING_ROWS,
    Pace,
    ages_of,
    first_recheck,
    following,
    wait_s,
)
from selfcheck.canary.recheck.verdict import AgeEvidence, RecheckEvidence, recheck_result
from tests.fakes.store import BY_ID, SEARCH
from tests.support.clock import VirtualClock
from tests.support.stores import pending_row

HOUR, DAY = 3600.0, 86400.0
START = Instant(datetime(2026, 11, 21, 3, tzinfo=UTC), "boot-1", 1000.0)
BENCH = RecheckBench(1, SEARCH.name, 5.0, "path-1", 30 * DAY)
PACE = Pace(60, 10.0)
AGES = ages_of(30 * DAY)


def later(seconds: float, boot_id: str = "boot-1") -> Instant:
    boot_s = START.boot_s + seconds if boot_id == "boot-1" else 10.0
    return Instant(START.utc + timedelta(seconds=seconds), boot_id, boot_s)


def seen_row(seq: int = 1, delay_s: float = 2.0, signal: Signal = Signal.LOGS) -> LedgerRow:
    clock = VirtualClock()
    row = pending_row("0123abcd", CanaryKey("logs", 7, seq), clock, signal, START)
    return replace(row, outcome=Outcome.OK, reason=Reason.OK, seen=later(delay_s))


def item_of(seq: int = 1) -> Recheck:
    made = first_recheck(seen_row(seq), AGES, PACE)
    assert made is not None
    return made


def shown(item: Recheck, at: Instant, **changes: object) -> Reading:
    canary = item.canary
    sighting = Sighting(
        canary.canary_id, canary.stamp_ns, 1, canary.body, canary.value, canary.attributes
    )
    return Reading.full((replace(sighting, **changes),), at, 0.1, 100)


def empty(at: Instant) -> Reading:
    return Reading.full((), at, 0.1, 10)


def broken(at: Instant, reason: Reason = Reason.TIMEOUT) -> Reading:
    return Reading.broken(reason, "no answer", at, 10.0)


@given(st.integers(1, 1000), st.floats(5.0, 3600.0), st.floats(HOUR, 400 * DAY))
def test_whoever_is_chosen_for_an_age_was_chosen_for_each_before(every, every_s, retention_s):
    """So that a recheck can follow a recheck, and few enough wait for each age."""
    pace, ages = Pace(every, every_s), ages_of(retention_s)
    one_in = [pace.one_in(age.after_s) for age in ages]
    assert one_in == sorted(one_in)
    assert all(after % before == 0 for before, after in pairwise(one_in))
    assert all(pace.chosen(1, age.after_s) for age in ages)
    for age, n in zip(ages, one_in, strict=True):
        assert age.after_s / (n * every_s) <= WAITING_ROWS * (1 + 1e-9)
    assert one_in[0] * every_s <= max(HOUR, every_s) or one_in[0] > every


def test_one_in_sixty_at_the_default_pace_up_to_a_day():
    assert [PACE.one_in(age.after_s) for age in AGES] == [60, 60, 480, 1920]
    assert [Pace(60, 60.0).one_in(age.after_s) for age in AGES] == [60, 60, 120, 480]


@given(st.one_of(st.none(), st.floats(1.0, 400 * DAY)))
def test_ages_ascend_and_the_last_before_the_retention_leaves_time_to_look(retention_s):
    ages = ages_of(retention_s)
    times = [age.after_s for age in ages]
    assert times == sorted(set(times))
    assert [age.name for age in ages if age.name != "retention"] == ["1h", "24h", "7d"]
    for age in ages:
        if age.name == "retention":
            assert age.after_s + age.overdue_s < retention_s


def test_what_was_not_seen_or_not_chosen_has_no_recheck():
    assert first_recheck(seen_row(2), AGES, PACE) is None
    for outcome in set(Outcome) - {Outcome.OK, Outcome.LATE}:
        assert first_recheck(replace(seen_row(), outcome=outcome), AGES, PACE) is None
    assert first_recheck(replace(seen_row(), seen=None), AGES, PACE) is None


def test_ages_that_had_passed_when_it_was_first_seen_are_left_out():
    late = replace(seen_row(delay_s=20 * HOUR), outcome=Outcome.LATE)
    made = first_recheck(late, AGES, PACE)
    assert (made.age, made.seen) == ("24h", late.seen.utc)


def test_its_time_comes_by_boot_time_and_across_boots_by_the_wall_clock():
    item = item_of()
    assert wait_s(item, later(HOUR - 10)) == 10.0
    assert wait_s(item, Instant(START.utc - timedelta(days=9), "boot-1", START.boot_s + HOUR)) == 0
    assert wait_s(item, later(HOUR - 10, "boot-2")) == 10.0
    assert wait_s(item, later(HOUR, "boot-2")) == 0


def test_lost_needs_two_paths_and_the_time_between_them():
    item = opened(item_of(), later(HOUR), BENCH)
    once = judged(item, empty(later(HOUR)), BY_ID, later(HOUR + 1), BENCH)
    assert (once.state, once.empty_path) == (RecheckState.PENDING, "by_id")
    same = judged(once, empty(later(HOUR + 10)), BY_ID, later(HOUR + 10), BENCH)
    soon = judged(once, empty(later(HOUR + 2)), SEARCH, later(HOUR + 2), BENCH)
    assert {same.state, soon.state} == {RecheckState.PENDING}
    lost = judged(once, empty(later(HOUR + 6)), SEARCH, later(HOUR + 6), BENCH)
    assert (lost.state, lost.newly_missed, lost.seen) == (
        RecheckState.LOST, True, later(2.0).utc
    )  # fmt: skip
    single = replace(BENCH, confirm_path=None)
    alone = judged(once, empty(later(HOUR + 6)), BY_ID, later(HOUR + 6), single)
    assert alone.state is RecheckState.LOST


def test_a_record_with_another_stamp_is_no_proof():
    item = opened(item_of(), later(HOUR), BENCH)
    reading = shown(item, later(HOUR), stamp_ns=item.canary.stamp_ns + 10**9)
    assert judged(item, reading, BY_ID, later(HOUR), BENCH).state is RecheckState.PENDING


def test_an_unstamped_sample_is_known_by_its_value():
    row = seen_row(signal=Signal.METRICS)
    canary = replace(row.canary, value=float((7 << 32) + 1))
    item = first_recheck(replace(row, canary=canary), AGES, PACE)
    item = opened(item, later(HOUR), BENCH)
    reading = shown(item, later(HOUR), stamp_ns=canary.stamp_ns + 7 * 10**9)
    assert judged(item, reading, BY_ID, later(HOUR), BENCH).state is RecheckState.OK


def test_retention_and_changed_parameters_come_before_any_read():
    item = item_of()
    assert opened(item, later(HOUR - 1), BENCH) is item
    short = replace(BENCH, retention_s=HOUR / 2)
    assert opened(item, later(HOUR), short).state is RecheckState.NOT_APPLICABLE
    other = replace(BENCH, sent_under="path-2")
    assert opened(item, later(HOUR), other).reason is Reason.RECONFIGURED
    late = opened(item, later(HOUR + OVERDUE_S["1h"] + 1), BENCH)
    assert (late.state, late.reason) == (RecheckState.UNKNOWN, Reason.STALE)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["open", "ok", "altered", "empty", "broken", "budget"]),
        st.sampled_from([BY_ID, SEARCH]),
        st.floats(0.0, 3 * HOUR),
    ),
    max_size=25,
)


@given(EVENTS)
def test_whatever_happens_only_confirmed_absence_is_lost_and_nothing_settled_changes(events):
    """lost: two complete empty reads by two paths, 5 s apart, and no sighting at all."""
    item, age_s, empties, shows = item_of(), HOUR - 100, [], 0
    for what, path, wait in events:
        if item.state not in WAITING:
            break
        age_s += wait
        now = later(age_s)
        item = opened(item, now, BENCH)
        if item.state in {RecheckState.PLANNED, *VERIFIED} or item.state not in WAITING:
            continue
        match what:
            case "ok":
                item, shows = judged(item, shown(item, now), path, now, BENCH), shows + 1
            case "altered":
                item = judged(item, shown(item, now, body="other"), path, now, BENCH)
                shows += 1
            case "empty":
                item = judged(item, empty(now), path, now, BENCH)
                empties.append((path.name, age_s))
            case "broken":
                item = judged(item, broken(now), path, now, BENCH)
            case "budget":
                item = deferred(item)
    if item.state is RecheckState.LOST:
        assert shows == 0
        assert {name for name, _ in empties} == {"by_id", "search"}
        assert empties[-1][1] - empties[0][1] >= BENCH.confirm_after_s
        assert item.seen == later(2.0).utc
    if shows:
        assert item.state in {RecheckState.OK, RecheckState.ALTERED}
    if item.state is RecheckState.UNKNOWN:
        assert age_s > HOUR + OVERDUE_S["1h"]


def test_a_chain_ends_and_carries_the_last_sighting():
    item, ages = item_of(), []
    while item is not None:
        ages.append(item.age)
        now = later(item.age_s + 60)
        done = judged(opened(item, now, BENCH), shown(item, now), BY_ID, now, BENCH)
        assert done.seen == now.utc
        item = following(done, AGES, PACE)
        assert item is None or (item.seen, item.state) == (now.utc, RecheckState.PLANNED)
    assert ages == ["1h", "24h", "7d", "retention"]


def test_an_account_that_does_not_add_up_is_told_and_blinds():
    account = account_of("logs", "1h", 3, {RecheckState.OK: 2})
    assert "3 rechecks were due, accounted for 2 (ok 2)" in violation(account)
    evidence = RecheckEvidence([AgeEvidence(AGES[0], account, (), None)], None, PACE)
    result = recheck_result(evidence, START)
    assert (result.verdict, result.reason) == (Verdict.BLIND, Reason.ACCOUNTING)


def test_evidence_of_loss_comes_before_blind():
    clock = VirtualClock()
    now = instant(clock)
    lost = replace(item_of(), state=RecheckState.LOST, missed_at="1h", judged=now)
    unknown = overdue(item_of(98), now)
    account = account_of("logs", "1h", 2, {RecheckState.LOST: 1, RecheckState.UNKNOWN: 1})
    one = AgeEvidence(AGES[0], account, (unknown, lost), None)
    assert recheck_result(RecheckEvidence([one], DAY, PACE), now).verdict is Verdict.FAIL
    only = replace(one, newest=(unknown,))
    assert recheck_result(RecheckEvidence([only], DAY, PACE), now).verdict is Verdict.BLIND


def test_nothing_is_ok_where_no_recheck_applied():
    account = account_of("logs", "1h", 2, {RecheckState.NOT_APPLICABLE: 2})
    evidence = RecheckEvidence([AgeEvidence(AGES[0], account, (), None)], HOUR, PACE)
    assert recheck_result(evidence, START) is None
