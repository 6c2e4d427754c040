"""What is kept in mind of a route: it stays small, and says the same as all rows would."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import Instant, instant
from core.reason import Reason
from selfcheck.canary.judge import past_deadline
from selfcheck.canary.kept import HOUR_S, KeptRows, brief_of
from selfcheck.canary.ledger import Past
from selfcheck.canary.model import VERIFIED, CanaryKey, LedgerRow, Outcome, Receipt, Sent
from tests.support.clock import VirtualClock
from tests.support.stores import pending_row

MOST = 4
NOTHING = Past([], [], seen_under=False, only_under=False, sent_today=0, hours=[])
MAYBE = Receipt(Sent.MAYBE, Reason.TIMEOUT, "10 s", 1, Sent.MAYBE, 10.0, 612, silent=False)
SEEN = {Outcome.OK, Outcome.LATE, Outcome.ALTERED}
STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "judge", "again", "forget"]), st.sampled_from(list(Outcome)),
              st.integers(0, 3), st.floats(0, 900)),
    max_size=60,
)  # fmt: skip


def a_row(clock: VirtualClock, seq: int) -> LedgerRow:
    return pending_row("0a1b2c3d", CanaryKey("r", 1, seq), clock)


def settled(rows: list[LedgerRow], now: Instant) -> list[LedgerRow]:
    """Judged rows, newest first, that no row still waited for may yet fall between."""
    waiting = [n for n, row in enumerate(rows) if row.outcome is Outcome.PENDING]
    seen = [n for n, row in enumerate(rows) if row.seen is not None]
    if not waiting or not seen or seen[-1] < waiting[0]:
        return []
    over = [row for row in rows if past_deadline(row, now)]
    if rows[waiting[0]] in over:
        return rows[: waiting[0]][::-1]
    return [row for row in over if row.outcome is not Outcome.PENDING][::-1]


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_kept_rows_say_what_all_rows_would(steps):
    """Against a model that forgets nothing; whatever is open is held."""
    clock, every = VirtualClock(), {}
    kept = KeptRows(MOST, VERIFIED, instant(clock))
    for what, outcome, copies, seconds in steps:
        clock.move(seconds)
        if what == "send":
            row = a_row(clock, len(every) + 1)
        elif what == "forget":
            held = {row.canary.key for row in every.values() if row.outcome is Outcome.PENDING}
            kept.forget(held, instant(clock))
            continue
        else:
            open_rows = [r for r in every.values() if r.outcome is Outcome.PENDING]
            if not open_rows:
                continue
            row = open_rows[0 if what == "judge" else -1]
            seen = instant(clock) if outcome in SEEN else None
            row = replace(row, outcome=outcome, copies=copies, seen=seen)
        every[row.canary.key] = row
        kept.put(row)
    now, rows = instant(clock), list(every.values())
    assert kept.pending() == [r for r in rows if r.outcome is Outcome.PENDING]
    assert kept.judged(2) == [r for r in rows[::-1] if r.outcome is not Outcome.PENDING][:2]
    assert kept.settled(2, now) == settled(rows, now)[:2]
    verified = [row.sent for row in rows if row.outcome in VERIFIED]
    assert kept.verified == (verified[-1] if verified else None)
    surely = [r for r in rows if now.boot_s - r.sent.boot_s <= HOUR_S]
    at_most = [r for r in rows if now.boot_s - r.sent.boot_s <= HOUR_S + 60]
    hour = kept.hour(now)
    assert lost(surely) <= hour.lost <= lost(at_most)
    assert doubled(surely) <= hour.doubled <= doubled(at_most)
    assert 0 <= hour.lost <= hour.judged <= len(at_most)


def lost(rows: list[LedgerRow]) -> int:
    return sum(row.outcome is Outcome.LOST for row in rows)


def doubled(rows: list[LedgerRow]) -> int:
    return sum(brief_of(row).doubled is True for row in rows)


def test_only_the_newest_and_what_is_held_stays_in_mind():
    clock = VirtualClock()
    kept = KeptRows(MOST, VERIFIED, instant(clock))
    for seq in range(1, 11):
        kept.put(replace(a_row(clock, seq), outcome=Outcome.OK))
        clock.move(1)
    held = {CanaryKey("r", 1, 2)}
    assert [key.seq for key in kept.forget(held, instant(clock))] == [1, 3, 4, 5, 6]
    assert [row.canary.key.seq for row in kept.newest()] == [10, 9, 8, 7, 2]
    assert kept[CanaryKey("r", 1, 2)].outcome is Outcome.OK
    assert kept.hour(instant(clock)).judged == 10


def test_however_many_are_under_way_the_judged_ones_stay_in_mind():
    clock = VirtualClock()
    kept = KeptRows(MOST, VERIFIED, instant(clock))
    for seq in range(1, 31):
        kept.put(replace(a_row(clock, seq), outcome=Outcome.OK if seq <= 8 else Outcome.PENDING))
    kept.forget((), instant(clock))
    assert [row.canary.key.seq for row in kept.judged(6)] == [8, 7, 6, 5]
    assert len(kept.pending()) == 22


def test_an_hour_of_an_earlier_boot_is_counted_by_the_wall_clock():
    clock = VirtualClock()
    now = instant(clock)
    long_ago, before = timedelta(hours=2), timedelta(minutes=30)
    past = [
        replace(brief_of(a_row(clock, seq)), outcome=Outcome.LOST,
                sent=Instant(now.utc - age, "another boot", 9_000.0 + seq * 100))
        for seq, age in enumerate((long_ago, before), 1)
    ]  # fmt: skip
    kept = KeptRows(MOST, VERIFIED, instant(clock))
    kept.recall([], replace(NOTHING, recent=past, newest=past[-1:]))
    assert kept.hour(now).lost == 1
    assert kept.verified == past[-1].sent


def test_what_our_own_end_may_have_kept_from_leaving_says_nothing_of_its_route():
    """A watcher that is killed often sends canaries of which nobody knows; a route is not blamed."""
    clock = VirtualClock()
    kept = KeptRows(MOST, VERIFIED, instant(clock), epoch=2)
    for seq, (epoch, receipt) in enumerate(((1, None), (1, MAYBE), (1, None), (2, None)), 1):
        row = replace(
            pending_row("0a1b2c3d", CanaryKey("r", epoch, seq), clock),
            outcome=Outcome.UNKNOWN, reason=Reason.MAYBE_SENT, receipt=receipt,
        )  # fmt: skip
        assert brief_of(row).unheard is (receipt is None)
        kept.put(row)
    hour = kept.hour(instant(clock))
    assert (hour.judged, hour.untold) == (4, 2)


def test_what_cannot_be_told_for_a_reason_of_our_own_says_nothing_of_its_route():
    """A config that moves a route to another tenant leaves what was in flight behind."""
    clock = VirtualClock()
    kept = KeptRows(MOST, VERIFIED, instant(clock))
    for seq, reason in enumerate((Reason.STARTING, Reason.RECONFIGURED, Reason.READBACK), 1):
        row = replace(a_row(clock, seq), outcome=Outcome.UNKNOWN, reason=reason, receipt=MAYBE)
        kept.put(row)
    assert kept.hour(instant(clock)).untold == 1


def test_an_hour_of_an_earlier_boot_ends_though_the_wall_clock_was_set_back():
    """A machine without a clock of its own boots hours behind what it sent before."""
    clock = VirtualClock()
    now = instant(clock)
    ahead = Instant(now.utc + timedelta(hours=6), "another boot", 9_000.0)
    past = [replace(brief_of(a_row(clock, 1)), outcome=Outcome.LOST, sent=ahead)]
    kept = KeptRows(MOST, VERIFIED, now)
    kept.recall([], replace(NOTHING, recent=past, newest=past))
    kept.put(replace(a_row(clock, 2), outcome=Outcome.OK))
    assert (kept.hour(now).judged, kept.hour(now).lost) == (2, 1)
    clock.move(HOUR_S + 60.0)
    assert (kept.hour(instant(clock)).judged, kept.hour(instant(clock)).lost) == (0, 0)
