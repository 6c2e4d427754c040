"""A clock that moves only when a test says so."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Virtual time: `advance` wakes sleepers in order; `step_wall` steps only the wall clock."""

    def __init__(self, start: datetime = datetime(2026, 11, 21, 3, 12, 44, tzinfo=UTC)) -> None:
        """Begins at `start`, 1000 s after a virtual boot."""
        self._utc, self._boot_s, self._boot_id = start, 1000.0, "boot-1"
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def boot_id(self) -> str:
        """Identity of the virtual boot."""
        return self._boot_id

    def monotonic(self) -> float:
        """Virtual boot seconds."""
        return self._boot_s

    def utc(self) -> datetime:
        """Virtual wall time."""
        return self._utc

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` passes the moment."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(
            self._sleepers, (self._boot_s + max(0.0, seconds), next(self._order), future)
        )
        await future

    def move(self, seconds: float) -> None:
        """Move both clocks without waking anybody."""
        self._boot_s += seconds
        self._utc += timedelta(seconds=seconds)

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock only."""
        self._utc += timedelta(seconds=seconds)

    def reboot(self, boot_id: str) -> None:
        """A new boot: boot time starts again, wall time goes on."""
        self._boot_id, self._boot_s = boot_id, 10.0

    async def advance(self, seconds: float) -> None:
        """Move on, waking each sleeper at its moment and letting the loop settle."""
        end = self._boot_s + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, future = heapq.heappop(self._sleepers)
            self.move(max(0.0, at - self._boot_s))
            if not future.done():
                future.set_result(None)
            await self._settle()
        self.move(end - self._boot_s)
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
