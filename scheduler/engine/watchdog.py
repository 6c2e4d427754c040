"""The last resort: a frozen loop ends the process, so that its supervisor starts it anew.

Python threads are frozen with the interpreter; only faulthandler's C thread still runs then. It
is re-armed while every loop beats; once one has stood still for the limit, it writes all stacks
and exits with status 1. A process that was stopped (SIGSTOP) for longer than the limit ends the
same way when it goes on: a restart is safe, an engine of unknown age is not.
"""

import faulthandler
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

LIMIT_S = 60.0
CHECK_S = 1.0


class Watchdog:
    """Watches counters of beats, one for each loop. One watchdog a process."""

    def __init__(
        self,
        beats: Sequence[Callable[[], int]],
        limit_s: float = LIMIT_S,
        stacks: TextIO | None = None,
    ) -> None:
        """`stacks`: a file with a descriptor, else stderr. Raises ValueError without beats."""
        if not beats:
            raise ValueError("a watchdog needs something to watch")
        self._beats, self._limit_s = tuple(beats), limit_s
        self._stacks = sys.stderr if stacks is None else stacks
        self._seen: tuple[int, ...] | None = None

    async def step(self) -> float:
        """Re-arm when every loop has beaten since the last time. Made to be a supervised step."""
        now = tuple(beat() for beat in self._beats)
        if self._seen is None or all(a != b for a, b in zip(now, self._seen, strict=True)):
            self._seen = now
            faulthandler.dump_traceback_later(self._limit_s, exit=True, file=self._stacks)
        return min(CHECK_S, self._limit_s / 4)

    def stop(self) -> None:
        """Disarm, at an orderly end."""
        faulthandler.cancel_dump_traceback_later()
        self._seen = None
