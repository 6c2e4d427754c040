"""The accounting identity of a route: everything sent is accounted for."""

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator

from selfcheck.canary.model import Account, LedgerRow, Outcome


def account_of(route: str, sent: int, rows: Iterable[LedgerRow]) -> Account:
    """The account of `rows`; `sent` is the sum over the epochs of the last sequence number."""
    counts = dict.fromkeys(Outcome, 0)
    for row in rows:
        counts[row.outcome] += 1
    return Account(route, sent, counts)


def violation(account: Account) -> str:
    """What does not add up, in one sentence; empty when the identity holds."""
    if account.balanced:
        return ""
    told = sum(account.by_outcome.values())
    parts = ", ".join(f"{outcome} {count}" for outcome, count in account.by_outcome.items())
    return f"sent {account.sent}, accounted for {told} ({parts}): the ledger lost or gained rows"


def ever_arrived(account: Account) -> bool:
    """Whether any canary of the route was ever seen in its store."""
    seen = (Outcome.OK, Outcome.LATE, Outcome.ALTERED)
    return any(account.by_outcome.get(outcome, 0) for outcome in seen)


class RunningAccount:
    """The account of a route between two audits: the audited one and what was committed since."""

    def __init__(self) -> None:
        """Nothing was audited yet."""
        self.imbalance = ""
        self._audited: Account | None = None
        self._sent_since = 0
        self._moved_since: Counter[Outcome] = Counter()
        self._moves, self._in_flight = 0, 0
        self._present: Account | None = None

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        """While this is open, nobody can tell whether a snapshot of the ledger holds the change."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    def moved(self, before: Outcome | None, after: Outcome) -> None:
        """A canary was opened (before: None) or changed its outcome, and the ledger holds it."""
        if before is None:
            self._sent_since += 1
        else:
            self._moved_since[before] -= 1
        self._moved_since[after] += 1
        self._moves += 1
        self._present = None

    async def audit(self, read: Callable[[], Awaitable[Account]]) -> bool:
        """Check the identity of what `read` answers, the ledger's snapshot.

        False when something was committed meanwhile: the identity was checked, but the account
        goes on from the last audit, as nobody can tell what this one has counted.
        """
        moves, settled = self._moves, not self._in_flight
        account = await read()
        self.imbalance = violation(account)
        if not settled or self._in_flight or self._moves != moves:
            return False
        self.take(account)
        return True

    def take(self, account: Account) -> None:
        """Go on from this account, which holds everything that was committed."""
        self._audited, self.imbalance = account, violation(account)
        self._sent_since, self._moved_since = 0, Counter()
        self._present = account

    @property
    def present(self) -> Account | None:
        """The account as of the rows; None before the first audit."""
        audited = self._audited
        if self._present is None and audited is not None:
            counts = {
                outcome: audited.by_outcome.get(outcome, 0) + self._moved_since[outcome]
                for outcome in Outcome
            }
            self._present = Account(audited.route, audited.sent + self._sent_since, counts)
        return self._present
