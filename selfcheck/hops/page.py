"""What readers of a Prometheus text page share: one scrape, and what trouble looks like."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from core.clock import Clock, Instant, instant
from core.outbound.protocol import Outbound, Request, Response, Trouble
from core.reason import Reason
from core.text import safe_text
from selfcheck.hops.protocol import HopCounters, HopReader, Meter

_MAX_BODY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Scrape:
    """A parsed metrics text. Series that are not there are absent; `unread` names bad ones.

    up_s: seconds the process is up, None when it does not say.
    start_unix_s: Unix time of its start, where that is what it says.
    """

    meters: Mapping[Meter, float]
    up_s: float | None
    start_unix_s: float | None
    unread: tuple[str, ...]


class PageReader(HopReader):
    """Reads one page of one process."""

    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.REFUSED, Reason.TIMEOUT, Reason.STATUS, Reason.BACKEND_PROTOCOL}
    )

    def __init__(self, hop: str, url: str, outbound: Outbound, clock: Clock) -> None:
        """`hop` is the name that the counters carry."""
        self._hop, self._url = hop, url
        self._outbound, self._clock = outbound, clock

    @abstractmethod
    def parse(self, text: str) -> Scrape:
        """The meters of the page. Raises ValueError when it is no Prometheus text."""

    async def read(self, deadline_s: float) -> HopCounters:
        """One scrape. `reachable` False: REFUSED = nobody listens, TIMEOUT = accepted and silent.

        Any other reason without an answer is not proven to be the hop's doing.
        """
        at = instant(self._clock)
        answer = await self._outbound.fetch(
            Request(
                "GET",
                self._url,
                deadline_s,
                headers=(("accept", "text/plain;version=0.0.4"),),
                reuse=True,
                max_body_bytes=_MAX_BODY_BYTES,
            )
        )
        if isinstance(answer, Trouble):
            return self._unread(at, False, answer.reason, answer.detail)
        return self._counters(at, answer)

    def _counters(self, at: Instant, answer: Response) -> HopCounters:
        if answer.status != 200:
            return self._unread(at, True, Reason.STATUS, f"answered {answer.status}")
        try:
            scrape = self.parse(answer.body.decode())
        except ValueError as exc:
            detail = f"not a Prometheus text: {safe_text(str(exc), 200)}"
            return self._unread(at, True, Reason.BACKEND_PROTOCOL, detail)
        return HopCounters(
            hop=self._hop,
            at=at,
            reachable=True,
            reason=Reason.BACKEND_PROTOCOL if scrape.unread else Reason.OK,
            detail="; ".join(scrape.unread),
            started_s=_started_s(scrape, at),
            meters=scrape.meters,
            unread=scrape.unread,
        )

    def _unread(self, at: Instant, reachable: bool, reason: Reason, detail: str) -> HopCounters:
        what = f"metrics of {self._hop}: {safe_text(detail, 200)}"
        return HopCounters(self._hop, at, reachable, reason, detail, None, {}, (what,))


def _started_s(scrape: Scrape, at: Instant) -> float | None:
    if scrape.up_s is not None:
        return at.boot_s - scrape.up_s
    if scrape.start_unix_s is not None:
        return at.boot_s - (at.utc.timestamp() - scrape.start_unix_s)
    return None
