"""What became of one recheck. Pure: a recheck and what was learned of it make the next state.

`lost` needs a complete read after its time that does not show the canary, and one confirming
complete read, by a second access path where the store has one. A read error never settles
anything: it is tried again until the recheck is overdue, which is `unknown`.
"""

from dataclasses import dataclass, replace

from core.clock import Instant
from core.reason import Reason
from selfcheck.backends.protocol import AccessPath, Reading
from selfcheck.canary.compare import difference, records_of
from selfcheck.canary.judge import age_bounds_s
from selfcheck.canary.recheck.model import Recheck, RecheckState
from selfcheck.canary.recheck.plan import OVERDUE_S, wait_s


@dataclass(frozen=True, slots=True)
class RecheckBench:
    """What a recheck is judged by, besides itself and the reading.

    confirm_path: the access path that has to confirm an absence, None where there is only one.
    sent_under: the parameters that are read under now. retention_s: how long the store keeps
    records, None = not stated.
    """

    precision_ns: int
    confirm_path: str | None
    confirm_after_s: float
    sent_under: str
    retention_s: float | None


def opened(item: Recheck, now: Instant, bench: RecheckBench) -> Recheck:
    """The recheck before it is read: its time comes, ends, or it cannot apply."""
    if wait_s(item, now) > 0:
        return item
    age_s = age_bounds_s(item.sent, now)[1]
    if item.sent_under != bench.sent_under:
        return _settled(item, RecheckState.NOT_APPLICABLE, Reason.RECONFIGURED, now)
    if bench.retention_s is not None and age_s >= bench.retention_s:
        # Its own rule deletes it: neither a loss nor a sign of health.
        return _settled(item, RecheckState.NOT_APPLICABLE, Reason.POLICY, now)
    if age_s > item.age_s + OVERDUE_S[item.age]:
        return overdue(item, now)
    if item.state is RecheckState.PLANNED:
        return replace(item, state=RecheckState.PENDING, reason=Reason.STARTING)
    return item


def overdue(item: Recheck, now: Instant) -> Recheck:
    """Nobody could look in time: `unknown`, for the reason why the last try failed."""
    tried = item.tries or item.state is RecheckState.DEFERRED
    return _settled(item, RecheckState.UNKNOWN, item.reason if tried else Reason.STALE, now)


def deferred(item: Recheck) -> Recheck:
    """Due, and the read budget is used up."""
    if item.state is RecheckState.DEFERRED:
        return item
    return replace(item, state=RecheckState.DEFERRED, reason=Reason.THROTTLED)


def may_read(item: Recheck, path: AccessPath, now: Instant, bench: RecheckBench) -> bool:
    """Whether a read by `path` can settle the recheck now."""
    if item.state not in {RecheckState.PENDING, RecheckState.DEFERRED}:
        return False
    if item.empty_read is None:
        return True
    other = bench.confirm_path is None or path.name != item.empty_path
    return other and age_bounds_s(item.empty_read, now)[1] >= bench.confirm_after_s


def judged(
    item: Recheck, reading: Reading, path: AccessPath, now: Instant, bench: RecheckBench
) -> Recheck:
    """The recheck after `reading`, which asked `path` for it and was finished at `now`."""
    item = replace(item, tries=item.tries + 1, state=RecheckState.PENDING)
    if not reading.complete:
        failed = tuple(sorted({*item.failed_paths, path.name}))
        return replace(item, reason=reading.reason, failed_paths=failed)
    stamped = is_stamped(item)
    found = records_of(item.canary, reading.sightings, bench.precision_ns, stamped=stamped)
    if not found:
        return _absent(item, reading, path, now, bench)
    diff = difference(item.canary, found)
    seen = replace(item, seen=now.utc, path=path.name, diff=diff)
    if diff:
        missed = item.missed_at or item.age
        return _settled(replace(seen, missed_at=missed), RecheckState.ALTERED, Reason.ALTERED, now)
    if item.missed_at:
        return _settled(replace(seen, missed_at=""), RecheckState.LATE, Reason.LATE, now)
    return _settled(seen, RecheckState.OK, Reason.OK, now)


def _absent(
    item: Recheck, reading: Reading, path: AccessPath, now: Instant, bench: RecheckBench
) -> Recheck:
    if item.empty_read is None:
        # Not confirmed: should it never be, the reading is to blame.
        return replace(item, empty_read=reading.asked, empty_path=path.name, reason=Reason.READBACK)
    if not may_read(item, path, reading.asked, bench):
        return item
    lost = replace(item, missed_at=item.missed_at or item.age, path=path.name)
    return _settled(lost, RecheckState.LOST, Reason.SILENT_LOSS, now)


def _settled(item: Recheck, state: RecheckState, reason: Reason, now: Instant) -> Recheck:
    return replace(item, state=state, reason=reason, judged=now)


def is_stamped(item: Recheck) -> bool:
    """Whether the stored record carries the canary's own stamp (`make_canary`)."""
    return item.canary.value == item.canary.key.seq
