"""Outbound heartbeats: someone outside notices when we stop.

A ping is sent only after one full proof of work; a loop that merely turns is no proof.
Protocol: Healthchecks pinging API (`<url>`, `<url>/fail`, `<url>/log`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from core.clock import Clock
from core.errors import CoalmineError
from paging.config import HeartbeatTarget
from paging.model import Answer
from paging.receivers.http import HttpClient, answer_of

log = logging.getLogger(__name__)

PING_S = 10.0
PROOF_S = 10.0
RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Proof:
    """What one full round of work has shown; `missing` names what it has not, () = whole."""

    missing: tuple[str, ...]


@dataclass(slots=True)
class Beat:
    """State of one endpoint; `ok_s` is the boot time of its last accepted ping."""

    next_s: float
    ok_s: float | None = None
    failures: int = 0
    detail: str = "not pinged yet"


def ping_url(base: str, suffix: str) -> str:
    """`base` with `/suffix` after its path, its query kept."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/") + (f"/{suffix}" if suffix else "")
    return urlunsplit(parts._replace(path=path))


class Heartbeats:
    """Pings every endpoint on its own period, in tasks of its own."""

    def __init__(
        self,
        targets: tuple[HeartbeatTarget, ...],
        proof: Callable[[], Awaitable[Proof]],
        client: HttpClient,
        clock: Clock,
    ) -> None:
        """`proof` is asked before each round and given 10 s."""
        self._proof, self._client, self._clock = proof, client, clock
        self._targets = {target.name: target for target in targets}
        self.beats = {name: Beat(clock.monotonic()) for name in self._targets}
        self._round: asyncio.Task[None] | None = None

    def due(self) -> None:
        """Start a round for the endpoints that are due, unless one is still running."""
        now_s = self._clock.monotonic()
        names = [name for name, beat in self.beats.items() if beat.next_s <= now_s]
        if names and (self._round is None or self._round.done()):
            self._round = asyncio.create_task(self.beat(names))

    async def beat(self, names: list[str]) -> None:
        """Prove, then ping: success when the proof is whole, else `/fail` and what is missing."""
        missing = await self._missing()
        suffix = "fail" if missing else ""
        body = "; ".join(missing)
        await asyncio.gather(*(self._ping(name, suffix, body) for name in names))

    async def stopping(self, text: str) -> None:
        """Tell every endpoint of a planned stop (`/log`): it does not count as a ping."""
        await self._cancel()
        await asyncio.gather(*(self._ping(name, "log", text) for name in self._targets))

    async def close(self) -> None:
        """Stop pinging."""
        await self._cancel()

    async def _cancel(self) -> None:
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
            self._round = None

    async def _missing(self) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(PROOF_S):
                return (await self._proof()).missing
        except TimeoutError:
            return (f"no proof of work within {PROOF_S:g} s",)
        except (CoalmineError, OSError) as exc:
            return (f"no proof of work: {exc}",)

    async def _ping(self, name: str, suffix: str, body: str) -> None:
        target, beat = self._targets[name], self.beats[name]
        beat.next_s = self._clock.monotonic() + target.every_s
        try:
            url = ping_url(target.url.reveal(), suffix)
        except CoalmineError as exc:
            beat.failures, beat.detail = beat.failures + 1, str(exc)
            return
        reply = await self._client.request(
            "POST", url, body.encode(), {}, PING_S, self._clock.utc()
        )
        if not reply.trouble and answer_of(reply.status) is Answer.ACCEPTED:
            beat.failures, beat.detail = 0, suffix or "ok"
            beat.ok_s = self._clock.monotonic()
            return
        beat.failures += 1
        beat.detail = reply.trouble or f"status {reply.status}"
        beat.next_s = self._clock.monotonic() + min(target.every_s, RETRY_S * beat.failures)
        log.warning("heartbeat_not_taken endpoint=%s detail=%s", name, beat.detail)
