"""Owner of every background task: self-paced steps, restarted with backoff and counted."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable

from core.clock import Clock
from core.errors import PluginError, StoreError
from scheduler.engine.lanes import LaneFullError, Lanes
from scheduler.engine.leash import Leash
from scheduler.engine.protocol import Step

FATAL_IN_A_ROW = 5
NO_LANE = ""
_MAX_BACKOFF_S = 60.0
_MAX_WAIT_S = 3600.0
_log = logging.getLogger(__name__)

OnTrouble = Callable[[str, Exception], None]


class Supervisor:
    """Runs steps of one loop, each in its own task."""

    def __init__(
        self,
        clock: Clock,
        lanes: Lanes,
        leash: Leash,
        on_broken: OnTrouble,
        on_fatal: OnTrouble,
        fatal_in_a_row: int = FATAL_IN_A_ROW,
    ) -> None:
        """on_broken(name, error): a step failed; on_fatal: so often in a row that we should end.

        Our own store may fail for as long as it likes: probing and paging go on from memory.
        """
        self._clock, self._lanes, self._leash = clock, lanes, leash
        self._on_broken, self._on_fatal = on_broken, on_fatal
        self._fatal_in_a_row = fatal_in_a_row
        self._tasks: dict[str, tuple[Step, asyncio.Task[None]]] = {}
        self.restarts = 0
        self.deferred = 0

    def own(self, step: Step) -> None:
        """Run `step` from now on. Raises ValueError when one of its name is running."""
        if step.name in self._tasks:
            raise ValueError(f"a step named {step.name!r} is running already")
        task = asyncio.get_running_loop().create_task(self._pace(step), name=step.name)
        self._tasks[step.name] = (step, task)

    def replace(self, old: Iterable[Step], new: Iterable[Step]) -> None:
        """End the steps of `old` that are not in `new`, begin the others; equal ones go on."""
        wanted = {step.name: step for step in new}
        for step in old:
            if wanted.get(step.name) != step and step.name in self._tasks:
                self._tasks.pop(step.name)[1].cancel()
        for step in wanted.values():
            if step.name not in self._tasks:
                self.own(step)

    async def stop(self, grace_s: float) -> None:
        """Cancel every step; returns within `grace_s`."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)

    async def _pace(self, step: Step) -> None:
        failures = grave = 0
        while True:
            try:
                wait_s = await self._once(step)
                failures = grave = 0
            except LaneFullError:
                self.deferred += 1
                wait_s = 1.0
            except Exception as exc:  # noqa: BLE001  whatever a step raises, it is begun again
                failures += 1
                wait_s = min(2.0 ** (failures - 1), _MAX_BACKOFF_S)
                # A full disk or a locked database is waited for: a restart would get less far.
                grave = 0 if isinstance(exc, StoreError) else grave + 1
                self._failed(step, exc, grave)
            await self._clock.sleep(wait_s)

    async def _once(self, step: Step) -> float:
        if step.lane == NO_LANE:
            return await self._call(step)
        lane = self._lanes.get(step.lane)
        if lane is None:
            raise PluginError(f"there is no lane {step.lane!r}")
        async with lane.slot(self._clock):
            return await self._call(step)

    async def _call(self, step: Step) -> float:
        task = await self._leash.call(_called(step), step.deadline_s)
        if not task.done() or task.cancelled():
            raise PluginError(f"did not end within {step.deadline_s:g} s")
        wait_s = task.result()
        if math.isnan(wait_s) or wait_s < 0:
            raise PluginError(f"wants to be called again in {wait_s!r} s")
        return min(wait_s, _MAX_WAIT_S)

    def _failed(self, step: Step, exc: Exception, grave: int) -> None:
        self.restarts += 1
        try:
            self._on_broken(step.name, exc)
            if grave == self._fatal_in_a_row:
                self._on_fatal(step.name, exc)
        except Exception:  # noqa: BLE001  the last place that can still say so
            _log.exception("trouble_not_told step=%s", step.name)


async def _called(step: Step) -> float:
    # In a coroutine of ours, so that one that raises at the call is caught too.
    return await step.step()
