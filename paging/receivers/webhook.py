"""webhook: JSON by POST, signed as Standard Webhooks 1.0.

`webhook-id` is stable over retries, so the receiver can tell a repeat; the signature is over the
exact bytes sent. Specification: standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Annotated, ClassVar, Self

from pydantic import Field

from core.errors import CoalmineError
from core.options import Options, SecretField
from paging.model import Delivery, Page, PageAction
from paging.receivers.body import page_fields
from paging.receivers.http import HttpClient, delivery_of, fingerprint_of, host_of
from paging.receivers.protocol import Receiver, ReceiverParts

BODY_LIMIT = 20_000
_MEMBERS = (50, 8, 0)
_TYPES = {
    PageAction.TRIGGER: "triggered",
    PageAction.UPDATE: "updated",
    PageAction.ACK: "acknowledged",
    PageAction.RESOLVE: "resolved",
}


class WebhookOptions(Options):
    """What may be written under `kind: webhook`."""

    url: Annotated[SecretField, Field(description="Where to POST; `url_file` keeps it secret.")]
    secret: Annotated[
        SecretField | None, Field(description="`whsec_` and base64 of 24 to 64 bytes.")
    ] = None


def signing_key(secret: str) -> bytes:
    """Key bytes of a `whsec_` secret. Raises CoalmineError when it is not one."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as exc:
        raise CoalmineError("webhook secret: expected whsec_ and base64") from exc
    if not 24 <= len(key) <= 64:
        raise CoalmineError("webhook secret: expected 24 to 64 bytes")
    return key


def signature(key: bytes, page_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`."""
    signed = f"{page_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class WebhookReceiver(Receiver):
    """One endpoint, one target. Other 4xx and any 3xx are refused for good; 410 too."""

    options_model: ClassVar[type[Options]] = WebhookOptions

    def __init__(self, options: WebhookOptions, parts: ReceiverParts) -> None:
        """Raises CoalmineError when URL or secret are unusable."""
        self._options, self._parts = options, parts
        host = host_of(options.url.reveal())
        if options.secret is not None:
            signing_key(options.secret.reveal())
        self.targets = (host,)
        self.provider = f"webhook:{host}"
        self._http = HttpClient()

    @classmethod
    def build(cls, options: Options, parts: ReceiverParts) -> Self:
        """A receiver for `WebhookOptions`."""
        assert isinstance(options, WebhookOptions)
        return cls(options, parts)

    async def deliver(self, page: Page, target: str, thread: str, deadline_s: float) -> Delivery:
        """POST the page; 2xx is accepted. `target` is the only one there is."""
        body = _body(page)
        now = self._parts.clock.utc()
        timestamp = int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": page.page_id,
            "webhook-timestamp": str(timestamp),
        }
        if self._options.secret is not None:
            key = signing_key(self._options.secret.reveal())
            headers["webhook-signature"] = signature(key, page.page_id, timestamp, body)
        url = self._options.url.reveal()
        reply = await self._http.request("POST", url, body, headers, deadline_s, now)
        return delivery_of(reply, thread or target)

    def fingerprint(self) -> str:
        """Hash of URL and secret."""
        secret = self._options.secret
        return fingerprint_of(
            "webhook", self._options.url.reveal(), "" if secret is None else secret.reveal()
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def _body(page: Page) -> bytes:
    """JSON under 20 kB: members are shortened first, they are always counted."""
    body = b""
    for members in _MEMBERS:
        fields = {
            "type": f"incident.{_TYPES[page.action]}",
            "timestamp": page.at.utc.isoformat(),
            "data": page_fields(page, members),
        }
        body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        if len(body) <= BODY_LIMIT:
            break
    return body
