"""Incidents and pages as JSON documents, and back.

Incidents grow fields over the years and are asked for as a whole, so a document serves them
better than thirty columns; what is searched by stands beside it in columns.
"""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from core.clock import Instant
from paging.model import Incident, IncidentState, Page, PageAction, Severity
from scheduler.store.columns import read_instant, write_instant


def write_incident(incident: Incident) -> str:
    """An incident as JSON text."""
    return json.dumps(_incident_fields(incident), ensure_ascii=False)


def read_incident(text: str) -> Incident:
    """The incident that `write_incident` wrote."""
    return _incident(json.loads(text))


def write_page(page: Page) -> str:
    """A page as JSON text."""
    fields = {
        "dedup_key": page.dedup_key,
        "action": page.action.value,
        "seq": page.seq,
        "namespace": page.namespace,
        "incident": _incident_fields(page.incident),
        "members": [_incident_fields(member) for member in page.members],
        "links": page.links,
        "at": write_instant(page.at),
    }
    return json.dumps(fields, ensure_ascii=False)


def read_page(text: str) -> Page:
    """The page that `write_page` wrote."""
    fields = json.loads(text)
    return Page(
        dedup_key=fields["dedup_key"],
        action=PageAction(fields["action"]),
        seq=fields["seq"],
        namespace=fields["namespace"],
        incident=_incident(fields["incident"]),
        members=tuple(map(_incident, fields["members"])),
        links=tuple((name, url) for name, url in fields["links"]),
        at=read_instant(fields["at"]),
    )


def _incident_fields(incident: Incident) -> dict[str, Any]:
    # Any: JSON.
    fields = {**asdict(incident), "facts": dict(incident.facts)}
    for name in ("since", "opened", "changed", "resolved"):
        moment: Instant | None = getattr(incident, name)
        fields[name] = write_instant(moment) if moment else None
    until = incident.acked_until
    return {**fields, "acked_until": until.isoformat() if until else None}


def _incident(fields: dict[str, Any]) -> Incident:
    # Any: JSON.
    until, resolved = fields["acked_until"], fields["resolved"]
    return Incident(
        **{
            **fields,
            "severity": Severity(fields["severity"]),
            "state": IncidentState(fields["state"]),
            "evidence": tuple(fields["evidence"]),
            "since": read_instant(fields["since"]),
            "opened": read_instant(fields["opened"]),
            "changed": read_instant(fields["changed"]),
            "resolved": read_instant(resolved) if resolved else None,
            "acked_until": datetime.fromisoformat(until) if until else None,
        }
    )
