"""Watch one source: ask its backend for the newest record, gated by its routes' canaries."""

from collections.abc import Callable, Mapping
from copy import copy

from core.clock import Clock, age_s, instant
from core.result import Result
from core.verdict import Verdict
from selfcheck.backends.protocol import SourceReader
from selfcheck.quiet.gate import Memory, gated, judge
from selfcheck.quiet.model import Source

Gate = Callable[[tuple[str, ...]], Mapping[str, Verdict]]

_NS = 10**9
_DEADLINE_S = 10.0
_MIN_WINDOW_S = 3600.0
_GRACE_FACTOR = 3


class QuietWatch:
    """Judges one source; keeps only when it was expected first and its newest event time."""

    def __init__(
        self,
        source: Source,
        reader: SourceReader,
        gate: Gate,
        clock: Clock,
        *,
        grace_s: float | None = None,
        deadline_s: float = _DEADLINE_S,
        last_ns: int | None = None,
    ) -> None:
        """gate: the present verdicts of the named routes; asked at each step.

        grace_s: how long a source may stay unseen (default: three times `quiet_after_s`).
        last_ns: newest event time known from an earlier start, Unix nanoseconds.
        """
        self._source, self._reader, self._gate, self._clock = source, reader, gate, clock
        self._grace_s = _GRACE_FACTOR * source.quiet_after_s if grace_s is None else grace_s
        self._deadline_s, self._last_ns = deadline_s, last_ns
        self._since = instant(clock)

    @property
    def source(self) -> Source:
        """The source that is watched."""
        return self._source

    @property
    def last_ns(self) -> int | None:
        """Newest event time ever read, Unix nanoseconds: to be kept over a restart."""
        return self._last_ns

    def moved(self, reader: SourceReader, gate: Gate) -> "QuietWatch":
        """The same source and memory, asking another reader and another gate."""
        other = copy(self)
        other._reader, other._gate = reader, gate  # noqa: SLF001  of the same class
        return other

    async def step(self) -> Result:
        """One judgement. While the gate is not `ok` the backend is not even asked.

        The gate is asked again after the read: a route that broke meanwhile explains the silence.
        """
        barred = gated(self._gate(self._source.routes))
        if barred is not None:
            return barred
        window_s = max(_MIN_WINDOW_S, 3 * self._source.quiet_after_s)
        newest = await self._reader.newest(self._source.select, window_s, self._deadline_s)
        watched_s, _ = age_s(self._since, self._clock)
        result, memory = judge(
            self._source,
            newest,
            Memory(self._last_ns, watched_s),
            int(self._clock.utc().timestamp() * _NS),
            self._grace_s,
        )
        self._last_ns = memory.last_ns
        if result.verdict is Verdict.FAIL:
            return gated(self._gate(self._source.routes)) or result
        return result
