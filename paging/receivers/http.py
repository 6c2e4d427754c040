"""HTTP for receivers and heartbeats: their own client, and what a status means, in one place.

The total deadline is enforced outside the client, the body is capped and never inflated,
redirects are not followed, TLS is verified, and proxies of the environment are not used.
"""

import asyncio
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from core.errors import CoalmineError
from core.text import safe_text
from paging.model import Answer, Delivery

BODY_CAP = 16 * 1024
SHOWN = 200

# First match wins; a status outside every range is refused.
STATUS_ANSWERS: tuple[tuple[range, Answer], ...] = (
    (range(200, 300), Answer.ACCEPTED),
    (range(408, 409), Answer.RETRY),
    (range(425, 426), Answer.RETRY),
    (range(429, 430), Answer.RETRY),
    (range(500, 600), Answer.RETRY),
)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A status and the first bytes of the body; trouble is "" when there was an answer."""

    status: int
    body: bytes
    retry_after_s: float | None
    trouble: str


def answer_of(status: int, accepted: range = range(200, 300)) -> Answer:
    """What `status` means; a success that is not in `accepted` proves nothing: try again."""
    for statuses, answer in STATUS_ANSWERS:
        if status in statuses:
            wrong = answer is Answer.ACCEPTED and status not in accepted
            return Answer.RETRY if wrong else answer
    return Answer.REFUSED


def delivery_of(reply: HttpAnswer, thread: str, accepted: range = range(200, 300)) -> Delivery:
    """A reply as a Delivery; the body is shown, control characters made visible."""
    if reply.trouble:
        return Delivery(Answer.RETRY, reply.trouble, None, thread)
    shown = safe_text(reply.body.decode("utf-8", "replace"), SHOWN)
    detail = f"{reply.status} {shown}".strip()
    return Delivery(answer_of(reply.status, accepted), detail, reply.retry_after_s, thread)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3: seconds or a date); None if absent."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        seconds = (aware - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def host_of(url: str) -> str:
    """Host and port of `url`, for `provider` and targets. Raises CoalmineError on a bad URL."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CoalmineError("a receiver's url must be http:// or https:// with a host")
    return parts.netloc.rpartition("@")[2]


def fingerprint_of(*parts: str) -> str:
    """Hash of address and secret; cannot be turned back."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class HttpClient:
    """One connection pool; made inside the loop that uses it."""

    def __init__(self) -> None:
        """Opens nothing until the first request."""
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            verify=True,
            timeout=None,  # noqa: S113  the total deadline below is stricter
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=4),
        )

    async def request(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        deadline_s: float,
        now: datetime,
    ) -> HttpAnswer:
        """One exchange within `deadline_s`; what the network does is in `trouble`."""
        sent = {"User-Agent": "coalmine", "Accept-Encoding": "identity", **headers}
        try:
            async with asyncio.timeout(deadline_s):
                async with self._client.stream(method, url, content=body, headers=sent) as reply:
                    start = await _read_start(reply)
                    wait_s = retry_after_s(reply.headers.get("retry-after"), now)
                    return HttpAnswer(reply.status_code, start, wait_s, "")
        except TimeoutError:
            return HttpAnswer(0, b"", None, f"no complete answer in {deadline_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            return HttpAnswer(0, b"", None, safe_text(f"{type(exc).__name__}: {exc}", SHOWN))

    async def close(self) -> None:
        """Close the pool."""
        await self._client.aclose()


async def _read_start(reply: httpx.Response) -> bytes:
    start = b""
    async for chunk in reply.aiter_raw():
        start += chunk
        if len(start) >= BODY_CAP:
            break
    return start[:BODY_CAP]
