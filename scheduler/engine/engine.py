"""The engine: makes due runs start, or says why they did not; every due run is accounted for.

It knows checks and steps, not what they do. Order of a run: clockwork (due) -> lane (slot) ->
`run_one` (envelope) -> results. It never awaits whoever takes the results.
"""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.clock import Clock, instant
from core.errors import CoalmineError, PluginError
from core.reason import Reason
from core.result import Result, RunEnvelope, Trust
from core.verdict import Verdict
from scheduler.engine.account import Account
from scheduler.engine.clockwork import Calendar, Clockwork, FixedRate, Tick
from scheduler.engine.lag import LagMeter
from scheduler.engine.lanes import Lane, LaneLimits, Lanes
from scheduler.engine.leash import Leash
from scheduler.engine.protocol import (
    Check,
    NotRun,
    NotStartedError,
    Results,
    ScheduleMark,
    ScheduleStore,
    Step,
)
from scheduler.engine.run import RunParts, Scheduled, envelope, run_one
from scheduler.engine.supervisor import NO_LANE, OnTrouble, Supervisor
from scheduler.engine.timeline import first_offset_s, on_slot

MARKS_EVERY_S = 5.0
MARKS_DEADLINE_S = 2.0
# Longer than the store takes to say that it is busy: its own word tells more than a time-out.
_KEEP_DEADLINE_S = 15.0
_LAG_WINDOW_S = 10.0
# Written over the mark of a removed check: a check that comes back has missed nothing.
_GONE_S = -1.0
_BROKEN_EVERY_S = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """grace_s: past a check's deadline; leaked: abandoned tasks that may live; see Supervisor."""

    grace_s: float = 1.0
    leaked: int = 50
    fatal_in_a_row: int = 5


@dataclass(frozen=True, slots=True)
class EngineVitals:
    """Figures of the engine itself. lag_s: worst of the last 10 s; the maps are by lane."""

    lag_s: float
    leaked: int
    leaked_total: int
    step_restarts: int
    steps_deferred: int
    slipped: int
    running: Mapping[str, int]
    waiting: Mapping[str, int]


@dataclass(slots=True, eq=False)
class _Entry:
    """A check of the plan and where it stands. waiting_since_s: first due time not yet served."""

    check: Check
    generation: int
    anchor: datetime
    accounted_until: datetime
    account: Account
    broken: str = ""
    busy: bool = False
    ended: bool = False
    waiting_since_s: float | None = None
    kept: datetime | None = None


class Engine:
    """Runs checks and steps on the loop in which `start` is called."""

    def __init__(
        self,
        clock: Clock,
        results: Results,
        lanes: Sequence[LaneLimits],
        schedule_store: ScheduleStore,
        rng: random.Random,
        epoch: int,
        on_broken: OnTrouble,
        on_fatal: OnTrouble,
        limits: EngineLimits | None = None,
    ) -> None:
        """on_broken(what, error) is a self-alert; on_fatal: end the process, non-zero."""
        limits = limits or EngineLimits()
        self.lag = LagMeter(clock)
        self._clock, self._results, self._store = clock, results, schedule_store
        self._tell = on_broken
        self._lanes = Lanes(lanes)
        self._leash = Leash(limits.leaked, self._leaking)
        self._fatal = on_fatal
        self._supervisor = Supervisor(
            clock, self._lanes, self._leash, self._broken, on_fatal, limits.fatal_in_a_row
        )
        self._parts = RunParts(clock, rng, self.lag, self._leash, epoch, limits.grace_s)
        self._clockwork = Clockwork(clock, self._on_tick, self._on_unscheduled)
        self._entries: dict[str, _Entry] = {}
        self._gone: dict[str, ScheduleMark] = {}
        self._steps: tuple[Step, ...] = ()
        self._runs: dict[asyncio.Task[None], int] = {}
        self._stopping = False

    async def start(
        self, checks: Sequence[Check], steps: Sequence[Step], generation: int = 1
    ) -> None:
        """Begin. Runs that came due since the marks were kept are accounted as `missed`.

        A check that was known keeps its cadence over the restart, a new one begins at its hash
        offset; nothing else delays the first due run. Marks that cannot be read within 2 s are a
        self-alert, and nothing is known to be missed.
        """
        marks = await self._read_marks()
        self._clockwork.start()
        self._supervisor.own(Step("engine lag", NO_LANE, self.lag.beat, 5.0))
        self._supervisor.own(Step("engine marks", NO_LANE, self._keep_marks, _KEEP_DEADLINE_S))
        for check in checks:
            self._enter(check, generation, marks.get(check.name))
        self._steps = tuple(steps)
        self._supervisor.replace((), self._steps)

    async def apply(
        self,
        checks: Sequence[Check],
        steps: Sequence[Step],
        generation: int,
        drain_s: float = 10.0,
    ) -> int:
        """Swap the plan, then wait for runs of older ones; how many are left after `drain_s`.

        A check of the same name and cadence keeps anchor, account and next run; its instance is
        the new one from its next start on. Equal steps go on, others end or begin. The old
        instances may be closed when this returns.
        """
        wanted = {check.name: check for check in checks}
        for name in self._entries.keys() - wanted.keys():
            self._remove(name)
        for check in wanted.values():
            self._replace(check, generation)
        old, self._steps = self._steps, tuple(steps)
        self._supervisor.replace(old, self._steps)
        older = [task for task, of in self._runs.items() if of != generation]
        if not older:
            return 0
        _, left = await asyncio.wait(older, timeout=drain_s)
        return len(left)

    async def stop(self, grace_s: float) -> None:
        """Take in nothing more, let runs finish for `grace_s`, cancel the rest, keep the marks."""
        self._stopping = True
        if self._clockwork.running:
            self._clockwork.halt()
        for lane in self._lanes.all():
            lane.clear()
        if self._runs:
            _, left = await asyncio.wait(tuple(self._runs), timeout=grace_s)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=grace_s)
        await self._supervisor.stop(grace_s)
        try:
            async with asyncio.timeout(MARKS_DEADLINE_S):
                await self._keep_marks()
        except Exception as exc:  # noqa: BLE001  an orderly end goes on without its marks
            self._broken("engine marks", exc)

    def pause(self, name: str) -> None:
        """No runs come due until `resume`; they are neither skipped nor missed."""
        self._clockwork.pause_job(name)

    def resume(self, name: str) -> None:
        """Go on with the cadence of before."""
        now = self._clockwork.timeline.now()
        self._entries[name].accounted_until = now
        trigger = self._clockwork.get_job(name).trigger
        self._clockwork.modify_job(name, next_run_time=trigger.get_next_fire_time(None, now))

    def account(self, name: str) -> Mapping[str, int]:
        """The account of check `name` by column; all zero when it is not in the plan."""
        entry = self._entries.get(name)
        return (entry.account if entry else Account()).columns()

    def vitals(self) -> EngineVitals:
        """How the engine itself does."""
        lanes = self._lanes.all()
        return EngineVitals(
            lag_s=self.lag.since(self._clock.monotonic() - _LAG_WINDOW_S),
            leaked=self._leash.leaked,
            leaked_total=self._leash.leaked_total,
            step_restarts=self._supervisor.restarts,
            steps_deferred=self._supervisor.deferred,
            slipped=sum(entry.account.slipped for entry in self._entries.values()),
            running={lane.limits.name: lane.running for lane in lanes},
            waiting={lane.limits.name: lane.waiting for lane in lanes},
        )

    # The plan

    def _enter(self, check: Check, generation: int, mark: ScheduleMark | None) -> None:
        now = self._clockwork.timeline.now()
        known = mark is not None and mark.every_s == check.every_s
        anchor = on_slot(mark.anchor, check.slot_s) if known and mark else self._anchor(check, now)
        entry = _Entry(check, generation, anchor, now, Account())
        self._entries[check.name] = entry
        trigger = self._trigger(entry)
        if known and mark:
            count, first, last = trigger.passed(mark.accounted_until, now)
            if count:
                entry.account.miss(count)
                self._not_run(entry, count, Reason.STOPPED, first, last, missed=True)
        self._clockwork.schedule(check.name, trigger)

    def _replace(self, check: Check, generation: int) -> None:
        entry = self._entries.get(check.name)
        if entry is None:
            self._enter(check, generation, None)
            return
        before, entry.check, entry.generation = entry.check, check, generation
        if _cadence(before) != _cadence(check):
            entry.anchor = self._anchor(check, self._clockwork.timeline.now())
            entry.broken, entry.kept = "", None
            self._clockwork.schedule(check.name, self._trigger(entry))

    def _remove(self, name: str) -> None:
        self._clockwork.unschedule(name)
        entry = self._entries.pop(name)
        entry.ended = True
        self._gone[name] = ScheduleMark(
            name, entry.generation, entry.anchor, _GONE_S, entry.accounted_until
        )

    def _anchor(self, check: Check, now: datetime) -> datetime:
        if check.cron or not check.every_s > 0:
            return now
        offset_s = first_offset_s(check.name, check.every_s)
        # The slot before could be over already: the first run would come an interval later.
        return on_slot(now + timedelta(seconds=offset_s + check.slot_s), check.slot_s)

    def _trigger(self, entry: _Entry) -> FixedRate | Calendar:
        """The trigger of a check; one that cannot be made leaves a check that is blind."""
        check = entry.check
        try:
            if check.cron:
                return Calendar(check.cron, check.zone, self._clockwork.timeline)
            return FixedRate(entry.anchor, check.every_s)
        except Exception as exc:  # noqa: BLE001  a check that cannot be scheduled is kept
            entry.broken = f"its schedule cannot be computed: {exc}"
            self._broken(check.name, exc)
            return FixedRate(entry.anchor, _BROKEN_EVERY_S)

    # What is due

    def _on_tick(self, tick: Tick) -> None:
        entry = self._entries.get(tick.name)
        if entry is None or self._stopping:
            return
        entry.accounted_until = tick.last
        self._begin(entry, tick.at)
        if tick.more:
            entry.account.skip(tick.more)
            self._not_run(entry, tick.more, Reason.BLOCKED_LOOP, tick.after, tick.last)

    def _begin(self, entry: _Entry, at: datetime) -> None:
        lane = self._lanes.get(entry.check.lane)
        why = entry.broken if lane else f"there is no lane {entry.check.lane!r}"
        if lane is None or why:
            self._blind(entry, at, why)
            self._broken(entry.check.name, PluginError(why))
        elif entry.busy:
            entry.account.slipped += 1
            entry.account.skip(1)
            self._not_run(entry, 1, Reason.OVERLAP, at, at)
        else:
            entry.busy = True
            entry.account.begin()
            offered_s = self._clock.monotonic()
            late_s = (self._clockwork.timeline.now() - at).total_seconds()
            scheduled = Scheduled(at, offered_s - late_s, offered_s)
            if entry.waiting_since_s is None:
                entry.waiting_since_s = scheduled.due_s
            lane.offer(entry.waiting_since_s, _Run(self, entry, lane, scheduled))

    def _on_unscheduled(self, name: str, exc: Exception) -> None:
        """A trigger or the job store raised: that check is blind, the others know nothing of it."""
        entry = self._entries.get(name)
        if entry is not None:
            self._blind(entry, self._clockwork.timeline.now(), f"could not be scheduled: {exc}")
        self._broken(name or "engine job store", exc)

    def _blind(self, entry: _Entry, at: datetime, why: str) -> None:
        entry.account.blinded()
        now = instant(self._clock)
        trust = Trust(0.0, 0.0, self.lag.since(now.boot_s))
        self._publish(
            envelope(entry.check, entry.generation, self._parts.epoch, at, now, now,
                     Result.blind(Reason.HARNESS, why), trust)
        )  # fmt: skip

    # A run

    def _started(self, run: "_Run") -> None:
        task = asyncio.get_running_loop().create_task(self._execute(run))
        self._runs[task] = run.entry.generation
        task.add_done_callback(self._runs.pop)

    def _refused(self, run: "_Run", reason: Reason) -> None:
        entry, at = run.entry, run.scheduled.at
        entry.busy = False
        entry.account.withdraw()
        self._not_run(entry, 1, reason, at, at)

    async def _execute(self, run: "_Run") -> None:
        entry = run.entry
        check, generation = entry.check, entry.generation
        started = instant(self._clock)
        try:
            if entry.ended:
                self._refused(run, Reason.RECONFIGURED)
                return
            entry.waiting_since_s = None
            done = await run_one(check, generation, run.scheduled, self._parts)
            entry.account.end(done.verdict if done else None)
        except NotStartedError as exc:
            self._refused(run, exc.reason)
            return
        except asyncio.CancelledError:
            # Only `stop` cancels runs.
            why = Result.blind(Reason.STOPPED, "cancelled: the engine stops")
            trust = Trust(max(0.0, started.boot_s - run.scheduled.due_s),
                          max(0.0, started.boot_s - run.scheduled.offered_s),
                          self.lag.since(started.boot_s))  # fmt: skip
            done = envelope(check, generation, self._parts.epoch, run.scheduled.at, started,
                            instant(self._clock), why, trust)  # fmt: skip
            entry.account.end(Verdict.BLIND)
        finally:
            entry.busy = False
            run.lane.release()
        if done is not None:
            self._publish(done)

    # What is told

    def _publish(self, done: RunEnvelope) -> None:
        try:
            self._results.publish(done)
        except Exception as exc:  # noqa: BLE001  who takes results must not stop runs
            self._broken("engine results", exc)

    def _not_run(
        self,
        entry: _Entry,
        count: int,
        reason: Reason,
        first: datetime,
        last: datetime,
        *,
        missed: bool = False,
    ) -> None:
        try:
            self._results.not_run(NotRun(entry.check.name, count, missed, reason, first, last))
        except Exception as exc:  # noqa: BLE001  as above
            self._broken("engine results", exc)

    def _broken(self, what: str, exc: Exception) -> None:
        try:
            self._tell(what, exc)
        except Exception:  # noqa: BLE001  the last place that can still say so
            _log.exception("self_alert_failed what=%s", what)

    def _leaking(self, exc: PluginError) -> None:
        self._broken("engine leaked tasks", exc)
        self._fatal("engine leaked tasks", exc)

    # The marks

    async def _read_marks(self) -> dict[str, ScheduleMark]:
        try:
            async with asyncio.timeout(MARKS_DEADLINE_S):
                return await self._store.marks()
        except (CoalmineError, OSError, TimeoutError) as exc:
            self._broken("engine marks", exc)
            return {}

    async def _keep_marks(self) -> float:
        """Write the marks that moved; seconds until the next time. Made to be a supervised step."""
        moved = [e for e in self._entries.values() if e.kept != e.accounted_until]
        gone = [mark for name, mark in self._gone.items() if name not in self._entries]
        if moved or gone:
            marks = [_mark(entry) for entry in moved]
            await self._store.keep(marks + gone)
            for entry, mark in zip(moved, marks, strict=True):
                entry.kept = mark.accounted_until
            self._gone.clear()
        return MARKS_EVERY_S


class _Run:
    """A due run in its lane."""

    __slots__ = ("_engine", "entry", "lane", "scheduled")

    def __init__(self, engine: Engine, entry: _Entry, lane: Lane, scheduled: Scheduled) -> None:
        self._engine, self.entry, self.lane, self.scheduled = engine, entry, lane, scheduled

    def start(self) -> None:
        self._engine._started(self)  # noqa: SLF001  a part of the engine

    def refuse(self) -> None:
        stopping = self._engine._stopping  # noqa: SLF001  a part of the engine
        self._engine._refused(self, Reason.STOPPED if stopping else Reason.LANE_FULL)  # noqa: SLF001  as above


def _cadence(check: Check) -> tuple[float, str, str]:
    return check.every_s, check.cron, check.zone


def _mark(entry: _Entry) -> ScheduleMark:
    return ScheduleMark(
        entry.check.name, entry.generation, entry.anchor, entry.check.every_s, entry.accounted_until
    )
