"""What the supervisor and its child say to each other, as JSON over pipes: never by argv."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from core.result import Fact


@dataclass(frozen=True, slots=True)
class Order:
    """One journey to make. Paths are absolute.

    ends_boot_s: moment of CLOCK_BOOTTIME, which both processes share, when the journey must end.
    keep_s: time after it for the screenshot.
    """

    journey: str
    executable: str
    sandbox: bool
    base_url: str
    artifacts: str
    allow: tuple[str, ...]
    ends_boot_s: float
    keep_s: float
    traceparent: str

    def to_json(self) -> bytes:
        """As the child reads it from its standard input."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Raises ValueError or TypeError on anything else."""
        given = json.loads(text)
        return cls(**{**given, "allow": tuple(given["allow"])})


@dataclass(frozen=True, slots=True)
class Report:
    """What the child saw. It is evidence: the verdict is the supervisor's.

    `happened` is `ok` or a reason's name.
    """

    happened: str
    detail: str
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """As the supervisor reads it from the child's first standard output."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Raises ValueError, TypeError or KeyError on anything else."""
        given = json.loads(text)
        return cls(str(given["happened"]), str(given["detail"]), dict(given["facts"]))
