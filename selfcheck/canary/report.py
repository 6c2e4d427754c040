"""What a route tells the rest: one envelope per judged canary, one when its verdict changes."""

from datetime import UTC, datetime, timedelta

from core.clock import Instant
from core.result import Fact, RunEnvelope, Trust
from selfcheck.canary.model import LedgerRow
from selfcheck.canary.route import RouteStatus

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
KIND = "canary"
# Of what was not due at a fixed time: the step that judges, a verdict that ages. Lag of the loop
# is the engine's.
PUNCTUAL = Trust(late_s=0.0, queue_s=0.0, lag_s=0.0)


def unix_ns(moment: datetime) -> int:
    """Unix nanoseconds without the rounding of a float."""
    return (moment - _UNIX) // timedelta(microseconds=1) * 1000


def canary_envelope(
    row: LedgerRow,
    status: RouteStatus,
    epoch: int,
    generation: int,
    now: Instant,
    trust: Trust = PUNCTUAL,
) -> RunEnvelope:
    """The result of one judged canary. It carries the verdict of the *route* after it.

    scheduled_at is the moment of sending: a later change of outcome replaces the first result.
    trust: of its sending.
    """
    facts: dict[str, Fact] = {
        **_route_facts(status),
        "canary": row.canary.canary_id,
        "outcome": row.outcome.value,
        "outcome_reason": row.reason.value,
        "deadline_s": row.deadline_s,
    }
    if row.delay_s is not None:
        facts["delay_s"] = row.delay_s
    if row.receipt is not None:
        facts["ack_s"] = row.receipt.elapsed_s
        facts["tries"] = row.receipt.tries
    if row.copies is not None:
        facts["copies"] = row.copies
    if row.first_path:
        facts["path"] = row.first_path
    return _envelope(status, facts, row.sent, row.judged or now, epoch, generation, trust)


def route_envelope(status: RouteStatus, epoch: int, generation: int, now: Instant) -> RunEnvelope:
    """The verdict of a route that changed without a canary, as by age."""
    return _envelope(status, _route_facts(status), now, now, epoch, generation, PUNCTUAL)


def _route_facts(status: RouteStatus) -> dict[str, Fact]:
    facts: dict[str, Fact] = {
        "lost_of_6": status.losses,
        "pending": status.pending,
        "route_deadline_s": status.deadline_s,
        "duplicates": status.duplicates,
    }
    if status.newest_verified_age_s is not None:
        facts["verified_age_s"] = status.newest_verified_age_s
    return facts


def _envelope(
    status: RouteStatus,
    facts: dict[str, Fact],
    started: Instant,
    ended: Instant,
    epoch: int,
    generation: int,
    trust: Trust,
) -> RunEnvelope:
    return RunEnvelope(
        check=status.spec.name,
        kind=KIND,
        generation=generation,
        epoch=epoch,
        scheduled_at=started.utc,
        started=started,
        ended=ended,
        verdict=status.verdict,
        reason=status.reason,
        detail=status.detail,
        facts=facts,
        trust=trust,
    )
