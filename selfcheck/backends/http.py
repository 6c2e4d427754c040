"""Bounded reads of a store's HTTP API: the one place where a status becomes a `Reason`.

Every read has a total deadline, a cap on its decoded size, a cap on its pages and strict parsing;
whatever goes wrong becomes a `ReadError`, and a read error can only ever yield `unknown`.
"""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlencode

from core.clock import Clock, Instant, instant
from core.errors import CoalmineError
from core.kinds import Parts
from core.outbound.protocol import Outbound, Request, Response, Tls, Trouble
from core.reason import Reason
from core.text import safe_text
from selfcheck.access import AccessOptions
from selfcheck.skew import SkewWatch, http_date

# Empty objects cost a hundred times their bytes; an honest answer of that size, a list for each
# sample, holds 335,000.
_CONTAINERS = 400_000
BODY_CAP = 8 << 20
PAGE_CAP = 100
RETRY_AFTER_CAP_S = 600.0

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None
# A key with several values is given as a tuple.
Query = Mapping[str, str | tuple[str, ...]]
_HEADERS: Mapping[str, str] = {"Accept": "application/json", "Cache-Control": "no-cache"}
_NONE: Mapping[str, str] = {}


class ReadError(Exception):
    """Why a read is not complete; becomes `Reading.broken`."""

    def __init__(self, reason: Reason, detail: str, retry_after_s: float | None = None) -> None:
        """`retry_after_s` is what the store asked for, None when it did not."""
        self.reason, self.detail, self.retry_after_s = reason, detail, retry_after_s
        super().__init__(detail)


# Absent = READBACK: whatever else a store answers, the canary was not looked for.
_REASONS: Mapping[int, Reason] = {
    HTTPStatus.UNAUTHORIZED: Reason.AUTH,
    HTTPStatus.FORBIDDEN: Reason.AUTH,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: Reason.AUTH,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.THROTTLED,
    529: Reason.THROTTLED,
}


@dataclass(slots=True)
class ReadSession:
    """One reading in progress: requests share a deadline, a page count and a byte count."""

    client: "StoreClient"
    asked: Instant
    ends_s: float
    pages: int = 0
    body_bytes: int = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the reading began."""
        return self.client.clock.monotonic() - self.asked.boot_s

    async def get(self, path: str, query: Query, also: frozenset[int] = frozenset()) -> Json:
        """The parsed answer of one page, of status 200 or one in `also`. Raises ReadError."""
        return parse_json((await self.ask("GET", path, query, also=also)).body)

    async def ask(
        self,
        method: str,
        path: str,
        query: Query = _NONE,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] = _NONE,
        also: frozenset[int] = frozenset(),
    ) -> Response:
        """One page as it came, of status 200 or one in `also`. Raises ReadError.

        For what is no GET of JSON: a query in a body, lines or text as an answer. headers: in
        place of or beside those of every read; an empty value leaves one out.
        """
        if self.pages >= PAGE_CAP:
            raise ReadError(Reason.READBACK, f"more than {PAGE_CAP} pages")
        left_s = self.ends_s - self.client.clock.monotonic()
        if left_s <= 0:
            raise ReadError(Reason.TIMEOUT, "no time left for a further page")
        self.pages += 1
        response = await self.client.fetch(
            path, query, left_s, method=method, body=body, headers=headers
        )
        self.body_bytes += len(response.body)
        if self.body_bytes > BODY_CAP:
            raise ReadError(Reason.BACKEND_PROTOCOL, f"more than {BODY_CAP} bytes in all pages")
        if response.status != HTTPStatus.OK and response.status not in also:
            raise self.client.refusal(response)
        return response


def told_nothing(_response: Response) -> Reason | None:
    """Most stores refuse in the words of HTTP alone."""
    return None


@dataclass(frozen=True, slots=True)
class StoreClient:
    """Requests against one store's API with its credentials.

    told: what a refusal says beyond its status, None when its status says all.
    skew: how far the clock of whoever answers is from ours.
    """

    outbound: Outbound
    clock: Clock
    url: str
    access: AccessOptions
    tls: Tls
    told: Callable[[Response], Reason | None]
    skew: SkewWatch

    @classmethod
    def of(
        cls,
        url: str,
        access: AccessOptions,
        parts: Parts,
        told: Callable[[Response], Reason | None] = told_nothing,
    ) -> "StoreClient":
        """A client for the store at `url`."""
        tls = access.tls_parameters(parts.base_dir)
        return cls(parts.outbound, parts.clock, url.rstrip("/"), access, tls, told,
                   SkewWatch(parts.clock))  # fmt: skip

    def session(self, deadline_s: float) -> ReadSession:
        """A reading that begins now and must end within `deadline_s`."""
        asked = instant(self.clock)
        return ReadSession(self, asked, asked.boot_s + deadline_s)

    async def fetch(
        self,
        path: str,
        query: Query,
        deadline_s: float,
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: Mapping[str, str] = _NONE,
    ) -> Response:
        """The complete answer, whatever its status. Raises ReadError when there is none."""
        try:
            access = self.access.request_headers()
        except CoalmineError as exc:
            raise ReadError(Reason.AUTH, str(exc)) from exc
        fixed = {**_HEADERS, **headers}
        request = Request(
            method,
            f"{self.url}{path}?{urlencode(query, doseq=True)}" if query else f"{self.url}{path}",
            deadline_s,
            headers=(*((name, value) for name, value in fixed.items() if value), *access),
            body=body,
            reuse=True,
            max_body_bytes=BODY_CAP,
            tls=self.tls,
        )
        asked = instant(self.clock)
        answer = await self.outbound.fetch(request)
        if isinstance(answer, Trouble):
            raise ReadError(_trouble_reason(answer), safe_text(answer.detail, 200))
        self.skew.heard(answer, asked)
        return answer

    def refusal(self, response: Response) -> ReadError:
        """What a status other than 200 says of the read."""
        reason = self.told(response) or _REASONS.get(response.status, Reason.READBACK)
        text = safe_text(self.access.redacted(response.body[:4096].decode(errors="replace")), 160)
        wait = retry_after_s(response.header("retry-after"), self.clock.utc())
        return ReadError(reason, f"HTTP {response.status} {text}".rstrip(), wait)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header, given in seconds or as a date (RFC 9110, 10.2.3).

    None when it is absent or cannot be read; at most 10 min, at least 0.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_CAP_S)
    moment = http_date(text)
    if moment is None:
        return None
    return min(max((moment - now).total_seconds(), 0.0), RETRY_AFTER_CAP_S)


def backoff_s(tries: int, rng: random.Random, base_s: float = 0.5, cap_s: float = 5.0) -> float:
    """Seconds before the next try after `tries` failures: doubling, full jitter."""
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** (tries - 1)))


def parse_json(body: bytes) -> Json:
    """Strictly parsed JSON: no duplicate keys, no NaN or infinity.

    Depth is bounded by the interpreter's own limit. Raises ReadError(backend_protocol).
    """
    if body.count(b"{") + body.count(b"[") > _CONTAINERS:
        raise ReadError(Reason.BACKEND_PROTOCOL, f"more than {_CONTAINERS} objects and lists")
    try:
        parsed: Json = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as exc:
        raise ReadError(Reason.BACKEND_PROTOCOL, f"not usable JSON: {exc}"[:200]) from exc
    return parsed


def parse_lines(body: bytes) -> list[Json]:
    """One strictly parsed value a line; no bytes are no lines. Raises ReadError.

    A last line without its end is a stream that was cut, whatever its status was.
    """
    if body and not body.endswith(b"\n"):
        raise ReadError(Reason.BACKEND_PROTOCOL, "the last line is cut")
    return [parse_json(line) for line in body.splitlines()]


def member(value: Json, *path: str) -> Json:
    """The value under nested keys. Raises ReadError(backend_protocol) when one is missing."""
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            raise ReadError(Reason.BACKEND_PROTOCOL, f"answer without {'.'.join(path)}")
        value = value[key]
    return value


def items(value: Json) -> Sequence[Json]:
    """`value` as a list. Raises ReadError(backend_protocol)."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ReadError(Reason.BACKEND_PROTOCOL, "answer has no list where one belongs")
    return value


def text(value: Json) -> str:
    """`value` as text. Raises ReadError(backend_protocol)."""
    if not isinstance(value, str):
        raise ReadError(Reason.BACKEND_PROTOCOL, "answer has no text where some belongs")
    return value


def number(value: Json) -> float:
    """`value` as a finite number; numbers in quotes are read. Raises ReadError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ReadError(Reason.BACKEND_PROTOCOL, "answer has no number where one belongs")
    try:
        parsed = float(value)
    except (ValueError, OverflowError) as exc:
        raise ReadError(Reason.BACKEND_PROTOCOL, "a number that cannot be read") from exc
    if not math.isfinite(parsed):
        raise ReadError(Reason.BACKEND_PROTOCOL, "a number that is not finite")
    return parsed


def integer(value: Json) -> int:
    """`value` as a whole number, exact; also in quotes. Raises ReadError."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ReadError(Reason.BACKEND_PROTOCOL, "answer has no whole number where one belongs")
    try:
        return int(value)
    except ValueError as exc:
        raise ReadError(Reason.BACKEND_PROTOCOL, "a whole number that cannot be read") from exc


def strings(value: Json) -> dict[str, str]:
    """`value` as a map from text to text. Raises ReadError(backend_protocol)."""
    if not isinstance(value, Mapping):
        raise ReadError(Reason.BACKEND_PROTOCOL, "answer has no object where one belongs")
    return {key: text(item) for key, item in value.items()}


def _trouble_reason(trouble: Trouble) -> Reason:
    # Reasons that already say "we could not check" are kept; all else is the read side's.
    kept = {Reason.TIMEOUT, Reason.EGRESS, Reason.DESCRIPTORS, Reason.RESOLVER, Reason.INTERNAL}
    if trouble.reason is Reason.BODY_TOO_LARGE:
        return Reason.BACKEND_PROTOCOL
    return trouble.reason if trouble.reason in kept else Reason.READBACK


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError(f"number out of range: {literal[:20]}")
    return value


def _refuse_constant(literal: str) -> float:
    raise ValueError(f"{literal} is no JSON")
