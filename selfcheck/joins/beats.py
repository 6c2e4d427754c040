"""The newest beat that two routes have seen, however rarely one of them sees any."""

from collections.abc import Sequence
from typing import Protocol

from selfcheck.canary.model import LedgerRow
from selfcheck.joins.model import Beat, newest_beat


class Canaries(Protocol):
    """The canaries of one route."""

    def rows(self) -> Sequence[LedgerRow]:
        """The newest ones, as far as they are in mind."""
        ...

    async def sent(self, count: int) -> Sequence[LedgerRow]:
        """The last `count` ones. Raises StoreError."""
        ...


class Beats:
    """Looks among the canaries in mind first, then in the ledger.

    What one route saw late, or a sampler keeps rarely, the other has no longer in mind.
    """

    def __init__(self, records: Canaries, spans: Canaries, count: int) -> None:
        """`count`: how many canaries of each are looked at."""
        self._ends, self._count = (records, spans), count

    async def newest(self) -> Beat | None:
        """The newest beat of both; None when there is none. Raises StoreError."""
        known = newest_beat(*(end.rows() for end in self._ends))
        return known or newest_beat(*[await end.sent(self._count) for end in self._ends])
