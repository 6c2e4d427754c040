"""What became of a canary. Pure: a row and what was learned of it make the next row.

`lost` needs a complete read that began after the deadline and does not contain the canary, and a
confirming one. Whatever could not be read is `unknown`. Source: docs/design.md, "Outcomes".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from core.clock import Instant
from core.reason import Reason
from selfcheck.backends.protocol import AccessPath, Reading
from selfcheck.canary.compare import NOTHING, difference, records_of
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import LedgerRow, Outcome, Receipt, Sent, Sighting

ALLOWED: dict[Outcome, frozenset[Outcome]] = {
    Outcome.PENDING: frozenset(Outcome),
    Outcome.UNKNOWN: frozenset(Outcome) - {Outcome.PENDING},
    Outcome.LOST: frozenset({Outcome.LATE, Outcome.ALTERED}),
    Outcome.POLICY_DROP: frozenset({Outcome.LATE, Outcome.ALTERED}),
    Outcome.REJECTED: frozenset({Outcome.LATE, Outcome.OK}),
    Outcome.OK: frozenset(),
    Outcome.LATE: frozenset(),
    Outcome.ALTERED: frozenset(),
}
UNDECIDED = frozenset({Outcome.PENDING, Outcome.UNKNOWN})
# Why a read failed, where that says more than "the store did not answer".
_TOLD = frozenset(
    {
        Reason.AUTH,
        Reason.BACKEND_PROTOCOL,
        Reason.EGRESS,
        Reason.RESOLVER,
        Reason.DESCRIPTORS,
        Reason.INTERNAL,
        Reason.LAG,
        Reason.CAP,
    }
)

# Reasons of `unknown` that a complete read gave.
_NOT_SHOWN = frozenset({Reason.MAYBE_SENT, Reason.STARTING, Reason.RECONFIGURED})


@dataclass(frozen=True, slots=True)
class Bench:
    """What a judgement stands on, besides the row and the reading.

    precision_ns: of the store's stamps. confirm_path: name of the access path that has to confirm
    an absence, None where the store has only one.
    ever_seen: whether this route ever saw one of its canaries; without that, absence may as well
    be a wrong tenant, selector or path. sent_under: the parameters that are read under now.
    intended: evidence of an intended drop, "" when there is none. stamped: whether stored records
    carry the stamps of their canaries. unread: whether the store could not be asked lately, so
    that nobody can tell when a canary that is there now became visible. waited_s: seconds for which
    the read waited for its turn. slow_s: the delay that the route says is slow.
    polled_by: the path of the last complete look, "" without one. shown: as for `difference`, by
    path.
    """

    rules: JudgingRules
    precision_ns: int
    confirm_path: str | None
    ever_seen: bool
    sent_under: str
    intended: str = ""
    stamped: bool = True
    unread: bool = False
    waited_s: float = 0.0
    slow_s: float | None = None
    polled_by: str = ""
    shown: Mapping[str, Collection[str]] = field(default_factory=dict)


def age_bounds_s(then: Instant, now: Instant) -> tuple[float, float]:
    """Least and greatest age in seconds: equal within one boot.

    What was recorded in an earlier boot is at least as old as the present boot, whatever the
    wall clock says; the greater bound is the wall clock's, unproven.
    """
    if then.boot_id == now.boot_id:
        return now.boot_s - then.boot_s, now.boot_s - then.boot_s
    return now.boot_s, max(now.boot_s, (now.utc - then.utc).total_seconds())


def past_deadline(row: LedgerRow, at: Instant) -> bool:
    """Whether the deadline has provably passed at `at`; an unproven clock only widens it."""
    return age_bounds_s(row.sent, at)[0] >= row.deadline_s


def duplicated(row: LedgerRow, tries: int) -> bool:
    """Whether the store holds more copies than may have been taken. `tries`: when no receipt says.

    What was refused was not to be stored, whoever took it all the same.
    """
    if row.receipt is not None:
        tries = row.receipt.tries - (row.receipt.first_try is Sent.REJECTED)
    return row.copies is not None and row.copies > max(1, tries)


def received(row: LedgerRow, receipt: Receipt, now: Instant) -> LedgerRow:
    """The row with its receipt; a refusal is the only receipt that judges.

    A canary that was seen before its refusal was heard stays what it is.
    """
    row = replace(row, receipt=receipt)
    if receipt.sent is not Sent.REJECTED or row.outcome is not Outcome.PENDING:
        return row
    reason = Reason.INJECT if receipt.reason is Reason.OK else receipt.reason
    return replace(row, outcome=Outcome.REJECTED, reason=reason, judged=now)


def unread(row: LedgerRow, reason: Reason, now: Instant) -> LedgerRow:
    """The row after a read that failed or could not be tried: at worst `unknown`."""
    if row.outcome is Outcome.PENDING and past_deadline(row, now):
        told = reason if reason in _TOLD else Reason.READBACK
        return replace(row, outcome=Outcome.UNKNOWN, reason=told, judged=now)
    return row


def judge(
    row: LedgerRow, reading: Reading, path: AccessPath, now: Instant, bench: Bench
) -> LedgerRow:
    """The row after `reading`, which asked `path` for it and was finished at `now`."""
    if not reading.complete:
        return unread(_throttled(row, reading, bench.rules), reading.reason, now)
    if found := _found(row, reading, bench):
        return _seen(row, found, reading, path, now, bench)
    return _absent(row, reading, path, now, bench)


def _throttled(row: LedgerRow, reading: Reading, rules: JudgingRules) -> LedgerRow:
    """The wait that a store asks for is not the canary's delay: the deadline moves with it."""
    if row.outcome is not Outcome.PENDING or not reading.retry_after_s:
        return row
    wait = min(reading.retry_after_s, rules.retry_after_max)
    ceiling = max(row.deadline_s, rules.deadline_ceiling)
    return replace(row, deadline_s=min(row.deadline_s + wait, ceiling))


def _seen(
    row: LedgerRow,
    found: list[Sighting],
    reading: Reading,
    path: AccessPath,
    now: Instant,
    bench: Bench,
) -> LedgerRow:
    row = replace(row, copies=_copies(row, found))
    if not ALLOWED[row.outcome]:
        return row
    diff = difference(row.canary, found, bench.shown.get(path.name, NOTHING))
    was_missing = row.outcome in {Outcome.LOST, Outcome.POLICY_DROP}
    limit_s = row.deadline_s + bench.rules.deadline_slack
    on_time = age_bounds_s(row.sent, reading.asked)[1] <= limit_s
    outcome, reason = _outcome_seen(row.outcome, altered=bool(diff), on_time=on_time)
    if reason is Reason.LATE and not _was_absent(row):
        reason = Reason.READBACK
    least, most = age_bounds_s(row.sent, now)
    # After an outage of our own reading, or on a path that was not asked before, nobody knows
    # when it became visible: to learn a delay from that would stretch every later deadline.
    # What was called missing had been looked for by every path that can tell.
    asked_again = path.name in {row.empty_path, bench.polled_by} or was_missing
    polled = row.empty_read is not None and asked_again
    watched = least == most and not bench.unread
    asked_before = bench.polled_by in {"", path.name}
    bounded = watched and (polled or (on_time and row.empty_read is None and asked_before))
    return replace(
        row,
        outcome=outcome,
        reason=reason,
        judged=now,
        seen=now,
        delay_s=_delay_s(least, bench) if bounded else None,
        diff=diff,
        first_path=path.name,
        hop_stamps=found[0].hop_stamps,
    )


def _delay_s(age_s: float, bench: Bench) -> float:
    """What was due to be looked for before it would be slow is not slow because it was not."""
    slow_s = bench.slow_s
    if slow_s is None or age_s - bench.waited_s > slow_s:
        return age_s
    return min(age_s, slow_s)


def _outcome_seen(was: Outcome, *, altered: bool, on_time: bool) -> tuple[Outcome, Reason]:
    if altered and was is not Outcome.REJECTED:
        return Outcome.ALTERED, Reason.ALTERED
    if altered:
        # A refused canary can only turn into late or ok; altered content is never ok.
        return Outcome.LATE, Reason.ALTERED
    if on_time and was in {*UNDECIDED, Outcome.REJECTED}:
        return Outcome.OK, Reason.OK
    return Outcome.LATE, Reason.LATE


def _was_absent(row: LedgerRow) -> bool:
    """Whether a complete read after the deadline did not show it.

    Otherwise nobody looked in time: late, as far as anyone can say, but no sign of a slow route.
    """
    if row.outcome is Outcome.UNKNOWN:
        return row.reason in _NOT_SHOWN or row.empty_read is not None
    return row.outcome is not Outcome.PENDING or row.empty_read is not None


def recounted(row: LedgerRow, reading: Reading, bench: Bench) -> LedgerRow:
    """The row after a read that came when it was judged: a second copy may be stored later."""
    copies = _copies(row, _found(row, reading, bench))
    return row if copies == row.copies else replace(row, copies=copies)


def _found(row: LedgerRow, reading: Reading, bench: Bench) -> list[Sighting]:
    return records_of(row.canary, reading.sightings, bench.precision_ns, stamped=bench.stamped)


def _copies(row: LedgerRow, found: list[Sighting]) -> int | None:
    counts = [one.copies for one in found if one.copies is not None]
    if not counts:
        return row.copies
    return max(len(found), row.copies or 0, *counts)


def _absent(
    row: LedgerRow, reading: Reading, path: AccessPath, now: Instant, bench: Bench
) -> LedgerRow:
    if row.outcome not in UNDECIDED or not past_deadline(row, reading.asked):
        return row
    if row.sent_under != bench.sent_under:
        # Sent under other parameters: not to be found under these proves nothing.
        return _undecided(row, Reason.RECONFIGURED, now)
    if row.receipt is None or row.receipt.sent is Sent.MAYBE:
        return _undecided(row, Reason.MAYBE_SENT, now)
    if age_bounds_s(row.sent, reading.asked)[0] < path.floor_s:
        # A healthy store would not show it by this path yet: not to be there proves nothing.
        return row
    if row.empty_read is None:
        return replace(row, empty_read=reading.asked, empty_path=path.name)
    if not _confirms(row, row.empty_read, reading, path, bench):
        return row
    if bench.intended:
        return replace(
            row, outcome=Outcome.POLICY_DROP, reason=Reason.POLICY, judged=now, diff=bench.intended
        )
    if not bench.ever_seen:
        return _undecided(row, Reason.STARTING, now)
    return replace(row, outcome=Outcome.LOST, reason=Reason.SILENT_LOSS, judged=now)


def _undecided(row: LedgerRow, reason: Reason, now: Instant) -> LedgerRow:
    if row.outcome is Outcome.UNKNOWN and row.reason is reason:
        return row
    return replace(row, outcome=Outcome.UNKNOWN, reason=reason, judged=now)


def _confirms(
    row: LedgerRow, empty: Instant, reading: Reading, path: AccessPath, bench: Bench
) -> bool:
    waited_s = age_bounds_s(empty, reading.asked)[0]
    other = bench.confirm_path is None or path.name != row.empty_path
    return waited_s >= bench.rules.confirm_after and other
