"""Foreign code on a leash: called under a deadline that it cannot hold, abandoned if it must be."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from core.errors import PluginError

UNWIND_S = 1.0

T = TypeVar("T")


class Leash:
    """Calls foreign coroutines. `leaked` counts those that outlived their cancellation and live."""

    def __init__(self, limit: int, on_too_many: Callable[[PluginError], None]) -> None:
        """`on_too_many` hears of each leak beyond `limit` living ones."""
        self.leaked = 0
        self.leaked_total = 0
        self._limit, self._on_too_many = limit, on_too_many

    async def call(
        self,
        work: Coroutine[Any, Any, T],  # Any: what a coroutine is sent and yields is asyncio's own
        limit_s: float,
        unwind_s: float = UNWIND_S,
    ) -> asyncio.Task[T]:
        """The task of `work`, done unless it was abandoned; after `limit_s` it is cancelled.

        Returns at the latest after limit_s + unwind_s. `asyncio.wait_for` and `asyncio.timeout`
        would wait for ever on code that swallows its cancellation.
        """
        task = asyncio.get_running_loop().create_task(work)
        try:
            done, _ = await asyncio.wait((task,), timeout=limit_s)
            if not done:
                task.cancel()
                done, _ = await asyncio.wait((task,), timeout=unwind_s)
        except asyncio.CancelledError:
            task.cancel()
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
        return task

    def _abandon(self, task: asyncio.Task[Any]) -> None:  # Any: whatever it would have returned
        self.leaked += 1
        self.leaked_total += 1
        task.add_done_callback(self._ended)
        if self.leaked > self._limit:
            self._on_too_many(PluginError(f"{self.leaked} abandoned tasks are still running"))

    def _ended(self, task: asyncio.Task[Any]) -> None:  # Any: as above
        self.leaked -= 1
        if not task.cancelled():
            # Counted as leaked when it was given up; asked for, so that asyncio does not report it.
            task.exception()
