"""The latest result of every check, and the fan-out by which results leave the probing loop.

Metrics, screens and the API read this table at the moment they are asked, so that freshness is
applied then and a check costs a dict entry, not a set of client objects.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from core.clock import Clock
from core.reason import Reason
from core.result import RunEnvelope
from core.verdict import Verdict, worst
from scheduler.engine.protocol import NotRun, Results

T = TypeVar("T")

STRIP_CELLS = 30
STRIP_CELL_S = 60.0


@dataclass(slots=True)
class _Entry:
    envelope: RunEnvelope
    last_ok_utc_s: float
    cells: deque[tuple[int, Verdict]] = field(default_factory=lambda: deque(maxlen=STRIP_CELLS))


@dataclass(frozen=True, slots=True)
class Latest:
    """Last envelope of a check, Unix time of its last `ok` (0 = never), and its strip.

    strip: worst verdict per minute of the last 30, oldest first; None = no result in that minute.
    A start-up in which nothing could be judged yet is no result.
    """

    envelope: RunEnvelope
    last_ok_utc_s: float
    strip: tuple[Verdict | None, ...]


class LatestTable:
    """Thread-safe: written by the probing and paging loops, read by the serving thread."""

    def __init__(self, clock: Clock) -> None:
        """An empty table."""
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def update(self, envelope: RunEnvelope) -> None:
        """Keep `envelope` as the newest word on its check."""
        minute = int(self._clock.monotonic() // STRIP_CELL_S)
        with self._lock:
            entry = self._entries.get(envelope.check)
            if entry is None:
                entry = self._entries[envelope.check] = _Entry(envelope, 0.0)
            entry.envelope = envelope
            if envelope.verdict is Verdict.OK:
                entry.last_ok_utc_s = envelope.ended.utc.timestamp()
            if envelope.reason is Reason.STARTING:
                return
            if entry.cells and entry.cells[-1][0] == minute:
                entry.cells[-1] = (minute, worst((entry.cells[-1][1], envelope.verdict)))
            else:
                entry.cells.append((minute, envelope.verdict))

    def get(self, check: str) -> Latest | None:
        """The newest word on `check`; None when it never had a result."""
        minute = int(self._clock.monotonic() // STRIP_CELL_S)
        with self._lock:
            entry = self._entries.get(check)
            return None if entry is None else _frozen(entry, minute)

    def retain(self, checks: frozenset[str]) -> None:
        """Forget checks that the plan no longer has, so that their series end cleanly."""
        with self._lock:
            for name in self._entries.keys() - checks:
                del self._entries[name]


def _frozen(entry: _Entry, minute: int) -> Latest:
    cells = dict(entry.cells)
    strip = tuple(cells.get(m) for m in range(minute - STRIP_CELLS + 1, minute + 1))
    return Latest(entry.envelope, entry.last_ok_utc_s, strip)


class Fanout(Results):
    """Hands every result to each consumer; none may block, and one that raises bars no other."""

    def __init__(
        self,
        publish: Sequence[Callable[[RunEnvelope], None]],
        not_run: Sequence[Callable[[NotRun], None]],
    ) -> None:
        """Consumers in the order in which they hear."""
        self._publish, self._not_run = tuple(publish), tuple(not_run)

    def publish(self, envelope: RunEnvelope) -> None:
        """Hand over one result. Raises what the first broken consumer raised, after the last."""
        _tell_all(self._publish, envelope)

    def not_run(self, gap: NotRun) -> None:
        """Hand over one gap in the account. Raises as `publish`."""
        _tell_all(self._not_run, gap)


def _tell_all(consumers: Sequence[Callable[[T], None]], what: T) -> None:
    broken: Exception | None = None
    for consumer in consumers:
        try:
            consumer(what)
        except Exception as exc:  # noqa: BLE001  the others, paging among them, must still hear
            broken = broken or exc
    if broken is not None:
        raise broken
