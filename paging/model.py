"""Incidents, pages and what receivers answer: the values that cross the seams of `paging`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from core.clock import Instant


class Severity(StrEnum):
    """`critical` wakes someone, `warning` waits for daylight."""

    CRITICAL = "critical"
    WARNING = "warning"


class IncidentState(StrEnum):
    """State of an incident's episode."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Incident:
    """One open period (episode) of one alert identity.

    fingerprint: 32 hex characters of hash(rule, subject); no volatile text in it.
    group: fingerprint of the incident whose page carries this one; its own when it leads.
    since: when the trouble began; opened: when it fired.
    """

    fingerprint: str
    episode: int
    rule: str
    subject: str
    severity: Severity
    state: IncidentState
    title: str
    summary: str
    hop: str
    evidence: tuple[str, ...]
    since: Instant
    opened: Instant
    changed: Instant
    resolved: Instant | None
    group: str
    acked_by: str
    acked_until: datetime | None
    muted_by: str
    facts: Mapping[str, str] = field(default_factory=dict)

    def dedup_key(self, namespace: str) -> str:
        """`namespace:fingerprint:episode`, at most 255 characters."""
        return f"{namespace}:{self.fingerprint}:{self.episode}"


class PageAction(StrEnum):
    """What a page tells a receiver."""

    TRIGGER = "trigger"
    UPDATE = "update"
    ACK = "acknowledge"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True)
class Page:
    """One delivery of an incident to a receiver; `page_id` is stable over retries."""

    dedup_key: str
    action: PageAction
    seq: int
    namespace: str
    incident: Incident
    members: tuple[Incident, ...]
    links: tuple[tuple[str, str], ...]
    at: Instant

    @property
    def page_id(self) -> str:
        """`dedup_key:action:seq`; holds no `.` because a namespace may not."""
        return f"{self.dedup_key}:{self.action.value}:{self.seq}"


class Answer(StrEnum):
    """What became of one delivery attempt."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A receiver's answer. thread: what it must remember for the next page of this incident."""

    answer: Answer
    detail: str
    retry_after_s: float | None
    thread: str
