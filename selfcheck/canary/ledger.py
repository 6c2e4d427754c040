"""What the canary work needs of its ledger; `scheduler.store` keeps it on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from selfcheck.canary.model import Account, CanaryKey, LedgerRow, Receipt

# How long after sending a row is still looked for. What we could not read stays open for a day,
# so that an outage of the read side does not turn into canaries that are never judged.
OPEN_S = 3600.0
OPEN_UNKNOWN_S = 86400.0


@dataclass(frozen=True, slots=True)
class Epoch:
    """One start of the service: committed before the first send, part of every id."""

    instance: str
    number: int


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

    async def unsettled(self, route: str, limit: int) -> Sequence[LedgerRow]:
        """Rows that a read may still change, oldest first; closed ones are left out.

        Pending ones always; unknown ones sent within OPEN_UNKNOWN_S; lost, rejected and
        policy_drop ones sent within OPEN_S.
        """
        ...

    async def recent(self, route: str, limit: int) -> Sequence[LedgerRow]:
        """The newest rows of a route by sending order, newest first."""
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
