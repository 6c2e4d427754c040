"""From a rule's state to the incident it stands for: pure."""

import hashlib
from dataclasses import replace

from core.clock import Instant
from core.result import RunEnvelope
from paging import wording
from paging.model import Incident, IncidentState
from paging.rules import OPEN, Rule, RuleState

SEQ = "page_seq"
_KEPT_FACTS = ("routes", "finding", "confidence", "missing", "loss_cost")


def fingerprint_of(rule: str, subject: str) -> str:
    """32 hex characters of the identity; nothing volatile goes in."""
    return hashlib.sha256(f"{rule}\0{subject}".encode()).hexdigest()[:32]


def subject_of(run: RunEnvelope) -> str:
    """The check's name; another location is another subject (a quorum of one for now)."""
    return run.check if run.location == "local" else f"{run.check}@{run.location}"


def opened(rule: Rule, state: RuleState, fingerprint: str, episode: int, now: Instant) -> Incident:
    """A new episode that leads its own page and has no text yet."""
    return Incident(
        fingerprint=fingerprint,
        episode=episode,
        rule=rule.name.value,
        subject=rule.subject,
        severity=rule.severity,
        state=IncidentState.FIRING,
        title="",
        summary="",
        hop="",
        evidence=(),
        since=state.since or now,
        opened=now,
        changed=now,
        resolved=None,
        group=fingerprint,
        acked_by="",
        acked_until=None,
        muted_by="",
    )


def described(rule: Rule, state: RuleState, kind: str, incident: Incident) -> Incident:
    """`incident` with the text and the marks of its rule's state; as it is when not open."""
    if state.phase not in OPEN:
        return incident
    hop = str(state.facts.get("hop", "")) or incident.hop
    facts = {name: str(state.facts[name]) for name in _KEPT_FACTS if name in state.facts}
    # The number of its newest page must survive every change of text.
    numbered = {SEQ: incident.facts[SEQ]} if SEQ in incident.facts else {}
    return replace(
        incident,
        severity=rule.severity,
        title=wording.title_of(rule.name, rule.subject, kind, flapping=state.flapping),
        summary=wording.summary_of(state.facts, state.detail, hop, incident.since),
        hop=hop,
        evidence=wording.evidence_of(state.facts),
        acked_by=state.acked_by,
        acked_until=state.acked_until,
        muted_by=state.muted_by,
        facts={**facts, "kind": kind, **numbered},
    )
