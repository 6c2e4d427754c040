"""A Standard Webhooks 1.0 receiver on loopback: verifies signatures, keeps ids, counts incidents.

Follows standard-webhooks/standard-webhooks, spec/standard-webhooks.md (2026-11). It does what the
specification asks of receivers: a repeated `webhook-id` is taken and counted once.
"""

import base64
import hashlib
import hmac
import json
from collections import deque
from dataclasses import dataclass, field

from tests.fakes.loopback import Loopback, Reply, Seen

SECRET_BYTES = b"k" * 32
SECRET = "whsec_" + base64.b64encode(SECRET_BYTES).decode()


@dataclass
class FakeWebhook:
    """`script` answers first, one reply a request, then 204 to what is signed rightly."""

    script: deque = field(default_factory=deque)
    pages: dict = field(default_factory=dict)
    repeats: int = 0
    forged: int = 0

    def server(self) -> Loopback:
        return Loopback(self._answer)

    def actions(self) -> list:
        return [page["data"]["action"] for page in self.pages.values()]

    def _answer(self, seen: Seen) -> Reply:
        if not _signed(seen):
            self.forged += 1
            return Reply(401, b"bad signature")
        scripted = self.script.popleft() if self.script else None
        if scripted is not None:
            if scripted.cut or scripted.hang:
                self._take(seen)
            return scripted
        self._take(seen)
        return Reply(204, b"")

    def _take(self, seen: Seen) -> None:
        page_id = seen.headers["webhook-id"]
        self.repeats += page_id in self.pages
        self.pages[page_id] = json.loads(seen.body)


def _signed(seen: Seen) -> bool:
    head = f"{seen.headers['webhook-id']}.{seen.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(SECRET_BYTES, head + seen.body, hashlib.sha256).digest()
    wanted = "v1," + base64.b64encode(digest).decode()
    return hmac.compare_digest(wanted, seen.headers.get("webhook-signature", ""))
