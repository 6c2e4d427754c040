"""When a canary is looked for first: when half of those before it were there. Pure.

Who never looks sooner never learns that canaries have come to be there sooner, so that some are
looked for in less than that time.
"""

from selfcheck.canary.turns import is_picked

# One in so many is looked for sooner; of those each second in half the time.
_TRIED_IN = 16
_SOONER, _HALF = 0.75, 0.5
# So many in a row that were there, or were not: what all are looked for by moves.
_IN_A_ROW = 3


class FirstLook:
    """By how much sooner than their delays tell the canaries of a route are looked for."""

    def __init__(self, least_s: float) -> None:
        """`least_s`: no canary is looked for sooner after it was sent."""
        self._least_s, self._share = least_s, 1.0
        self._there = dict.fromkeys((_SOONER, _HALF), 0)
        self._missed = 0

    def wait_s(self, seq: int, expected_s: float) -> float:
        """Seconds from sending to the first look. expected_s: the delay of half of the canaries."""
        return max(self._least_s, expected_s * self._share * _tried(seq))

    def seen(self, seq: int, expected_s: float, *, at_once: bool) -> None:
        """What a canary that was seen tells. at_once: it was there when it was first looked for."""
        tried = _tried(seq)
        if tried == 1.0:
            self._missed = 0 if at_once else self._missed + 1
            if self._missed == _IN_A_ROW:
                self._missed, self._share = 0, min(1.0, self._share / _SOONER)
        elif expected_s * self._share > self._least_s:
            self._there[tried] = self._there[tried] + 1 if at_once else 0
            if self._there[tried] == _IN_A_ROW:
                self._there, self._share = dict.fromkeys(self._there, 0), self._share * tried


def _tried(seq: int) -> float:
    """In which share of the usual time this one is looked for."""
    if not is_picked(seq, _TRIED_IN):
        return 1.0
    return _HALF if seq // _TRIED_IN % 2 else _SOONER
