"""When a canary is looked for first: when half of those before it were there. Pure.

Who never looks sooner never learns that canaries have come to be there sooner, so that some are
looked for in half that time.
"""

from selfcheck.canary.turns import is_picked

_TRIED_IN = 16
# So many of those in a row that were there when first looked for: all are looked for so soon.
_IN_A_ROW = 3


class FirstLook:
    """By how much sooner than their delays tell the canaries of a route are looked for."""

    def __init__(self, least_s: float) -> None:
        """`least_s`: no canary is looked for sooner after it was sent."""
        self._least_s = least_s
        self._halvings = self._there = 0

    def wait_s(self, seq: int, expected_s: float) -> float:
        """Seconds from sending to the first look. expected_s: the delay of half of the canaries."""
        sooner = 2 if is_picked(seq, _TRIED_IN) else 1
        return max(self._least_s, self._usual_s(expected_s) / sooner)

    def seen(self, seq: int, expected_s: float, *, at_once: bool) -> None:
        """What a canary that was seen tells. at_once: it was there when it was first looked for."""
        if not is_picked(seq, _TRIED_IN):
            return
        if not at_once:
            self._there, self._halvings = 0, max(0, self._halvings - 1)
        elif self._usual_s(expected_s) > self._least_s:
            self._there += 1
        if self._there == _IN_A_ROW:
            self._there, self._halvings = 0, self._halvings + 1

    def _usual_s(self, expected_s: float) -> float:
        return expected_s / (1 << self._halvings)
