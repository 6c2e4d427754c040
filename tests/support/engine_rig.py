"""An engine with recording neighbours, on virtual or real time."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from core.clock import Clock
from core.result import Result, RunEnvelope
from probes.protocol import RunContext
from scheduler.engine.engine import Engine, EngineLimits
from scheduler.engine.lanes import LaneLimits
from scheduler.engine.protocol import Check, NotRun, Results, ScheduleMark, ScheduleStore

Run = Callable[[RunContext], Awaitable[Result | None]]


class Taken(Results):
    """Keeps what it is handed."""

    def __init__(self) -> None:
        self.envelopes: list[RunEnvelope] = []
        self.gaps: list[NotRun] = []

    def publish(self, envelope: RunEnvelope) -> None:
        self.envelopes.append(envelope)

    def not_run(self, gap: NotRun) -> None:
        self.gaps.append(gap)

    def of(self, check: str) -> list[RunEnvelope]:
        return [envelope for envelope in self.envelopes if envelope.check == check]

    def skipped(self, check: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        for gap in self.gaps:
            if gap.check == check and not gap.missed:
                counts[gap.reason.value] += gap.count
        return counts


class Marks(ScheduleStore):
    """Marks in memory; `broken` makes it raise."""

    def __init__(self) -> None:
        self.kept: dict[str, ScheduleMark] = {}
        self.broken: Exception | None = None

    async def marks(self) -> dict[str, ScheduleMark]:
        if self.broken:
            raise self.broken
        return dict(self.kept)

    async def keep(self, marks: list[ScheduleMark]) -> None:
        if self.broken:
            raise self.broken
        self.kept.update({mark.check: mark for mark in marks})


async def fine(_context: RunContext) -> Result:
    return Result.ok({})


def check(
    name: str,
    every_s: float = 10.0,
    run: Run = fine,
    *,
    deadline_s: float = 5.0,
    lane: str = "probes",
    cron: str = "",
    zone: str = "UTC",
    slot_s: float = 0.0,
) -> Check:
    return Check(name, "tcp", every_s, deadline_s, lane, run, cron, zone, slot_s)


class Rig:
    """An engine, and what its neighbours saw."""

    def __init__(
        self,
        clock: Clock,
        lanes: Sequence[LaneLimits] = (LaneLimits("probes", 100, 1000),),
        marks: Marks | None = None,
        limits: EngineLimits | None = None,
    ) -> None:
        self.results, self.marks = Taken(), marks or Marks()
        self.broken: list[tuple[str, Exception]] = []
        self.fatal: list[tuple[str, Exception]] = []
        self.engine = Engine(
            clock, self.results, lanes, self.marks, random.Random(7), 3,
            lambda what, exc: self.broken.append((what, exc)),
            lambda what, exc: self.fatal.append((what, exc)),
            limits,
        )  # fmt: skip

    def balanced(self) -> bool:
        entries = self.engine._entries.values()
        return all(entry.account.balanced for entry in entries)


async def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    """Let the loop run until `true()`."""
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.005)
