"""Accounts in words: `due 1,440 = ok 1,439 + running 1`, `sent 120 = ok 118 + pending 2`."""

from collections.abc import Mapping

from scheduler.readmodel import RouteRow
from tui.view.ages import delay, number


def account_words(account: Mapping[str, int], none: str) -> str:
    """Every state that holds runs; `none` where the number of due runs is not known."""
    if not account:
        return "no runs yet"
    parts = " + ".join(f"{name} {number(n)}" for name, n in account.items() if n and name != "due")
    return f"due {number(account.get('due'), none)} = {parts or '0'}"


def canary_words(row: RouteRow, none: str) -> tuple[str, str]:
    """What became of every canary of a route, and how long they took."""
    outcomes = " + ".join(f"{name} {number(n)}" for name, n in row.outcomes.items() if n)
    balance = "" if row.balanced else " (DOES NOT BALANCE)"
    delays = f"delay p50 {delay(row.delay_p50_s, none)}, p99 {delay(row.delay_p99_s, none)}"
    return (
        f"sent {number(row.sent)} = {outcomes or '0'}{balance}",
        f"{delays}, deadline {delay(row.deadline_s)}",
    )
