"""What a page says, as plain JSON values shared by the receivers that take free fields."""

from paging.model import Incident, Page


def incident_fields(incident: Incident) -> dict[str, object]:
    """The public fields of an incident."""
    return {
        "fingerprint": incident.fingerprint,
        "episode": incident.episode,
        "rule": incident.rule,
        "subject": incident.subject,
        "severity": incident.severity.value,
        "state": incident.state.value,
        "title": incident.title,
        "summary": incident.summary,
        "hop": incident.hop,
        "evidence": list(incident.evidence),
        "since": incident.since.utc.isoformat(),
        "resolved": None if incident.resolved is None else incident.resolved.utc.isoformat(),
        "acked_by": incident.acked_by,
    }


def page_fields(page: Page, members_at_most: int) -> dict[str, object]:
    """The incident with its page: members are named up to `members_at_most`, always counted."""
    return {
        "page_id": page.page_id,
        "dedup_key": page.dedup_key,
        "action": page.action.value,
        "namespace": page.namespace,
        "at": page.at.utc.isoformat(),
        **incident_fields(page.incident),
        "members_total": len(page.members),
        "members": [
            {"subject": one.subject, "rule": one.rule, "title": one.title}
            for one in page.members[:members_at_most]
        ],
        "links": [{"text": text, "href": href} for text, href in page.links],
    }
