"""The account of a check's runs in words: `due 1,440 = ok 1,439 + running 1`."""

from collections.abc import Mapping

from tui.view.ages import number


def account_words(account: Mapping[str, int], none: str) -> str:
    """Every state that holds runs; `none` where the number of due runs is not known."""
    if not account:
        return "no runs yet"
    parts = " + ".join(f"{name} {number(n)}" for name, n in account.items() if n and name != "due")
    return f"due {number(account.get('due'), none)} = {parts or '0'}"
