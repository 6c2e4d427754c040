"""The clockwork: APScheduler 3.11 as job registry and trigger algebra; time and order are ours.

As it comes, one raising trigger silences every job, the wall clock rules, and an unknown executor
deletes the job. Here a timeline is the only clock, each job is processed in its own `try`, and the
next wake-up is armed whatever happened. The only importer of APScheduler; the private methods that
are replaced are pinned by tests/scheduler/engine/test_clockwork_contract.py.
"""

import asyncio
import heapq
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import STATE_RUNNING, BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from core.clock import Clock
from scheduler.engine.timeline import Timeline, next_tick, ticks_between

MAX_ASLEEP_S = 1.0
GRAIN_S = 0.02
BATCH = 500
RETRY_S = 1.0
MAX_RETRY_S = 60.0
_STEP = timedelta(seconds=1)
_NEXT = timedelta(microseconds=1)
_COUNTED_AT_MOST = 10_000
_LANES = "lanes"
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

# It logs each job that it adds or submits; what matters of it, this module reports itself.
logging.getLogger("apscheduler").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Tick:
    """A job came due at `at`; `more` further ticks, `after` to `last`, passed before we woke."""

    name: str
    at: datetime
    more: int
    after: datetime
    last: datetime


# apscheduler carries no types, hence the ignored base classes below.
class FixedRate(BaseTrigger):  # type: ignore[misc]  # untyped library
    """anchor + k * every, strictly after now: late ticks are never replayed, only counted."""

    def __init__(self, anchor: datetime, every_s: float) -> None:
        """Raises ValueError when the interval is not positive."""
        if not every_s > 0:
            raise ValueError(f"an interval must be positive, not {every_s!r}")
        self.anchor, self.every_s = anchor, every_s

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """The next tick after `now`."""
        return next_tick(self.anchor, self.every_s, now)

    def passed(self, after: datetime, until: datetime) -> tuple[int, datetime, datetime]:
        """Ticks in (after, until]: how many, first, last."""
        return ticks_between(self.anchor, self.every_s, after, until)


class Calendar(BaseTrigger):  # type: ignore[misc]  # untyped library
    """A crontab(5) rule in wall time, moved onto the timeline by the skew of the moment.

    Sunday is 0 or 7; when both day fields are restricted, a day matches either. (APScheduler
    counts weekdays from Monday and wants both to match.) A rule that names its hours runs once in
    the night when they come twice; one for every hour runs in both.
    """

    def __init__(self, rule: str, zone: str, timeline: Timeline) -> None:
        """Raises ValueError or KeyError for a rule or zone that cannot be read."""
        self._rules, self._timeline = _cron_triggers(rule), timeline
        self._zone = ZoneInfo(zone)
        self._every_hour = rule.split()[1].startswith("*")

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime | None:
        """The next time after `now`, in engine time; None when the rule has no more."""
        skew = self._timeline.skew()
        following = _hourly if self._every_hour else _named
        times = [following(rule, self._zone, now + skew) for rule in self._rules]
        return min((at - skew for at in times if at is not None), default=None)

    def passed(self, after: datetime, until: datetime) -> tuple[int, datetime, datetime]:
        """Times in (after, until]: how many (10,000 at most), first, last."""
        count, first, last = 0, after, after
        while count < _COUNTED_AT_MOST:
            at = self.get_next_fire_time(None, last)
            if at is None or at > until:
                break
            count, first, last = count + 1, first if count else at, at
        return count, first, last


def _named(rule: CronTrigger, zone: tzinfo, now: datetime) -> datetime | None:
    """Once for each local time: the first of two equal ones, and after a gap what fell into it."""
    local = now.astimezone(zone).replace(tzinfo=UTC, fold=0)
    while (found := _after(rule, local)) is not None:
        at = found.replace(tzinfo=zone).astimezone(UTC)
        if at > now:
            return at
        local = found
    return None


def _hourly(rule: CronTrigger, zone: tzinfo, now: datetime) -> datetime | None:
    """By elapsed time: looked for under the present offset, then under the one that follows it."""
    offset = now.astimezone(zone).utcoffset() or timedelta()
    for _ in range(2):
        local = _after(rule, now + offset)
        if local is None:
            return None
        at = local - offset
        there = at.astimezone(zone).utcoffset() or timedelta()
        if there == offset:
            return at
        offset = there
    return _named(rule, zone, now)


def _after(rule: CronTrigger, local: datetime) -> datetime | None:
    at: datetime | None = rule.get_next_fire_time(None, local + _NEXT)
    return at


def _cron_triggers(rule: str) -> tuple[CronTrigger, ...]:
    """The rule over local times that are written as UTC.

    Given a zone with daylight saving, CronTrigger 3.11 loops for ever on the second of two equal
    local times (agronholm/apscheduler#1036): the zone is applied outside it.
    """
    minute, hour, day, month, weekday = rule.lower().split()
    weekdays, every_day = _weekdays(weekday), weekday.startswith("*")
    pairs = [(day, weekdays)]
    if not day.startswith("*") and not every_day:
        pairs = [(day, "*"), ("*", weekdays)]
    return tuple(
        CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=week, timezone=UTC)
        for day, week in pairs
    )


def _weekdays(field: str) -> str:
    """The weekday field as a list of names, which mean the same to cron and to APScheduler."""
    days: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = ("0", "-", "6") if span == "*" else span.partition("-")
        start = _weekday(first)
        end = _weekday(last) if last else 7 if step else start
        days.update(day % 7 for day in range(start, end + 1, int(step or 1)))
    return ",".join(_DAYS[day] for day in sorted(days))


def _weekday(text: str) -> int:
    return _DAYS.index(text) if text in _DAYS else int(text)


class HeapStore(BaseJobStore):  # type: ignore[misc]  # untyped library
    """Jobs in memory, ordered by a heap whose outdated entries are dropped when met."""

    def __init__(self) -> None:
        """An empty store."""
        super().__init__()
        self._jobs: dict[str, Job] = {}
        self._heap: list[tuple[datetime, str]] = []

    def lookup_job(self, job_id: str) -> Job | None:
        """The job; None when there is none."""
        return self._jobs.get(job_id)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """The oldest due jobs, 500 at most: a burst must not hold the loop."""
        due: dict[str, Job] = {}
        while self._heap and self._heap[0][0] <= now and len(due) < BATCH:
            at, name = heapq.heappop(self._heap)
            job = self._jobs.get(name)
            if job is not None and job.next_run_time == at:
                due[name] = job
        return list(due.values())

    def get_next_run_time(self) -> datetime | None:
        """When the first job is due; None when none will be."""
        while self._heap:
            at, name = self._heap[0]
            job = self._jobs.get(name)
            if job is not None and job.next_run_time == at:
                return at
            heapq.heappop(self._heap)
        return None

    def get_all_jobs(self) -> list[Job]:
        """Every job, in the order of adding."""
        return list(self._jobs.values())

    def add_job(self, job: Job) -> None:
        """Raises ConflictingIdError."""
        if job.id in self._jobs:
            raise ConflictingIdError(job.id)
        self.update_job(job)

    def update_job(self, job: Job) -> None:
        """Take over the job's next run time; a job without one is paused."""
        self._jobs[job.id] = job
        if job.next_run_time is not None:
            heapq.heappush(self._heap, (job.next_run_time, job.id))

    def remove_job(self, job_id: str) -> None:
        """Raises JobLookupError."""
        if self._jobs.pop(job_id, None) is None:
            raise JobLookupError(job_id)

    def remove_all_jobs(self) -> None:
        """Forget every job."""
        self._jobs.clear()
        self._heap.clear()


class LaneExecutor(BaseExecutor):  # type: ignore[misc]  # untyped library
    """Hands due jobs to the engine, which owns lanes, overlap and the account."""

    def __init__(self, on_tick: Callable[[Tick], None]) -> None:
        """`on_tick` must not block."""
        super().__init__()
        self._on_tick = on_tick

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """Report the first of `run_times`, and how many more passed up to the last."""
        first, now = run_times
        self._on_tick(Tick(job.id, first, *job.trigger.passed(first, now)))

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise NotImplementedError("submit_job is replaced")


class Clockwork(AsyncIOScheduler):  # type: ignore[misc]  # untyped library
    """APScheduler whose wake-up asks the timeline, isolates each job and always re-arms."""

    def __init__(
        self,
        clock: Clock,
        on_tick: Callable[[Tick], None],
        on_broken: Callable[[str, Exception], None],
        store: BaseJobStore | None = None,
    ) -> None:
        """on_broken(job, error): this job could not be scheduled; job "" is the whole store."""
        super().__init__(
            timezone=UTC,
            jobstores={"default": store or HeapStore()},
            executors={_LANES: LaneExecutor(on_tick)},
        )
        self.timeline = Timeline(clock)
        self._clock, self._on_broken = clock, on_broken
        self._skew = self.timeline.skew()
        self._unsaved: dict[str, tuple[datetime, Job]] = {}
        self._astray: dict[str, float] = {}
        self._wake_asked = False

    def schedule(self, name: str, trigger: BaseTrigger, first: datetime | None = None) -> None:
        """Add or replace the job `name`; it first comes due at `first` or by its trigger."""
        at = first or trigger.get_next_fire_time(None, self.timeline.now())
        self._forget(name)
        self.add_job(
            self._called_by_none, trigger, id=name, name=name, executor=_LANES,
            next_run_time=at, replace_existing=True, misfire_grace_time=None,
        )  # fmt: skip

    def unschedule(self, name: str) -> None:
        """Forget the job `name`, if there is one."""
        self._forget(name)
        if self.get_job(name) is not None:
            self.remove_job(name)

    def halt(self) -> None:
        """Stop at once; no tick comes after this returns."""
        self._stop_timer()
        BaseScheduler.shutdown(self, wait=False)

    def wakeup(self) -> None:
        """Look at the jobs soon; calls within one turn of the loop are one."""
        if not self._wake_asked:
            self._wake_asked = True
            self._eventloop.call_soon_threadsafe(self._wake)

    def _forget(self, name: str) -> None:
        self._unsaved.pop(name, None)
        self._astray.pop(name, None)

    @staticmethod
    def _called_by_none() -> None:
        raise NotImplementedError("jobs run through the lane executor")

    def _wake(self, _timer: asyncio.Future[None] | None = None) -> None:
        if self.state != STATE_RUNNING or (_timer is not None and _timer.cancelled()):
            return
        self._wake_asked = False
        wait_s = RETRY_S
        try:
            wait_s = self._process_jobs()
        except Exception as exc:  # noqa: BLE001  whatever broke, the next wake-up is armed
            self._on_broken("", exc)
        finally:
            self._start_timer(wait_s)

    def _start_timer(self, wait_seconds: float) -> None:
        # At most 1 s asleep, so that steps, suspends and lost timers are seen.
        self._stop_timer()
        wait_s = min(wait_seconds, MAX_ASLEEP_S)
        self._timeout = self._eventloop.create_task(self._clock.sleep(wait_s))
        self._timeout.add_done_callback(self._wake)

    def _process_jobs(self) -> float:
        """Report what is due; seconds until the next look (0 = more is due already)."""
        now = self.timeline.now()
        store = self._jobstores["default"]
        self._follow_wall(now)
        for retry_at, job in [*self._unsaved.values()]:
            if retry_at <= now:
                self._save(job, now)
        for job in store.get_due_jobs(now):
            if job.id not in self._astray:
                self._submit(job, now)
            self._rearm(job, now)
        upcoming: datetime | None = store.get_next_run_time()
        if upcoming is None:
            return MAX_ASLEEP_S
        if upcoming <= now:
            return 0.0
        return max(GRAIN_S, (upcoming - self.timeline.now()).total_seconds())

    def _follow_wall(self, now: datetime) -> None:
        """After a step of the wall clock, calendar jobs move; fixed rates know nothing of it."""
        skew = self.timeline.skew()
        if abs(skew - self._skew) < _STEP:
            return
        self._skew = skew
        for job in self._jobstores["default"].get_all_jobs():
            if isinstance(job.trigger, Calendar) and job.next_run_time is not None:
                self._rearm(job, now)

    def _submit(self, job: Job, now: datetime) -> None:
        try:
            self._executors[job.executor].submit_job(job, [job.next_run_time, now])
        except Exception as exc:  # noqa: BLE001  one job's trouble stays its own
            self._on_broken(job.id, exc)

    def _rearm(self, job: Job, now: datetime) -> None:
        try:
            job.next_run_time = job.trigger.get_next_fire_time(job.next_run_time, now)
        except Exception as exc:  # noqa: BLE001  a foreign trigger may raise anything
            # Not due then: only its trigger is asked again, ever more seldom.
            wait_s = min(2 * self._astray.get(job.id, RETRY_S / 2), MAX_RETRY_S)
            self._astray[job.id] = wait_s
            job.next_run_time = now + timedelta(seconds=wait_s)
            self._on_broken(job.id, exc)
        else:
            self._astray.pop(job.id, None)
        self._save(job, now)

    def _save(self, job: Job, now: datetime) -> None:
        try:
            self._jobstores["default"].update_job(job)
        except Exception as exc:  # noqa: BLE001  kept here and tried again
            self._unsaved[job.id] = (now + timedelta(seconds=RETRY_S), job)
            self._on_broken(job.id, exc)
        else:
            self._unsaved.pop(job.id, None)
