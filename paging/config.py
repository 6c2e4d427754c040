"""What the paging loop is told: page rules, receivers, subjects and times. Built in wiring."""

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.secrets import Secret
from paging.model import Incident, Severity
from paging.receivers.protocol import Receiver, ReceiverParts

ReceiverFactory = Callable[[ReceiverParts], Receiver]


@dataclass(frozen=True, slots=True)
class Subject:
    """A check, route or source as the rules need it.

    severity: by rule name (`fail`, `degraded`, `blind`); what is absent has its default.
    k, n, for_s, recover_for_s: None takes the default of the kind (docs/design.md, "State,
    alerts, pages": checks 2 of 2, routes and sources 1 of 1).
    """

    name: str
    kind: str
    every_s: float
    deadline_s: float
    confirmation_s: float = 0.0
    severity: Mapping[str, Severity] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()
    k: int | None = None
    n: int | None = None
    for_s: float | None = None
    recover_for_s: float | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """What a page rule applies to; an empty part matches everything. subject: a shell pattern."""

    severity: Severity | None = None
    subject: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def covers(self, incident: Incident, labels: Mapping[str, str]) -> bool:
        """Whether `incident`, whose subject carries `labels`, is meant."""
        if self.severity is not None and incident.severity is not self.severity:
            return False
        if self.subject and not fnmatch.fnmatchcase(incident.subject, self.subject):
            return False
        return all(labels.get(name) == value for name, value in self.labels.items())


@dataclass(frozen=True, slots=True)
class PageRule:
    """One entry of `pages:`; `fallback` is "" when there is none."""

    match: Match
    to: str
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class HeartbeatTarget:
    """An outside watcher that we ping (Healthchecks-style URL)."""

    name: str
    url: Secret
    every_s: float = 60.0


@dataclass(frozen=True, slots=True)
class PagingConfig:
    """Everything the paging loop needs to know; replaced as a whole on reload.

    pages: first match wins; the last one matches everything.
    receivers: factories by name, called inside the paging loop.
    blind_after_s: how long a subject may be blind before that is an incident of its own.
    """

    namespace: str
    subjects: Mapping[str, Subject]
    pages: tuple[PageRule, ...]
    receivers: Mapping[str, ReceiverFactory]
    heartbeats: tuple[HeartbeatTarget, ...] = ()
    group_wait_s: float = 10.0
    group_interval_s: float = 60.0
    repeat_s: float = 4 * 3600.0
    fallback_after_s: float = 120.0
    blind_after_s: float = 300.0
    outbox_limit_s: float = 60.0
    storm_at: int = 10

    def subject(self, name: str) -> Subject | None:
        """The subject of that name, None when the config no longer holds it."""
        return self.subjects.get(name)

    def page_rule(self, incident: Incident) -> PageRule | None:
        """The first page rule that covers `incident`; None when none does."""
        subject = self.subject(incident.subject)
        labels = subject.labels if subject is not None else {}
        return next((rule for rule in self.pages if rule.match.covers(incident, labels)), None)
