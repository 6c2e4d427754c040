"""Exceptions: they mean that *we* are broken. A failing target is a value, never an exception.

CoalmineError            says what was tried, what happened, what to do; never a secret
├─ ConfigError           the author mends it: located problems, all at once
├─ StoreError            our own database
│  ├─ StoreBusyError     retry with backoff under the run's deadline
│  └─ StoreLostError     reopen and verify; probing and paging go on from memory
│     └─ StoreTakenError another service has taken over: stop at once
├─ PluginError           a kind raised, hung, or returned what its seam forbids
└─ InvariantError        an account does not balance: stop this unit, count, self-alert
"""

from collections.abc import Sequence
from dataclasses import dataclass


class CoalmineError(Exception):
    """Base of all errors raised by Coalmine."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One located mistake in a config: `line` and `column` count from 1, `key` is the path."""

    file: str
    line: int
    column: int
    key: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """`file:line:column: key: message (remedy)`."""
        where = f"{self.file}:{self.line}:{self.column}"
        key = f" {self.key}:" if self.key else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{where}:{key} {self.message}{remedy}"


class ConfigError(CoalmineError):
    """A config that cannot be used; `problems` holds every mistake that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """`problems` must not be empty."""
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class StoreError(CoalmineError):
    """Our own database failed."""


class StoreBusyError(StoreError):
    """The database is busy or the write was not durable in time: try again later."""


class StoreLostError(StoreError):
    """The database is gone or cannot be trusted: reopen and verify."""


class StoreTakenError(StoreLostError):
    """Another service has taken over this database: stop at once."""


class PluginError(CoalmineError):
    """A plug-in raised, had to be cancelled, or broke the contract of its seam."""


class InvariantError(CoalmineError):
    """An identity that must always hold does not."""
