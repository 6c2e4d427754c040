"""How far a loop falls behind: a beat every 100 ms, and how late each one was."""

from collections import deque

from core.clock import Clock

BEAT_S = 0.1
KEPT_S = 600.0
_NOISE_S = 0.01


class LagMeter:
    """Beats on the loop that calls `beat`; `beats` may be read from any thread."""

    def __init__(self, clock: Clock) -> None:
        """Knows no lag yet."""
        self._clock = clock
        self._due_s = clock.monotonic() + BEAT_S
        # Falling lags, rising times: the first one after a moment is the worst since then.
        self._worst: deque[tuple[float, float]] = deque()
        self.beats = 0

    async def beat(self) -> float:
        """Note how late this beat is; seconds until the next. Made to be a supervised step."""
        now_s = self._clock.monotonic()
        lag_s = now_s - self._due_s
        if lag_s >= _NOISE_S:
            while self._worst and self._worst[-1][1] <= lag_s:
                self._worst.pop()
            self._worst.append((now_s, lag_s))
        while self._worst and self._worst[0][0] < now_s - KEPT_S:
            self._worst.popleft()
        self._due_s = now_s + BEAT_S
        self.beats += 1
        return BEAT_S

    def since(self, start_s: float) -> float:
        """The worst lag, in seconds, between `start_s` and now, a stall in progress included.

        Looks back ten minutes at most; lags under 10 ms count as none.
        """
        pending_s = self._clock.monotonic() - self._due_s
        noted_s = next((lag_s for at_s, lag_s in self._worst if at_s >= start_s), 0.0)
        worst_s = max(pending_s, noted_s)
        return worst_s if worst_s >= _NOISE_S else 0.0
