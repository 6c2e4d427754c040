"""The seam of a probe: a failing target is a Result, an exception means the probe is broken."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from core.kinds import FactSpec, Parts, Registry
from core.options import Options
from core.reason import Reason
from core.result import Result


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run: `deadline_s` is the probe's own total deadline, counted from the call of `run`.

    late_s, queue_s: how long after it was due, and after it was offered to its lane, it began.
    """

    check: str
    deadline_s: float
    traceparent: str
    late_s: float = 0.0
    queue_s: float = 0.0


class Probe(ABC):
    """A check that asks a target."""

    options_model: ClassVar[type[Options]]
    reasons: ClassVar[frozenset[Reason]]
    facts: ClassVar[tuple[FactSpec, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    lane: ClassVar[str] = "probes"

    @classmethod
    @abstractmethod
    def build(cls, options: Options, parts: Parts) -> Self:
        """An instance for `options`. Raises CoalmineError when a need is missing."""

    @abstractmethod
    async def run(self, context: RunContext) -> Result:
        """Ask once, within `context.deadline_s`; a time-out is `fail(timeout)`."""

    async def close(self) -> None:
        """Release what `build` took."""


PROBES = Registry[Probe](
    "probe",
    {
        "http": "probes.http:HttpProbe",
        "browser": "probes.browser:BrowserProbe",
    },
)
