"""How often something was bad among the newest few answers, in a bit for each. Pure."""

from dataclasses import dataclass

# What happened at separate times is over when fewer than so many of them are left.
_MENDED = 2


@dataclass(slots=True)
class Newest:
    """Which of the newest `size` answers were bad: a bit each, the last one lowest."""

    size: int
    bits: int = 0

    def push(self, bad: bool) -> None:
        """Take one answer for the newest."""
        self.bits = (self.bits << 1 | bad) & ((1 << self.size) - 1)

    @property
    def count(self) -> int:
        """How many of them were bad."""
        return self.bits.bit_count()

    @property
    def times(self) -> int:
        """How many runs of bad ones there are: of a trouble that lasts, only the beginning."""
        return (self.bits & ~(self.bits >> 1)).bit_count()

    def newest(self, count: int) -> int:
        """How many of the newest `count` were bad."""
        return (self.bits & ((1 << count) - 1)).bit_count()


@dataclass(slots=True)
class Lately(Newest):
    """As `Newest`, and whether it happens often.

    often: whether at least `least` were bad, at so many separate times that it is no single
    trouble; it stays so until few are left.
    """

    least: int = 0
    often: bool = False

    def add(self, bad: bool, separate: int) -> None:
        """Count one answer. separate: how many times make it often."""
        self.push(bad)
        self._decide(separate)

    def recall(self, bits: int, separate: int) -> None:
        """Take `bits` for what is known."""
        self.bits = bits
        self._decide(separate)

    def _decide(self, separate: int) -> None:
        few = 2 if self.often else 1
        times = _MENDED if self.often else separate
        self.often = self.times >= times and few * self.count >= self.least
