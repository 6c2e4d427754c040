"""Which incidents share one page: pure.

Incidents at one located hop share the page of their leader; a broken route carries the sources
that went quiet on it; a storm of incidents without a hop is told once.
Rule: docs/design.md, "State, alerts, pages".
"""

from collections.abc import Iterable, Sequence

from paging.model import Incident, IncidentState, Severity
from paging.rules import RuleName

STORM_WINDOW_S = 60.0
_URGENCY = {Severity.CRITICAL: 1, Severity.WARNING: 0}


def fact(incident: Incident, name: str) -> str:
    """A fact of the incident as text, "" when it is absent."""
    return incident.facts.get(name, "")


def leads(incident: Incident) -> bool:
    """Whether this incident has a page of its own."""
    return incident.group == incident.fingerprint


def members_of(leader: Incident, open_incidents: Iterable[Incident]) -> tuple[Incident, ...]:
    """Open incidents told in the page of `leader`, oldest first, itself left out."""
    mine = [
        other
        for other in open_incidents
        if other.group == leader.fingerprint and other.fingerprint != leader.fingerprint
    ]
    return tuple(sorted(mine, key=lambda one: (one.opened.utc, one.fingerprint)))


def leader_for(
    incident: Incident, open_incidents: Sequence[Incident], storm_at: int
) -> Incident | None:
    """The open incident whose page should carry `incident`; None when it leads its own."""
    leaders = [
        other
        for other in open_incidents
        if other.fingerprint != incident.fingerprint and _may_lead(other, incident)
    ]
    leaders.sort(key=lambda one: (one.opened.utc, one.fingerprint))
    for leader in leaders:
        if _inhibits(leader, incident) or (incident.hop and leader.hop == incident.hop):
            return leader
    return None if incident.hop else _storm_leader(incident, leaders, storm_at)


def _may_lead(leader: Incident, incident: Incident) -> bool:
    """A page may carry what is at most as urgent, and "cannot see" never carries a loss."""
    if not leads(leader) or leader.state is not IncidentState.FIRING or leader.muted_by:
        return False
    if leader.rule == RuleName.BLIND and incident.rule != RuleName.BLIND:
        return False
    return _URGENCY[leader.severity] >= _URGENCY[incident.severity] or _inhibits(leader, incident)


def _inhibits(leader: Incident, incident: Incident) -> bool:
    kind = fact(incident, "kind")
    gated = kind == "source" or (kind == "recheck" and incident.rule == RuleName.BLIND)
    return (
        gated
        and fact(leader, "kind") == "canary"
        and leader.rule in {RuleName.FAIL, RuleName.BLIND}
        and leader.resolved is None
        and leader.subject in routes_of(incident)
    )


def inhibited(member: Incident, leader: Incident) -> bool:
    """Whether `member` is a quiet source carried only because its route was broken."""
    same_hop = bool(member.hop) and member.hop == leader.hop
    return fact(member, "kind") == "source" and not same_hop and member.group != member.fingerprint


def outlived(member: Incident, leader: Incident) -> bool:
    """Whether `member` says what is left of a failure that is over: no reason to keep its page."""
    return member.rule == RuleName.DEGRADED and leader.rule != RuleName.DEGRADED


def routes_of(incident: Incident) -> frozenset[str]:
    """Routes whose canaries gate this source."""
    return frozenset(name.strip() for name in fact(incident, "routes").split(",") if name.strip())


def _storm_leader(
    incident: Incident, leaders: Sequence[Incident], storm_at: int
) -> Incident | None:
    """The newest of many like it: `storm_at` are told one by one, the rest in one page."""
    alike = [
        other
        for other in leaders
        if not other.hop
        and other.rule == incident.rule
        and other.severity is incident.severity
        and incident.opened.boot_id == other.opened.boot_id
        and incident.opened.boot_s - other.opened.boot_s <= STORM_WINDOW_S
    ]
    return alike[-1] if len(alike) > storm_at else None
