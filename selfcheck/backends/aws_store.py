"""What stores behind an AWS-style API have in common: signed requests, JSON calls, error words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from core.errors import CoalmineError
from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.aws import AwsAccess, Outgoing, error_code, refusal_reason
from selfcheck.backends.http import Json, ReadError, ReadSession, parse_json
from selfcheck.backends.http_store import HttpStore, HttpStoreOptions

_NONE: Mapping[str, str] = {}
_REFUSED_WITH_WORDS = frozenset({400})


class AwsStoreOptions(AwsAccess, HttpStoreOptions):
    """What may be written under a backend with an AWS-style API."""


@dataclass(frozen=True, slots=True)
class AwsStore(HttpStore):
    """Asks with a signature over the very bytes that leave. service: the name that is signed."""

    options_model: ClassVar[type[Options]] = AwsStoreOptions
    service: ClassVar[str]

    options: AwsStoreOptions

    @staticmethod
    def told(response: Response) -> Reason | None:
        """Throttling and refused keys come as a 400 with a name."""
        return refusal_reason(response)

    async def call(
        self,
        session: ReadSession,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] = _NONE,
        also: frozenset[int] = frozenset(),
    ) -> Response:
        """One answer of status 200, or one in `also`. `path` has its query. Raises ReadError."""
        outgoing = Outgoing(method, session.client.url + path, body, tuple(headers.items()))
        try:
            proof = self.options.signed(self.service, outgoing, self.clock.utc())
        except CoalmineError as exc:
            raise ReadError(Reason.AUTH, str(exc)) from exc
        sent = {**headers, **proof}
        return await session.ask(method, path, body=body, headers=sent, also=also)

    async def document(
        self,
        session: ReadSession,
        path: str,
        asked: Mapping[str, Json],
        headers: Mapping[str, str],
        absent: str = "",
    ) -> Json:
        """The answer to one JSON call; None for a refusal named `absent`. Raises ReadError."""
        body = json.dumps(asked).encode()
        response = await self.call(
            session, "POST", path, body=body, headers=headers, also=_REFUSED_WITH_WORDS
        )
        if response.status in _REFUSED_WITH_WORDS:
            if absent and error_code(response) == absent:
                return None
            raise session.client.refusal(response)
        return parse_json(response.body)
