"""The accounting identity of a route: everything sent is accounted for."""

from collections.abc import Iterable

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
