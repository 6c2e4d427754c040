"""pagerduty: Events API v2. One alert per dedup_key, whatever is repeated.

Limits and answers: PagerDuty developer docs, "Events API v2 Overview" and "Send an Alert Event".
"""

import json
from typing import Annotated, ClassVar, Self

from pydantic import Field

from core.errors import CoalmineError
from core.options import Options, SecretField
from core.text import safe_text
from paging.model import Answer, Delivery, Page, PageAction
from paging.receivers.body import page_fields
from paging.receivers.http import HttpClient, delivery_of, fingerprint_of, host_of
from paging.receivers.protocol import Receiver, ReceiverParts

EVENTS_URL = "https://events.pagerduty.com/v2/enqueue"
SUMMARY_LIMIT = 1024
BODY_LIMIT = 512_000
_ACCEPTED = range(202, 203)
_EVENT_ACTIONS = {
    PageAction.TRIGGER: "trigger",
    PageAction.UPDATE: "trigger",
    PageAction.ACK: "acknowledge",
    PageAction.RESOLVE: "resolve",
}
DROPPED = {"note": "details dropped: the event was over 512 kB"}


class PagerDutyOptions(Options):
    """What may be written under `kind: pagerduty`."""

    routing_key: Annotated[SecretField, Field(description="Integration key, 32 characters.")]
    url: Annotated[str, Field(description="Events endpoint; the EU one differs.")] = EVENTS_URL


class PagerDutyReceiver(Receiver):
    """One integration key, one target."""

    options_model: ClassVar[type[Options]] = PagerDutyOptions
    rate_per_minute: ClassVar[float | None] = 100.0

    def __init__(self, options: PagerDutyOptions, parts: ReceiverParts) -> None:
        """Raises CoalmineError when the routing key cannot be one."""
        self._options, self._parts = options, parts
        if len(options.routing_key.reveal()) != 32:
            raise CoalmineError("pagerduty: routing_key must have 32 characters")
        host = host_of(options.url)
        self.targets = (host,)
        self.provider = f"pagerduty:{host}"
        self._http = HttpClient()

    @classmethod
    def build(cls, options: Options, parts: ReceiverParts) -> Self:
        """A receiver for `PagerDutyOptions`."""
        assert isinstance(options, PagerDutyOptions)
        return cls(options, parts)

    async def deliver(self, page: Page, target: str, thread: str, deadline_s: float) -> Delivery:
        """Enqueue the event; only 202 is accepted. Too large: details dropped, sent once more."""
        event = _event(page, self._options.routing_key.reveal())
        body = _encode(event)
        if len(body) > BODY_LIMIT:
            body = _encode(_without_details(event))
        delivery = await self._post(body, target, thread, deadline_s)
        if delivery.answer is Answer.REFUSED and delivery.detail.startswith("413"):
            body = _encode(_without_details(event))
            delivery = await self._post(body, target, thread, deadline_s)
        return delivery

    async def _post(self, body: bytes, target: str, thread: str, deadline_s: float) -> Delivery:
        reply = await self._http.request(
            "POST",
            self._options.url,
            body,
            {"Content-Type": "application/json"},
            deadline_s,
            self._parts.clock.utc(),
        )
        return delivery_of(reply, thread or target, _ACCEPTED)

    def fingerprint(self) -> str:
        """Hash of endpoint and integration key."""
        return fingerprint_of("pagerduty", self._options.url, self._options.routing_key.reveal())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def _event(page: Page, routing_key: str) -> dict[str, object]:
    event: dict[str, object] = {
        "routing_key": routing_key,
        "event_action": _EVENT_ACTIONS[page.action],
        "dedup_key": page.dedup_key[:255],
    }
    if event["event_action"] != "trigger":
        return event
    incident = page.incident
    event["client"] = f"coalmine {page.namespace}"
    event["links"] = [{"href": href, "text": text} for text, href in page.links]
    event["payload"] = {
        "summary": safe_text(f"{incident.title}: {incident.summary}", SUMMARY_LIMIT),
        "source": incident.subject,
        "severity": incident.severity.value,
        "timestamp": incident.since.utc.isoformat(),
        "component": incident.hop,
        "group": page.namespace,
        "class": incident.rule,
        "custom_details": page_fields(page, 500),
    }
    return event


def _without_details(event: dict[str, object]) -> dict[str, object]:
    payload = event.get("payload")
    if not isinstance(payload, dict):
        return event
    return {**event, "payload": {**payload, "custom_details": DROPPED}}


def _encode(event: dict[str, object]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
