"""What a run yields, and the envelope in which it travels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from core.clock import Instant
from core.reason import Reason
from core.verdict import Verdict

Fact = float | int | str | bool
NO_FACTS: Mapping[str, Fact] = MappingProxyType({})


def refuse_nan(values: Mapping[str, Fact]) -> None:
    """Raise ValueError when a fact is NaN: a figure that is not known is left out, not NaN."""
    for name, value in values.items():
        if isinstance(value, float) and math.isnan(value):
            raise ValueError(f"fact {name!r} is NaN: leave out what is not known")


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one run of a check. Facts that were not measured are absent, never zero."""

    verdict: Verdict
    reason: Reason
    detail: str
    facts: Mapping[str, Fact] = field(default_factory=lambda: NO_FACTS)

    def __post_init__(self) -> None:
        """Raise ValueError on NaN facts and on a verdict whose reason contradicts it."""
        refuse_nan(self.facts)
        if self.verdict is not Verdict.OK and self.reason is Reason.OK:
            raise ValueError(f"{self.verdict} needs a reason")

    @classmethod
    def ok(cls, facts: Mapping[str, Fact], detail: str = "") -> "Result":
        """The target did what was expected."""
        return cls(Verdict.OK, Reason.OK, detail, facts)

    @classmethod
    def degraded(
        cls, reason: Reason, detail: str, facts: Mapping[str, Fact] = NO_FACTS
    ) -> "Result":
        """It works, but not as it should."""
        return cls(Verdict.DEGRADED, reason, detail, facts)

    @classmethod
    def fail(cls, reason: Reason, detail: str, facts: Mapping[str, Fact] = NO_FACTS) -> "Result":
        """The target is proven wrong."""
        return cls(Verdict.FAIL, reason, detail, facts)

    @classmethod
    def blind(cls, reason: Reason, detail: str, facts: Mapping[str, Fact] = NO_FACTS) -> "Result":
        """It could not be checked, and that is not proven to be the target's doing."""
        return cls(Verdict.BLIND, reason, detail, facts)


@dataclass(frozen=True, slots=True)
class Trust:
    """How far a sample can be trusted: seconds late, seconds queued, worst loop lag meanwhile."""

    late_s: float
    queue_s: float
    lag_s: float


@dataclass(frozen=True, slots=True)
class RunEnvelope:
    """One run, unique by (check, location, scheduled_at, attempt)."""

    check: str
    kind: str
    generation: int
    epoch: int
    scheduled_at: datetime
    started: Instant
    ended: Instant
    verdict: Verdict
    reason: Reason
    detail: str
    facts: Mapping[str, Fact]
    trust: Trust
    attempt: int = 1
    location: str = "local"
    worker: str = "local"
    v: int = 1

    @property
    def delayed(self) -> bool:
        """Whether the run started more than a second after its time."""
        return self.trust.late_s > 1.0
