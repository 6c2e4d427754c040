"""A lane never exceeds its capacity, never loses a slot, and serves the oldest first."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.engine.lanes import Lane, LaneFullError, LaneLimits
from tests.support.clock import VirtualClock


class Work:
    def __init__(self, log, name):
        self.log, self.name, self.state = log, name, "waiting"

    def start(self):
        assert self.state == "waiting"
        self.state = "started"
        self.log.append(self.name)

    def refuse(self):
        assert self.state == "waiting"
        self.state = "refused"


@given(
    st.integers(1, 3),
    st.integers(0, 4),
    st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=40),
)
def test_every_offer_is_started_or_refused_once_and_slots_balance(capacity, queue, moves):
    """A number offers work of that age, None ends a run."""
    lane, log, offered, ended = Lane(LaneLimits("x", capacity, queue)), [], [], 0
    for move in moves:
        if move is not None:
            offered.append(Work(log, len(offered)))
            lane.offer(float(move), offered[-1])
        elif len(log) > ended:
            ended += 1
            lane.release()
        assert lane.running == len(log) - ended <= capacity
        assert lane.waiting == sum(work.state == "waiting" for work in offered) <= queue
    lane.clear()
    assert lane.waiting == 0


def test_the_oldest_is_served_first_and_the_youngest_refused():
    """Ties go to whoever came first."""
    lane, log = Lane(LaneLimits("x", 1, 3)), []
    works = {name: Work(log, name) for name in ("runs", "b", "c", "a", "young")}
    for name, since_s in (("runs", 9), ("b", 5), ("c", 5), ("a", 1), ("young", 8)):
        lane.offer(since_s, works[name])
    assert works["young"].state == "refused"
    for _ in range(3):
        lane.release()
    assert log == ["runs", "a", "b", "c"]


async def test_a_cancelled_wait_for_a_slot_loses_no_slot():
    """Before the slot is given, and in the same turn."""
    lane, clock = Lane(LaneLimits("x", 1, 2)), VirtualClock()

    async def hold():
        async with lane.slot(clock):
            await asyncio.Event().wait()

    first, second, third = (asyncio.create_task(hold()) for _ in range(3))
    await asyncio.sleep(0)
    with pytest.raises(LaneFullError):
        async with lane.slot(clock):
            pass
    second.cancel()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.wait({first, second, third})
    assert (lane.running, lane.waiting) == (0, 0)


def test_a_lane_in_which_nothing_could_run_is_refused():
    """At the start, not at the first run."""
    with pytest.raises(ValueError, match="capacity"):
        Lane(LaneLimits("x", 0, 5))
