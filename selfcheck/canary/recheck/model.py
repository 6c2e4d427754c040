"""One recheck of one canary at one age, and the account of all of a route and age."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from core.clock import Instant
from core.reason import Reason
from selfcheck.canary.model import Canary, CanaryKey


class RecheckState(StrEnum):
    """What became of one recheck. PLANNED is no part of the account: its time has not come.

    LATE: found again after an earlier age had not shown it. DEFERRED: due, and the read budget
    was used up; it is made as soon as there is budget again.
    """

    PLANNED = "planned"
    PENDING = "pending"
    DEFERRED = "deferred"
    OK = "ok"
    LATE = "late"
    LOST = "lost"
    ALTERED = "altered"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


WAITING = frozenset({RecheckState.PLANNED, RecheckState.PENDING, RecheckState.DEFERRED})
ACCOUNTED: tuple[RecheckState, ...] = tuple(
    state for state in RecheckState if state is not RecheckState.PLANNED
)
VERIFIED = frozenset({RecheckState.OK, RecheckState.LATE, RecheckState.LOST, RecheckState.ALTERED})
MISSED = frozenset({RecheckState.LOST, RecheckState.ALTERED})
FOUND = frozenset({RecheckState.OK, RecheckState.LATE})


@dataclass(frozen=True, slots=True, order=True)
class RecheckKey:
    """Identity: the canary and the name of the age."""

    canary: CanaryKey
    age: str


@dataclass(frozen=True, slots=True)
class Recheck:
    """One canary that was seen, to be looked for again `age_s` seconds after it was sent.

    It holds all that is needed, so that it outlives the canary's own row in the ledger.
    sent_under: the parameters in force when the canary was sent. seen: when it was last seen, at
    first or by the newest recheck that found it. missed_at: the age at which it was first found
    lost or altered, "" while it never was. empty_read: the complete read that did not show it and
    has not been confirmed, with its path. failed_paths: those whose reads failed. judged: when this
    recheck was settled.
    """

    canary: Canary
    age: str
    age_s: float
    sent: Instant
    sent_under: str
    seen: datetime
    missed_at: str
    state: RecheckState
    reason: Reason
    tries: int
    judged: Instant | None
    empty_read: Instant | None
    empty_path: str
    path: str
    diff: str
    failed_paths: tuple[str, ...] = ()

    @property
    def key(self) -> RecheckKey:
        """Identity in the ledger."""
        return RecheckKey(self.canary.key, self.age)

    @property
    def due(self) -> datetime:
        """When its time comes, by the wall clock as it was at sending."""
        return self.sent.utc + timedelta(seconds=self.age_s)

    @property
    def newly_missed(self) -> bool:
        """Whether this very age found it lost or altered; an older loss is told only once."""
        return self.state in MISSED and self.missed_at == self.age

    @property
    def denied_by(self) -> str:
        """The path whose complete read did not show what was found by the next one, or ""."""
        return self.empty_path if self.state in FOUND else ""

    @property
    def unread_by(self) -> tuple[str, ...]:
        """Paths that could not be read while another could.

        Where the one that settled it had failed before, all were down for a while.
        """
        told = self.state in VERIFIED and self.path not in self.failed_paths
        return self.failed_paths if told else ()


@dataclass(frozen=True, slots=True)
class RecheckAccount:
    """The identity of the rechecks of one route at one age, read in one snapshot.

    due: how many had their time come, ever. by_state: each state but `planned`, zero where there
    is none. planned: how many wait for their time, beside the identity.
    """

    route: str
    age: str
    due: int
    by_state: Mapping[RecheckState, int]
    planned: int

    @property
    def balanced(self) -> bool:
        """Whether `due` is the sum of all states."""
        return self.due == sum(self.by_state.values())


def account_of(
    route: str, age: str, due: int, counts: Mapping[RecheckState, int]
) -> RecheckAccount:
    """The account of `counts`, in which any state may be absent."""
    told: dict[RecheckState, int] = {state: counts.get(state, 0) for state in ACCOUNTED}
    return RecheckAccount(route, age, due, told, counts.get(RecheckState.PLANNED, 0))


def violation(account: RecheckAccount) -> str:
    """What does not add up, in one sentence; empty when the identity holds."""
    if account.balanced:
        return ""
    parts = ", ".join(f"{state} {count}" for state, count in account.by_state.items() if count)
    told = sum(account.by_state.values())
    return f"{account.age}: {account.due} rechecks were due, accounted for {told} ({parts})"
