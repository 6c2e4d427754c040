"""What the engine runs and where results go."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.errors import CoalmineError
from core.reason import Reason
from core.result import Result, RunEnvelope
from probes.protocol import RunContext


class NotStartedError(CoalmineError):
    """Raised by a check's `run` before it did anything: the run counts as `skipped(reason)`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """`reason` stands in the account of what was not run."""
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Check:
    """Fixed-rate work. `run` yields the result of the run, or None when its owner reports later.

    cron: a calendar rule in wall time (five fields) and its zone instead of `every_s`.
    slot_s: its cadence begins on a whole multiple of it, so that checks which write to one store
    come due together and share a commit; 0 = anywhere.
    """

    name: str
    kind: str
    every_s: float
    deadline_s: float
    lane: str
    run: Callable[[RunContext], Awaitable[Result | None]]
    cron: str = ""
    zone: str = "UTC"
    slot_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """Self-paced work: `step()` returns the seconds until it wants to be called again."""

    name: str
    lane: str
    step: Callable[[], Awaitable[float]]
    deadline_s: float


@dataclass(frozen=True, slots=True)
class NotRun:
    """Due runs that did not start: `skipped` (engine alive) or `missed` (it was not)."""

    check: str
    count: int
    missed: bool
    reason: Reason
    first: datetime
    last: datetime


class Results(Protocol):
    """The only way from probing to paging: bounded, never awaits, overflow counted."""

    def publish(self, envelope: RunEnvelope) -> None:
        """Hand over one result."""
        ...

    def not_run(self, gap: NotRun) -> None:
        """Account for due runs that did not start."""
        ...


@dataclass(frozen=True, slots=True)
class ScheduleMark:
    """Where the account of a check stands: runs due up to `accounted_until` are counted."""

    check: str
    generation: int
    anchor: datetime
    every_s: float
    accounted_until: datetime


class ScheduleStore(Protocol):
    """Keeps the marks, so that runs missed while the engine was down can be counted."""

    async def marks(self) -> dict[str, ScheduleMark]:
        """All marks by check name."""
        ...

    async def keep(self, marks: list[ScheduleMark]) -> None:
        """Write marks, replacing older ones."""
        ...
