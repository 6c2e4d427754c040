"""When to read the model, and what is known between two reads. No Textual, no thread of its own.

The app asks `due()` once a second, reads in a thread worker, and hands back what came of it.
"""

from datetime import datetime

from core.clock import Clock
from scheduler.readmodel import Board
from tui.view.moment import Lost, Moment

EVERY_S = 2.0
BACKOFF_CAP_S = 30.0


class Feed:
    """The last board, its age, and the trouble with reading the next."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is read yet; the first read is due at once."""
        self._clock = clock
        self._board: Board | None = None
        self._held: tuple[Board, float, datetime] | None = None
        self._at_s = 0.0
        self._skew_s = 0.0
        self._next_s = clock.monotonic()
        self._reading = False
        self._failures = 0
        self._why = ""
        self._lost_since_s = 0.0

    def due(self) -> bool:
        """Whether a read should start now; a read that hangs is never doubled."""
        return not self._reading and self._clock.monotonic() >= self._next_s

    def begin(self) -> None:
        """A read starts."""
        self._reading = True

    def hurry(self) -> None:
        """Read at the next occasion, whatever the backoff says."""
        self._next_s = self._clock.monotonic()

    def took(self, board: Board) -> None:
        """A read has ended well. A board whose own time stands still stays as old as it was."""
        now_s = self._clock.monotonic()
        if self._board is None or board.at != self._board.at:
            self._at_s = now_s
            self._skew_s = (self._clock.utc() - board.at).total_seconds()
        self._board, self._reading, self._failures = board, False, 0
        self._next_s = now_s + EVERY_S

    def failed(self, why: str) -> None:
        """A read has failed: keep what there is, try again later and later."""
        now_s = self._clock.monotonic()
        if not self._failures:
            self._lost_since_s = now_s
        self._failures += 1
        self._why, self._reading = why, False
        self._next_s = now_s + min(BACKOFF_CAP_S, EVERY_S * 2.0 ** min(self._failures - 1, 10))

    @property
    def frozen(self) -> bool:
        """Whether the screen keeps showing one board."""
        return self._held is not None

    def freeze(self) -> None:
        """Keep showing the present board, or go on with the newest."""
        if self._held is not None:
            self._held = None
        elif self._board is not None:
            self._held = (self._board, self._at_s, self._clock.utc())

    def moment(self) -> Moment:
        """What there is to show now."""
        now_s = self._clock.monotonic()
        board, at_s, frozen = self._held or (self._board, self._at_s, None)
        lost = None
        if self._failures:
            retry_s = None if self._reading else max(0.0, self._next_s - now_s)
            # Trouble began when the last good board was read, not when its absence was noticed.
            since_s = self._lost_since_s if self._board is None else self._at_s
            lost = Lost(now_s - since_s, self._why, retry_s)
        elapsed_s = now_s - at_s if board is not None else 0.0
        return Moment(board, elapsed_s, self._clock.utc(), lost, self._skew_s, frozen)
