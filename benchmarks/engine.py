"""The engine under its target load: 5,000 checks a minute, compressed into the same rate."""

import asyncio
import random
import statistics
import time

from core.clock import SystemClock
from core.result import Result, RunEnvelope
from probes.protocol import RunContext
from scheduler.engine.engine import Engine
from scheduler.engine.lanes import LaneLimits
from scheduler.engine.protocol import Check, NotRun, Results, ScheduleMark, ScheduleStore

CHECKS = 5_000
EVERY_S = 60.0
COMPRESSED = 6
SECONDS = 20.0


class _Counted(Results):
    def __init__(self) -> None:
        self.late_s: list[float] = []
        self.not_run_count = 0

    def publish(self, envelope: RunEnvelope) -> None:
        self.late_s.append(envelope.trust.late_s)

    def not_run(self, gap: NotRun) -> None:
        self.not_run_count += gap.count


class _NoMarks(ScheduleStore):
    async def marks(self) -> dict[str, ScheduleMark]:
        return {}

    async def keep(self, marks: list[ScheduleMark]) -> None:
        """Nothing outlives a benchmark."""


async def _nothing(_context: RunContext) -> Result:
    return Result.ok({})


def _trouble(what: str, exc: Exception) -> None:
    raise RuntimeError(what) from exc


async def _measure(checks: int, every_s: float) -> tuple[_Counted, float, float]:
    results, clock = _Counted(), SystemClock()
    engine = Engine(
        clock, results, [LaneLimits("probes", 200, 2000)], _NoMarks(), random.Random(1), 1,
        _trouble, _trouble,
    )  # fmt: skip
    began_s = time.process_time()
    plan = [Check(f"c{i}", "tcp", every_s, 5.0, "probes", _nothing) for i in range(checks)]
    await engine.start(plan, [])
    start_s = time.process_time() - began_s
    began_s = time.process_time()
    await clock.sleep(SECONDS)
    cpu_s = time.process_time() - began_s
    await engine.stop(1.0)
    return results, cpu_s, start_s


def run() -> list[str]:
    """One line a figure: lateness, share not run, CPU a fire; at the rate and at six times it."""
    lines = []
    for name, checks, every_s in (
        (f"{CHECKS} checks every {EVERY_S:g} s", CHECKS, EVERY_S),
        (f"{COMPRESSED} times that rate", CHECKS, EVERY_S / COMPRESSED),
    ):
        results, cpu_s, start_s = asyncio.run(_measure(checks, every_s))
        runs = len(results.late_s)
        p99_s = statistics.quantiles(results.late_s, n=100)[98]
        lines.append(
            f"engine, {name}: {runs} runs in {SECONDS:g} s, late p99 {p99_s * 1e3:.1f} ms "
            f"(target 100), not run {results.not_run_count / runs:.3%} (target 0.1 %), "
            f"CPU {cpu_s / runs * 1e6:.0f} us a fire, start {start_s * 1e3:.0f} ms CPU"
        )
    return lines
