"""One run of one check, to one envelope. Foreign code is never trusted with the deadline."""

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime

from core.clock import Clock, Instant, instant
from core.reason import Reason
from core.result import Result, RunEnvelope, Trust
from core.verdict import Verdict
from probes.protocol import RunContext
from scheduler.engine.lag import LagMeter
from scheduler.engine.leash import Leash
from scheduler.engine.protocol import Check, NotStartedError

# What a stalled loop of ours can make of a healthy target.
_TIME_REASONS = frozenset({Reason.TIMEOUT, Reason.SLOW})


@dataclass(frozen=True, slots=True)
class RunParts:
    """What a run needs. grace_s: how far past its own deadline a check may return."""

    clock: Clock
    rng: random.Random
    lag: LagMeter
    leash: Leash
    epoch: int
    grace_s: float


@dataclass(frozen=True, slots=True)
class Scheduled:
    """When a run was due (engine time; boot seconds), and when it was offered to its lane."""

    at: datetime
    due_s: float
    offered_s: float


async def run_one(
    check: Check, generation: int, scheduled: Scheduled, parts: RunParts
) -> RunEnvelope | None:
    """Run once; None when the owner of the run reports it.

    Raises nothing but CancelledError, and NotStartedError when the check did not begin.

    `blind(harness)`: it raised, had to be cancelled, or came back after deadline + grace, even
    with an `ok`. Rule: docs/design.md, "Scheduling".
    """
    started = instant(parts.clock)
    late_s = max(0.0, started.boot_s - scheduled.due_s)
    queue_s = max(0.0, started.boot_s - scheduled.offered_s)
    trace = _traceparent(parts.rng)
    context = RunContext(check.name, check.deadline_s, trace, late_s, queue_s)
    limit_s = check.deadline_s + parts.grace_s
    task = await parts.leash.call(_called(check, context), limit_s)
    if task.done() and not task.cancelled():
        error = task.exception()
        if isinstance(error, NotStartedError):
            raise error
    ended = instant(parts.clock)
    over = ended.boot_s - started.boot_s > limit_s
    result = outcome_of(task, limit_s, over=over)
    if result is None:
        return None
    lag_s = parts.lag.since(started.boot_s)
    return envelope(
        check, generation, parts.epoch, scheduled.at, started, ended,
        settle(result, lag_s, check.deadline_s, over=over),
        Trust(late_s, queue_s, lag_s),
    )  # fmt: skip


def outcome_of(task: "asyncio.Task[Result | None]", limit_s: float, *, over: bool) -> Result | None:
    """What a run came to; None = handed over. An unfinished `task` was abandoned."""
    if not task.done():
        return Result.blind(Reason.HARNESS, f"did not end {limit_s:g} s after its start: abandoned")
    if task.cancelled():
        what = f"cancelled after {limit_s:g} s" if over else "cancelled itself"
        return Result.blind(Reason.HARNESS, what)
    if (error := task.exception()) is not None:
        return Result.blind(Reason.HARNESS, f"raised {type(error).__name__}: {error}")
    result = task.result()
    if result is None:
        return None
    if not isinstance(result, Result):
        return Result.blind(Reason.HARNESS, f"returned {type(result).__name__}, not a result")
    if over:
        return Result.blind(Reason.HARNESS, f"came back with {result.verdict} after {limit_s:g} s")
    return result


def settle(result: Result, lag_s: float, deadline_s: float, *, over: bool) -> Result:
    """`result`, or `blind(lag)` when it speaks of time while our own loop stood still.

    The loop stood still when it lagged more than a tenth of the deadline, held within 0.1 to 1 s.
    Only time-outs, slowness and overdue returns are doubted: other evidence does not age.
    """
    doubted = over or (result.verdict is not Verdict.OK and result.reason in _TIME_REASONS)
    if not doubted or lag_s <= min(1.0, max(0.1, deadline_s / 10)):
        return result
    return Result.blind(
        Reason.LAG, f"our loop stood still for {lag_s:.2f} s: {result.detail}", result.facts
    )


def envelope(
    check: Check,
    generation: int,
    epoch: int,
    at: datetime,
    started: Instant,
    ended: Instant,
    result: Result,
    trust: Trust,
) -> RunEnvelope:
    """`result` as it travels."""
    return RunEnvelope(
        check.name, check.kind, generation, epoch, at, started, ended,
        result.verdict, result.reason, result.detail, result.facts, trust,
    )  # fmt: skip


async def _called(check: Check, context: RunContext) -> Result | None:
    # In a coroutine of ours, so that a plain function or one that raises at the call is caught too.
    return await check.run(context)


def _traceparent(rng: random.Random) -> str:
    """A fresh sampled W3C traceparent; ids of zeros are invalid there."""
    return f"00-{rng.getrandbits(128) or 1:032x}-{rng.getrandbits(64) or 1:016x}-01"
