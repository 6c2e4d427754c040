"""What localisation answers: lost between A and B, n of m, confidence, evidence."""

from dataclasses import dataclass
from enum import StrEnum


class Confidence(StrEnum):
    """How sure a finding is (docs/design.md, "Where a loss lies")."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NONE = "none"


class Cause(StrEnum):
    """What the evidence says happened at the located hop."""

    REFUSES = "refuses connections"
    SILENT = "accepts, never answers"
    HELD = "held in its queue"
    DROPPED = "dropped, by its own counter"
    SILENT_LOSS = "lost without a counter"
    POLICY = "dropped on purpose"
    READ_SIDE = "the store's read side"
    INGEST = "the store's ingest"
    STORE = "the store refuses writes and reads"
    ACCESS = "access to the backend"
    QUIET = "sends nothing any more"
    SELF = "Coalmine itself"
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Finding:
    """`hop` is the one named hop ("" when the interval is not narrowed to one).

    lost, of: canaries of the window. evidence and missing are sentences, most telling first.
    time_to_loss_s: for a loss that is still held in a queue; None when not applicable or unknown.
    """

    route: str
    start: str
    end: str
    hop: str
    lost: int
    of: int
    cause: Cause
    confidence: Confidence
    evidence: tuple[str, ...]
    missing: tuple[str, ...]
    time_to_loss_s: float | None = None

    def sentence(self) -> str:
        """One line for pages and screens."""
        where = self.hop or f"between {self.start} and {self.end}"
        count = f", {self.lost} of {self.of}" if self.of else ""
        return f"{where}: {self.cause.value}{count} (confidence {self.confidence.value})"
