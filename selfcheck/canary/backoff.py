"""How long a store that does not answer is left alone: by each of its readers, and by all."""

import math
import random

from core.reason import Reason
from selfcheck.canary.judging import JudgingRules

# A store that answered anybody so lately is not down: who gets no answer waits alone.
_ANSWERS_S = 300.0


class Backoff:
    """A wait that doubles with each error."""

    def __init__(self, rules: JudgingRules, rng: random.Random) -> None:
        """`rng` gives the jitter."""
        self._rules, self._rng = rules, rng
        self._errors, self._until_s = 0, 0.0
        self.reason = Reason.READBACK

    @property
    def failing(self) -> bool:
        """Whether there was an error since the last answer."""
        return self._errors > 0

    def wait_s(self, now_s: float) -> float:
        """Seconds that are left of the wait; `now_s` here and below: of the monotonic clock."""
        return max(0.0, self._until_s - now_s)

    def failed(self, now_s: float, reason: Reason) -> None:
        """An error; one that was under way when the wait began belongs to the same outage."""
        self.reason = reason
        if self.wait_s(now_s) > 0:
            return
        rules = self._rules
        doubled = min(rules.backoff_max, rules.backoff_first * 2 ** min(self._errors, 30))
        self._errors += 1
        self._until_s = now_s + doubled * (1 - rules.poll_jitter * self._rng.random())

    def asked(self, now_s: float, wait_s: float, reason: Reason) -> None:
        """The store asks for a wait: it wins over our own doubling, up to its cap."""
        self.reason, self._errors = reason, self._errors + 1
        self._until_s = max(self._until_s, now_s + min(wait_s, self._rules.retry_after_max))

    def over(self) -> None:
        """An answer: the next error begins at the first wait."""
        self._errors, self._until_s = 0, 0.0


class StoreBackoff(Backoff):
    """What all readers of one backend wait for: an outage, and what the store asks for."""

    def __init__(self, rules: JudgingRules, rng: random.Random) -> None:
        """Nobody has been answered yet."""
        super().__init__(rules, rng)
        self.answered_s = -math.inf


class ReadBackoff:
    """Waits between the read errors of one reader, and those that it shares.

    What one route cannot read, or what is old, others may: they are not kept from it.
    """

    def __init__(
        self, rules: JudgingRules, rng: random.Random, store: StoreBackoff | None = None
    ) -> None:
        """`store` is shared by all readers of the backend; None = there is no other."""
        self._own, self._store = Backoff(rules, rng), store or StoreBackoff(rules, rng)
        self._first_s = rules.backoff_first

    @property
    def reason(self) -> Reason:
        """Why there is a wait."""
        return max(self._own, self._store, key=lambda one: one.wait_s(0.0)).reason

    def wait_s(self, now_s: float) -> float:
        """Seconds until the backend may be asked again; 0 when it may be now."""
        # Of an outage: whoever has not failed asks first, as it may be answered.
        first_s = self._first_s if self._own.failing and self._store.failing else 0.0
        return max(self._own.wait_s(now_s), self._store.wait_s(now_s - first_s))

    def failed(self, now_s: float, retry_after_s: float | None, reason: Reason) -> None:
        """A read error. retry_after_s: what the store asks for, None = nothing."""
        if retry_after_s is not None:
            self._store.asked(now_s, retry_after_s, reason)
            return
        self._own.failed(now_s, reason)
        if now_s - self._store.answered_s > _ANSWERS_S:
            self._store.failed(now_s, reason)

    def succeeded(self, now_s: float) -> None:
        """The backend answered."""
        self._store.answered_s = now_s
        self._own.over()
        self._store.over()
