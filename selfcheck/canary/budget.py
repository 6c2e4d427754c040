"""How often a store may be asked by one of its readers: a token bucket."""

from selfcheck.canary.judging import JudgingRules

# Of one canary: its own, and its share of those by which access paths are judged; where it may be
# slow, one more when it becomes so, and one that shows it.
_READS, _READS_IN_TIME = 1.8, 3.0


def least_reads(every_s: float, slow_s: float | None, *, batched: bool) -> float:
    """Reads a minute without which a route's reads wait for their turn.

    slow_s: the delay that the route says is slow. batched: canaries are asked for together.
    """
    reads = _READS_IN_TIME if slow_s else 0.0 if batched else _READS
    return reads * 60 / every_s


class ReadBudget:
    """Token bucket. An exhausted budget leaves canaries as they are; it never judges them.

    Reads that an outage kept from being made are saved, and made up for faster than the budget
    allows: over the outage and the time after it together no more is read than without one.
    """

    def __init__(self, rules: JudgingRules, now_s: float, least: float = 0.0) -> None:
        """Begins full. `now_s` here and below: seconds of the monotonic clock.

        least: reads a minute that are needed, whatever is usual. What is said in the config holds.
        """
        said = "reads_per_minute" in rules.model_fields_set
        per_minute = rules.reads_per_minute if said else max(rules.reads_per_minute, least)
        self._per_s, self._burst = per_minute / 60, float(rules.read_burst)
        self._faster_s = max(self._per_s, rules.catch_up_per_minute / 60)
        self._tokens, self._saved, self._at_s = self._burst, 0.0, now_s

    def take(self, now_s: float) -> bool:
        """Use up one read, if there is one."""
        self._fill(now_s)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def barred(self, now_s: float) -> None:
        """The store must not be asked: what came in since the last call is for afterwards."""
        gained = max(0.0, now_s - self._at_s) * self._per_s
        room = self._burst - self._tokens
        self._tokens += min(room, gained)
        self._saved += max(0.0, gained - room)
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next read is allowed."""
        self._fill(now_s)
        short = max(0.0, 1 - self._tokens)
        return short / (self._faster_s if self._saved >= short else self._per_s)

    def _fill(self, now_s: float) -> None:
        passed_s = max(0.0, now_s - self._at_s)
        made_up = min(self._saved, passed_s * (self._faster_s - self._per_s))
        self._saved -= made_up
        # A hair above: after exactly the announced wait there must be a whole token.
        gained = passed_s * self._per_s + made_up + 1e-9
        self._tokens, self._at_s = min(self._burst, self._tokens + gained), now_s
