"""In the interactive demo a fault stays on until the visitor has seen enough of it."""

import threading

from core.clock import Clock

LIMIT_S = 60.0
_POLL_S = 0.1


class Visitor:
    """Holds the story until `next` is called, or for `LIMIT_S`."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is held yet."""
        self._clock = clock
        self._holding, self._next = threading.Event(), threading.Event()

    async def hold(self) -> None:
        """Return when the visitor wants to go on, or when the limit has passed."""
        self._next.clear()
        self._holding.set()
        end = self._clock.monotonic() + LIMIT_S
        while not self._next.is_set() and self._clock.monotonic() < end:
            await self._clock.sleep(_POLL_S)
        self._holding.clear()

    def next(self) -> bool:
        """Go on; False when nothing is held. Callable from any thread."""
        if not self._holding.is_set():
            return False
        self._next.set()
        return True
