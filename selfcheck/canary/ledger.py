"""What the canary work needs of its ledger; `scheduler.store` keeps it on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from core.clock import Instant
from core.reason import Reason
from selfcheck.canary.model import Account, CanaryKey, LedgerRow, Outcome, Receipt

# How long after sending a row is still looked for. What we could not read stays open for a day,
# so that an outage of the read side does not turn into canaries that are never judged.
OPEN_S = 3600.0
OPEN_UNKNOWN_S = 86400.0
# What is told by the hour begins so long before midnight.
HOURS_BACK = timedelta(days=7)
HOUR_US = 3_600_000_000
# Reasons of `unknown` that are of our own making, and over once new canaries are judged.
_OURS = frozenset({Reason.STARTING, Reason.RECONFIGURED})


@dataclass(frozen=True, slots=True)
class Epoch:
    """One start of the service: committed before the first send, part of every id."""

    instance: str
    number: int


@dataclass(frozen=True, slots=True)
class Brief:
    """What a route needs of a canary that is not kept in mind.

    doubled: whether it is stored more often than sent; None when no copies were counted.
    untaken: whether it arrived though its sender was not told that it was taken.
    untold: whether nobody could tell what became of it.
    unheard: whether no receipt was ever written. late: whether it came after its deadline, for no
    reason of our own reading. The others as in LedgerRow.
    """

    key: CanaryKey
    sent: Instant
    sent_under: str
    outcome: Outcome
    doubled: bool | None
    judged: Instant | None
    delay_s: float | None
    first_path: str
    empty_path: str
    untaken: bool
    untold: bool
    unheard: bool
    late: bool


def untaken(outcome: Outcome, receipt: Receipt | None) -> bool:
    """Whether a canary arrived whose sender holds it for lost: what it does then is its affair."""
    arrived = outcome in {Outcome.OK, Outcome.LATE}
    return arrived and receipt is not None and bool(receipt.untaken)


def untold(outcome: Outcome, reason: Reason) -> bool:
    """Whether nobody could tell what became of a canary, for no reason of our own making."""
    return outcome is Outcome.UNKNOWN and reason not in _OURS


def late(outcome: Outcome, reason: Reason) -> bool:
    """Whether a canary came after its deadline. What nobody looked for in time does not count."""
    return outcome is Outcome.LATE and reason is Reason.LATE


@dataclass(frozen=True, slots=True)
class HourPast:
    """What the canaries of one hour of UTC come to whose delays are known.

    hour: since 1970, of sending. n: how many. deadline_s, delay_s: their means. longest_s: the
    longest delay.
    """

    hour: int
    n: int
    deadline_s: float
    delay_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class PathPast:
    """What an access path answered of late, where no canary's row tells it.

    Each a bit for every answer, the last one lowest, as in PathTally. outages: Unix seconds.
    shown: parts of records that it has shown, each with the day since 1970 of the last time.
    """

    path: str
    denials: int = 0
    again: int = 0
    reads: int = 0
    outages: tuple[float, ...] = ()
    shown: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Past:
    """What the ledger knows of a route beyond its newest rows.

    recent: the newest canaries, as many as were asked for, in sending order.
    newest: of each outcome the newest canary.
    seen_under: one that was sent under the route's present parameters was seen, or called lost,
    which is only ever said after one had been seen. only_under: there are rows, none under others.
    sent_today: canaries since midnight UTC.
    hours: of those that were sent under the route's present parameters, from midnight UTC seven
    days ago; hours without a known delay are left out.
    paths: as they were last kept under the route's present parameters.
    """

    recent: Sequence[Brief]
    newest: Sequence[Brief]
    seen_under: bool
    only_under: bool
    sent_today: int
    hours: Sequence[HourPast]
    paths: Sequence[PathPast] = ()


class Ledger(Protocol):
    """Rows are durable when a method returns. Raises StoreError; never answers "none" for it."""

    async def begin(self) -> Epoch:
        """A new epoch, greater than any before."""
        ...

    async def open(self, row: LedgerRow) -> None:
        """Commit a `pending` row before its canary is sent. Raises StoreError while it is full."""
        ...

    async def receive(self, key: CanaryKey, receipt: Receipt) -> None:
        """Keep the injector's receipt of a row."""
        ...

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        """Write the judged state of `rows` in one transaction, counting outcome transitions.

        A row that was pruned meanwhile stays under the outcome that went into the totals.
        """
        ...

    async def keep_paths(self, route: str, sent_under: str, paths: Sequence[PathPast]) -> None:
        """Write what access paths have answered, in place of what was kept of the route."""
        ...

    async def unsettled(self, route: str, limit: int) -> Sequence[LedgerRow]:
        """Rows that a read may still change, oldest first; closed ones are left out.

        Pending ones always; unknown ones sent within OPEN_UNKNOWN_S; lost, rejected and
        policy_drop ones sent within OPEN_S.
        """
        ...

    async def recent(self, route: str, limit: int) -> Sequence[LedgerRow]:
        """The newest rows of a route by sending order, newest first."""
        ...

    async def past(self, route: str, sent_under: str, midnight: datetime, limit: int) -> Past:
        """What a route starts from; `midnight`: the beginning of the present UTC day.

        limit: how many of the newest canaries are told in brief.
        """
        ...

    async def find(self, canary_id: str) -> LedgerRow | None:
        """The row of a canary id, or None when there is no such canary."""
        ...

    async def delays_s(self, route: str, limit: int) -> Sequence[float]:
        """Visibility delays of the newest seen rows of a route, late ones included."""
        ...

    async def account(self, route: str) -> Account:
        """The identity of one route in one snapshot."""
        ...
