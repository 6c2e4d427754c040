"""Deliveries that are owed: how rows are made, ordered, retried and given up. Pure.

Order is strict per (incident, receiver target): the row behind waits for the one before it.
A trigger that was never accepted and whose incident is over is recorded, not sent stale.
"""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from core.clock import Instant
from paging.model import Answer, Page, PageAction
from paging.rules import seconds_between
from paging.store import OutboxKey, OutboxRow

FINISHED = frozenset({Answer.ACCEPTED, Answer.REFUSED})
SUPERSEDED = "superseded: "
BACKOFF_FIRST_S = 1.0
BACKOFF_CEILING_S = 60.0
RETRY_AFTER_CEILING_S = 3600.0

Lane = tuple[str, str, str]


def lane(key: OutboxKey) -> Lane:
    """What must be delivered in order: (incident, receiver, target)."""
    return key.dedup_key, key.receiver, key.target


def later(moment: Instant, seconds: float) -> Instant:
    """`moment` moved by `seconds`."""
    return Instant(moment.utc + timedelta(seconds=seconds), moment.boot_id, moment.boot_s + seconds)


def new_row(
    page: Page, receiver: str, target: str, *, fallback: str, fallback_of: str, due: Instant
) -> OutboxRow:
    """A delivery of `page` that nobody has tried yet."""
    key = OutboxKey(page.dedup_key, receiver, target, page.action, page.seq)
    return OutboxRow(
        key=key,
        page=page,
        fallback=fallback,
        fallback_of=fallback_of,
        due=due,
        created=page.at,
        tries=0,
        answer=None,
        detail="",
        thread="",
        lease_epoch=0,
        lease_until=None,
    )


def owed_s(row: OutboxRow, now: Instant) -> float:
    """Seconds a row has been due; what waits on purpose (grouping, mute) is not yet owed."""
    return max(0.0, seconds_between(row.due if row.tries == 0 else row.created, now))


def heads(
    rows: Iterable[OutboxRow], busy: Collection[Lane]
) -> list[tuple[OutboxRow, list[OutboxRow]]]:
    """First row and the rest of each lane that is not `busy`, the longest due lane first."""
    lanes: dict[Lane, list[OutboxRow]] = {}
    for row in rows:
        place = lane(row.key)
        if place not in busy:
            lanes.setdefault(place, []).append(row)
    queues = [sorted(queue, key=lambda row: row.key.seq) for queue in lanes.values()]
    queues.sort(key=lambda queue: (queue[0].due.utc, queue[0].key.seq))
    return [(queue[0], queue[1:]) for queue in queues]


def stale_because(row: OutboxRow, behind: Sequence[OutboxRow], *, told: bool) -> str:
    """Why `row` needs no sending any more, "" when it does.

    behind: later rows of its lane. told: the target has accepted a trigger, or may have taken one.
    """
    actions = {other.key.action for other in behind}
    over = PageAction.RESOLVE in actions
    if row.key.action is PageAction.RESOLVE:
        return "" if told else "resolved before anything was sent"
    if over:
        return "resolved before it was accepted"
    if row.key.action is PageAction.UPDATE and PageAction.UPDATE in actions:
        return "a newer update is waiting"
    return ""


def superseded(row: OutboxRow, why: str, epoch: int) -> OutboxRow:
    """`row` finished without having been sent."""
    return replace(
        row, answer=Answer.REFUSED, detail=SUPERSEDED + why, lease_epoch=epoch, lease_until=None
    )


def is_superseded(row: OutboxRow) -> bool:
    """Whether a finished row was given up because it had become stale."""
    return row.answer is Answer.REFUSED and row.detail.startswith(SUPERSEDED)


def backoff_s(failures: int, rng: random.Random) -> float:
    """Seconds before the next try after `failures` in a row: doubling, 1 s to 60 s, jittered."""
    base = min(BACKOFF_CEILING_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 10))
    return base * rng.uniform(0.75, 1.0)


@dataclass(slots=True)
class Bucket:
    """Token bucket of one receiver key. per_minute None: no limit of ours."""

    per_minute: float | None
    tokens: float
    filled_s: float

    def take(self, now_s: float) -> bool:
        """Take one token; False when there is none at `now_s` (boot seconds)."""
        if self.per_minute is None:
            return True
        earned = (now_s - self.filled_s) * self.per_minute / 60.0
        # A burst of a tenth keeps any sliding minute under the vendor's own limit.
        self.tokens = min(max(1.0, self.per_minute / 10), self.tokens + max(0.0, earned))
        self.filled_s = now_s
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


def unanswered(
    rows: Iterable[OutboxRow], accepted: Mapping[tuple[str, str], Collection[int]]
) -> list[OutboxRow]:
    """Rows whose page no target of their receiver has accepted: (dedup_key, receiver) -> seqs."""
    return [
        row
        for row in rows
        if row.key.seq not in accepted.get((row.key.dedup_key, row.key.receiver), ())
    ]
