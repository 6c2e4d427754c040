"""alertmanager: API v2, every peer a target of its own, no load balancer between.

Identity there is the label set, so labels hold only what never changes in an episode. Alerts
are told again every 60 s with `endsAt` four repeats ahead, and resolved ones for 15 min.
Rule: Prometheus `rules/alerting.go`; Alertmanager `docs/high_availability.md`.
"""

import json
from datetime import timedelta
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field

from core.errors import CoalmineError
from core.options import Options
from paging.model import Answer, Delivery, Page, PageAction
from paging.receivers.http import HttpClient, delivery_of, fingerprint_of, host_of
from paging.receivers.protocol import Receiver, ReceiverParts

REPUBLISH_S = 60.0
_ACCEPTED = range(200, 201)


class AlertmanagerOptions(Options):
    """What may be written under `kind: alertmanager`."""

    urls: Annotated[tuple[str, ...], Field(min_length=1, description="Base address of every peer.")]


class AlertmanagerReceiver(Receiver):
    """Tells every peer; they agree among themselves who notifies."""

    options_model: ClassVar[type[Options]] = AlertmanagerOptions
    republish_every_s: ClassVar[float | None] = REPUBLISH_S

    def __init__(self, options: AlertmanagerOptions, parts: ReceiverParts) -> None:
        """Raises CoalmineError when an address is unusable or given twice."""
        self._parts = parts
        hosts = [host_of(url) for url in options.urls]
        self._urls = dict(zip(hosts, options.urls, strict=True))
        if len(self._urls) != len(hosts):
            raise CoalmineError("alertmanager: a peer is given twice")
        self.targets = tuple(hosts)
        self.provider = f"alertmanager:{hosts[0]}"
        self._http = HttpClient()

    @classmethod
    def build(cls, options: Options, parts: ReceiverParts) -> Self:
        """A receiver for `AlertmanagerOptions`."""
        assert isinstance(options, AlertmanagerOptions)
        return cls(options, parts)

    async def deliver(self, page: Page, target: str, thread: str, deadline_s: float) -> Delivery:
        """POST the alert to the peer `target`; only 200 is accepted."""
        if page.action is PageAction.ACK:
            return Delivery(Answer.ACCEPTED, "Alertmanager has no acknowledgement", None, thread)
        now = self._parts.clock.utc()
        url = self._urls[target].rstrip("/") + "/api/v2/alerts"
        body = json.dumps([self._alert(page)], ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        reply = await self._http.request("POST", url, body, headers, deadline_s, now)
        return delivery_of(reply, thread or target, _ACCEPTED)

    def _alert(self, page: Page) -> dict[str, object]:
        incident = page.incident
        ends = self._parts.clock.utc() + timedelta(seconds=4 * REPUBLISH_S)
        if page.action is PageAction.RESOLVE:
            # A repeat must not move the end: the moment of recovery is in the page.
            ends = page.at.utc
        alert: dict[str, object] = {
            "labels": {
                "alertname": f"Coalmine{incident.rule.capitalize()}",
                "subject": incident.subject,
                "namespace": page.namespace,
                "severity": incident.severity.value,
                "episode": str(incident.episode),
            },
            "annotations": {
                "title": incident.title,
                "summary": incident.summary,
                "hop": incident.hop,
                "dedup_key": page.dedup_key,
            },
            "startsAt": incident.opened.utc.isoformat(),
            "endsAt": ends.isoformat(),
        }
        href = next((href for _, href in page.links), "")
        return {**alert, "generatorURL": href} if urlsplit(href).hostname else alert

    def fingerprint(self) -> str:
        """Hash of the peers' addresses."""
        return fingerprint_of("alertmanager", *sorted(self._urls.values()))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
