"""What the clockwork stands on inside APScheduler 3.11, pinned."""

import inspect
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import BaseScheduler

from scheduler.engine.clockwork import BATCH, Calendar, Clockwork, FixedRate
from scheduler.engine.timeline import Timeline
from tests.support.clock import VirtualClock


def test_the_replaced_private_methods_are_still_what_apscheduler_calls():
    """A release that renames or bypasses them must be looked at before it is used."""
    assert version("apscheduler").startswith("3.11.")
    assert "self._process_jobs()" in inspect.getsource(AsyncIOScheduler.wakeup)
    assert "self._start_timer(" in inspect.getsource(AsyncIOScheduler.wakeup)
    assert "self._timeout.cancel()" in inspect.getsource(AsyncIOScheduler._stop_timer)
    assert list(inspect.signature(BaseScheduler._process_jobs).parameters) == ["self"]
    assert list(inspect.signature(AsyncIOScheduler._start_timer).parameters) == [
        "self", "wait_seconds",
    ]  # fmt: skip
    for name in ("_process_jobs", "_start_timer", "wakeup"):
        assert name in vars(Clockwork)
    assert "self.wakeup()" in inspect.getsource(BaseScheduler._real_add_job)
    assert "_jobstores" in inspect.getsource(BaseScheduler.__init__)
    assert "_executors" in inspect.getsource(BaseScheduler.__init__)


async def test_a_burst_is_worked_off_in_batches_and_loses_nothing():
    """Each wake-up holds the loop for a bounded time."""
    clock, ticks = VirtualClock(), []
    clockwork = Clockwork(clock, ticks.append, lambda *_: None)
    clockwork.start()
    at = clockwork.timeline.now() + timedelta(seconds=1)
    for i in range(3 * BATCH):
        clockwork.schedule(f"c{i}", FixedRate(at, 60.0), at)
    await clock.advance(1.5)
    assert len({tick.name for tick in ticks}) == len(ticks) == 3 * BATCH
    clockwork.halt()


async def test_the_engine_asks_the_clock_at_least_once_a_second():
    """Steps of the wall clock and suspends are seen even when nothing is due."""
    clock = VirtualClock()
    asked = []
    clockwork = Clockwork(clock, asked.append, lambda *_: None)
    process = clockwork._process_jobs
    clockwork._process_jobs = lambda: asked.append(clock.monotonic()) or process()
    clockwork.start()
    await clock.advance(5)
    assert len(asked) >= 5
    clockwork.halt()


CASES = {
    # crontab(5): Sunday is 0 and 7
    "30 6 * * 0": "2026-11-22T06:30",
    "30 6 * * 7": "2026-11-22T06:30",
    "30 6 * * mon-fri": "2026-11-23T06:30",
    "30 6 * * 5-7": "2026-11-22T06:30",
    "0 0 25 12 *": "2026-12-25T00:00",
    # both day fields restricted: either matches
    "0 0 24 * 0": "2026-11-22T00:00",
    "*/15 * * * *": "2026-11-21T12:15",
}


@pytest.mark.parametrize("rule", CASES)
def test_calendar_rules_mean_what_crontab_says(rule):
    """From Saturday, 21 November 2026, noon."""
    clock = VirtualClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
    timeline = Timeline(clock)
    at = Calendar(rule, "UTC", timeline).get_next_fire_time(None, timeline.now())
    assert at.isoformat()[:16] == CASES[rule]


NIGHTS = [
    ("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC)),
    ("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC)),
    ("30 2 * * *", "America/New_York", datetime(2026, 3, 7, 18, tzinfo=UTC)),
    ("30 1 * * *", "America/New_York", datetime(2026, 10, 31, 18, tzinfo=UTC)),
    ("45 1 * * *", "Australia/Lord_Howe", datetime(2026, 4, 4, 6, tzinfo=UTC)),
    ("15 2 * * *", "Australia/Lord_Howe", datetime(2026, 10, 3, 6, tzinfo=UTC)),
    ("30 0 * * *", "America/Nuuk", datetime(2026, 3, 28, 12, tzinfo=UTC)),
]


@pytest.mark.parametrize(("rule", "zone", "start"), NIGHTS)
def test_a_nightly_rule_runs_once_in_the_night_of_a_clock_change(rule, zone, start):
    """Neither left out in the gap nor repeated in the overlap."""
    calendar = Calendar(rule, zone, Timeline(VirtualClock(start)))
    assert calendar.passed(start, start + timedelta(hours=24))[0] == 1


def test_a_rule_for_every_hour_runs_on_through_the_overlap():
    """25 hours, 25 runs."""
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    calendar = Calendar("0 * * * *", "Europe/Berlin", Timeline(VirtualClock(start)))
    assert calendar.passed(start, start + timedelta(hours=25))[0] == 25
