"""What paging needs of its store; `scheduler.store` keeps it on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.clock import Instant
from paging.model import Answer, Incident, Page, PageAction


@dataclass(frozen=True, slots=True)
class OutboxKey:
    """Unique per (incident episode, receiver target, action, seq)."""

    dedup_key: str
    receiver: str
    target: str
    action: PageAction
    seq: int


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One delivery that is owed. `after`: the row that must be accepted or given up before it.

    fallback_of: the receiver this row stands in for, "" for a first receiver.
    """

    key: OutboxKey
    page: Page
    fallback: str
    fallback_of: str
    due: Instant
    created: Instant
    tries: int
    answer: Answer | None
    detail: str
    thread: str
    lease_epoch: int
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class Action:
    """An ack, un-ack or mute as API, CLI or terminal appended it; `action_id` is idempotent."""

    action_id: str
    kind: str
    subject: str
    author: str
    reason: str
    until: datetime | None
    at: Instant


@dataclass(frozen=True, slots=True)
class Change:
    """What one step of the rules commits in one transaction."""

    incidents: Sequence[Incident]
    outbox: Sequence[OutboxRow]
    rule_states: Mapping[str, str]
    folded_actions: Sequence[str]
    event: str


class PagingStore(Protocol):
    """Durable when a method returns. Raises StoreError."""

    async def commit(self, change: Change) -> None:
        """Append incident events, write their projection, rule states and outbox rows."""
        ...

    async def open_incidents(self) -> Sequence[Incident]:
        """Every incident that is firing."""
        ...

    async def episodes(self) -> Mapping[str, int]:
        """Highest episode per fingerprint, resolved ones included."""
        ...

    async def rule_states(self) -> Mapping[str, str]:
        """JSON text of every rule's state by rule key."""
        ...

    async def unfinished(self) -> Sequence[OutboxRow]:
        """Rows that no receiver has accepted or refused yet, oldest first."""
        ...

    async def lease(self, key: OutboxKey, epoch: int, until: datetime) -> bool:
        """Take a row for sending; False when another epoch holds it or it is finished."""
        ...

    async def record(self, row: OutboxRow) -> bool:
        """Keep an attempt's answer; False (0 rows) when the row's epoch is stale."""
        ...

    async def actions(self) -> Sequence[Action]:
        """Actions not yet folded, in the order they were appended."""
        ...

    async def threads(self, dedup_key: str) -> Mapping[tuple[str, str], str]:
        """Last thread per (receiver, target) of an incident."""
        ...
