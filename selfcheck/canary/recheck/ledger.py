"""What rechecks need to have kept; `scheduler.store` keeps it on disk."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from selfcheck.canary.model import CanaryKey, LedgerRow
from selfcheck.canary.recheck.model import Recheck, RecheckAccount


class RecheckLedger(Protocol):
    """Durable when a method returns. Raises StoreError; never answers "none" for it."""

    async def candidates(
        self, route: str, after: CanaryKey | None, one_in: int, one_block_in: int, limit: int
    ) -> Sequence[LedgerRow]:
        """Seen rows (ok, late) of which no recheck is kept, in the order of their keys.

        Only those that `is_picked` tells of the number before theirs, and keys above `after`.
        """
        ...

    async def floor(self, route: str) -> CanaryKey | None:
        """The lowest key that may yet become a candidate: the oldest open row; None = none is."""
        ...

    async def plan(self, items: Sequence[Recheck]) -> None:
        """Keep planned rechecks; one that is kept already stays as it is."""
        ...

    async def waiting(self, route: str, limit: int) -> Sequence[Recheck]:
        """Rechecks that are not settled, those whose time comes first first.

        At most `limit` of the due ones and as many of those that are planned.
        """
        ...

    async def settle(self, changed: Sequence[Recheck], more: Sequence[Recheck]) -> None:
        """Write `changed` and keep the planned `more`, in one transaction.

        What is no longer planned is counted as due. Raises StoreError for a recheck that is not
        kept, or is settled already: that one is never rewritten.
        """
        ...

    async def newest(self, route: str, age: str, limit: int) -> Sequence[Recheck]:
        """The newest settled rechecks of one age that applied, newest first."""
        ...

    async def of_canary(self, key: CanaryKey) -> Sequence[Recheck]:
        """Everything kept of one canary, by age."""
        ...

    async def accounts(self, route: str) -> Mapping[str, RecheckAccount]:
        """The account of each age that was ever planned, in one snapshot."""
        ...
