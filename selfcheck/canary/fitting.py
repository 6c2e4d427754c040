"""How much one read asks for: as much as fits into an answer."""

from core.reason import Reason
from selfcheck.canary.judging import JudgingRules

# An answer that does not fit is too large, or takes too long. So does one of a store that hangs:
# the parts stay large enough for what its outage leaves behind.
_TOO_MUCH = frozenset({Reason.BACKEND_PROTOCOL, Reason.TIMEOUT})
_FEWEST, _FEWER_S = 50, 900.0


class ReadSize:
    """How many canaries one read asks for: fewer for a while after an answer that did not fit.

    Asked for all at once again and again, a backlog that has grown too large would never be read.
    """

    def __init__(self, rules: JudgingRules) -> None:
        """Begins with all that the rules allow."""
        self._all = self._most = rules.batch_rows
        self._until_s = 0.0

    def most(self, now_s: float) -> int:
        """Canaries of the next read."""
        if now_s > self._until_s:
            self._most = self._all
        return self._most

    def told(self, reason: Reason, asked: int, now_s: float) -> None:
        """A read about `asked` canaries ended for this reason."""
        if reason in _TOO_MUCH and asked > _FEWEST:
            self._most, self._until_s = max(_FEWEST, asked // 2), now_s + _FEWER_S
