"""Lanes: a cap on concurrency and a bounded queue for each sort of work, oldest work first.

A lane knows nothing of the others, so none can starve another. When its queue is full, the
youngest waits in vain, whoever came last: work that was refused before is older than its
neighbours and gets its turn.
"""

import asyncio
from bisect import insort
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from core.clock import Clock
from core.errors import CoalmineError


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """capacity: runs at one time; queue: runs that may wait."""

    name: str
    capacity: int
    queue: int


class Waiting(Protocol):
    """Work offered to a lane: exactly one of the two is called, once."""

    def start(self) -> None:
        """A slot is yours; call `Lane.release` when done."""
        ...

    def refuse(self) -> None:
        """The lane is full: you will not be started."""
        ...


class LaneFullError(CoalmineError):
    """The lane has neither a slot nor a place in its queue."""


class Lane:
    """One lane. Not thread-safe: it belongs to one loop."""

    def __init__(self, limits: LaneLimits) -> None:
        """An idle lane. Raises ValueError when nothing could ever run in it."""
        if limits.capacity < 1 or limits.queue < 0:
            raise ValueError(f"lane {limits.name!r}: capacity must be at least 1, queue at least 0")
        self.limits = limits
        self.running = 0
        # Oldest last, so that taking it is cheap; ties go to whoever came first.
        self._queue: list[tuple[float, int, Waiting]] = []
        self._order = 0

    @property
    def waiting(self) -> int:
        """How many wait in the queue."""
        return len(self._queue)

    def offer(self, since_s: float, work: Waiting) -> None:
        """Start, queue or refuse `work`; `since_s` is when it first came due: smaller is older."""
        if self.running < self.limits.capacity:
            self.running += 1
            work.start()
            return
        self._order += 1
        insort(self._queue, (-since_s, -self._order, work))
        if len(self._queue) > self.limits.queue:
            self._queue.pop(0)[2].refuse()

    def release(self) -> None:
        """Give a slot back; the oldest that waits takes it."""
        if self._queue:
            self._queue.pop()[2].start()
        else:
            self.running -= 1

    def clear(self) -> None:
        """Refuse everything that waits."""
        waiting, self._queue = self._queue, []
        for _, _, work in waiting:
            work.refuse()

    @asynccontextmanager
    async def slot(self, clock: Clock) -> AsyncIterator[None]:
        """Hold a slot. Raises LaneFullError when the lane refuses."""
        ticket = _Ticket(self)
        self.offer(clock.monotonic(), ticket)
        await ticket.granted()
        try:
            yield
        finally:
            self.release()


class Lanes:
    """The lanes by name."""

    def __init__(self, limits: Iterable[LaneLimits]) -> None:
        """One lane for each of `limits`."""
        self._lanes = {limit.name: Lane(limit) for limit in limits}

    def get(self, name: str) -> Lane | None:
        """The lane called `name`; None when there is none."""
        return self._lanes.get(name)

    def all(self) -> tuple[Lane, ...]:
        """Every lane."""
        return tuple(self._lanes.values())


class _Ticket:
    """A coroutine's place in a lane."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def granted(self) -> None:
        try:
            if not await self._answer:
                raise LaneFullError(f"lane {self._lane.limits.name!r} is full")
        except asyncio.CancelledError:
            # The slot may have been given in the same turn of the loop as the cancellation.
            if self._answer.done() and not self._answer.cancelled() and self._answer.result():
                self._lane.release()
            raise

    def start(self) -> None:
        if self._answer.done():
            self._lane.release()
        else:
            self._answer.set_result(True)

    def refuse(self) -> None:
        if not self._answer.done():
            self._answer.set_result(False)
