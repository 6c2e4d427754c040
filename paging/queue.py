"""The only way from probing to paging: bounded, never waits, overflow counted."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from core.result import RunEnvelope
from core.verdict import Verdict

CAPACITY = 100_000


class Gap(Protocol):
    """Due runs that did not start, as far as paging looks at them."""

    @property
    def check(self) -> str:
        """Name of the check."""
        ...

    @property
    def count(self) -> int:
        """How many runs."""
        ...


class ResultsQueue:
    """Handed to the engine as its `Results`; safe from any thread.

    On overflow the *oldest* result of the queue gives way: the newest one tells what is so.
    """

    def __init__(self, woken: Callable[[], None], capacity: int = CAPACITY) -> None:
        """`woken` is called, from the publishing thread, after each result that is not `ok`.

        What is well can wait for the loop's next turn, half a second at most: waking it for every
        result would cost more than to fold it.
        """
        self._items: deque[RunEnvelope] = deque()
        self._lock = threading.Lock()
        self._woken, self._capacity = woken, capacity
        self.dropped_total = 0
        self.not_run_total = 0

    def publish(self, envelope: RunEnvelope) -> None:
        """Hand over one result."""
        with self._lock:
            if len(self._items) >= self._capacity:
                self._items.popleft()
                self.dropped_total += 1
            self._items.append(envelope)
        if envelope.verdict is not Verdict.OK:
            self._woken()

    def not_run(self, gap: Gap) -> None:
        """Count runs that did not start; the silence itself turns the subject blind in time."""
        with self._lock:
            self.not_run_total += gap.count

    def take(self, at_most: int) -> list[RunEnvelope]:
        """Oldest results first, at most `at_most`."""
        with self._lock:
            return [self._items.popleft() for _ in range(min(at_most, len(self._items)))]

    def __len__(self) -> int:
        """Results that wait."""
        return len(self._items)
