"""scrape: a page of ours that shows the newest sample of a route to whoever scrapes it.

The sample carries its own stamp, which a scraper keeps unless it is told `honor_timestamps: false`:
such a scraper's samples are not found again, so that its routes send by `pushgateway` instead.
Accepted means: the page was fetched after the sample was put on it.
"""

import asyncio
import importlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Self, cast

from pydantic import AfterValidator, Field

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import FactSpec, Parts
from core.options import Duration, Options
from core.reason import Reason
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Receipt, Sent, Signal
from selfcheck.injectors.protocol import Injector

if TYPE_CHECKING:
    from selfcheck.injectors.scrape.listener import Fate, Listener

_LISTENER = "selfcheck.injectors.scrape.listener"
# A page that is closed, by a reload say, is our own doing and no refusal of the scraper's.
_FATES: Mapping[str, tuple[Sent, Reason]] = {
    "FETCHED": (Sent.ACCEPTED, Reason.OK),
    "REPLACED": (Sent.REJECTED, Reason.INJECT),
    "CLOSED": (Sent.MAYBE, Reason.HARNESS),
}
_LISTEN = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:\[\]]+)):(?P<port>\d{1,5})")


def address_of(written: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9471` or `[::1]:9471`. Raises ValueError."""
    match = _LISTEN.fullmatch(written)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("expected an address and a port, such as 127.0.0.1:9471 or [::1]:9471")
    return str(ipaddress.ip_address(match["six"] or match["four"])), int(match["port"])


def _listen(written: str) -> str:
    address_of(written)
    return written


class ScrapeOptions(Options):
    """What may be written under `inject: {kind: scrape}`."""

    listen: Annotated[
        str,
        AfterValidator(_listen),
        Field(description="Address and port of the page; routes may share one. 0: a free port."),
    ]
    path: Annotated[
        str, Field(pattern=r"^/[!-~]*$", description="Of the page; routes may share one.")
    ] = "/metrics"
    scrape_every: Annotated[
        Duration, Field(description="The scraper's interval: an injection deadline is longer.")
    ] = 5.0


# By identity: listeners know their users weakly, and two routes may have equal options.
@dataclass(frozen=True, slots=True, eq=False)
class ScrapeInjector(Injector):
    """Shows canaries on a page; the server behind it is shared by all routes of one address."""

    options_model: ClassVar[type[Options]] = ScrapeOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.OK, Reason.INJECT, Reason.MAYBE_SENT, Reason.HARNESS, Reason.LAUNCH}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "the page was fetched after the sample was put on it",
        Sent.REJECTED: "nobody fetched the page before the next sample took this one's place",
        Sent.MAYBE: "nobody fetched the page by the deadline, and it still shows the sample; or we"
        " could not listen, or had to close",
    }
    source: ClassVar[str] = "prometheus.io/docs exposition formats, 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("Prometheus 3.14", "Prometheus 2.42")

    options: ScrapeOptions
    clock: Clock
    listener: "Listener"

    @classmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> Self:
        """An injector; its address is listened on from the first canary. Raises CoalmineError."""
        chosen = cast("ScrapeOptions", options)
        if rule is not None:
            raise CoalmineError("inject: kind scrape is fetched by a scraper: it has no to")
        listener = importlib.import_module(_LISTENER).shared(*address_of(chosen.listen))
        built = cls(chosen, parts.clock, listener)
        listener.users.add(built)
        return built

    @classmethod
    def least_deadline_s(cls, options: Options) -> float:
        """Seconds that sending takes by design: a scrape may be that far away."""
        return cast("ScrapeOptions", options).scrape_every

    @property
    def url(self) -> str:
        """Of the page; with port 0 valid once a canary was sent."""
        return f"{self.listener.url}{self.options.path}"

    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        """Put the sample on the page and wait until that is fetched."""
        started_s = self.clock.monotonic()
        try:
            shown = self.listener.show(self, self.options.path, canary)
        except OSError as exc:
            # Our own configuration, not the scraper's doing.
            said = f"cannot listen on {self.options.listen}: {exc.strerror}"
            return self._receipt(Sent.MAYBE, Reason.LAUNCH, said, started_s, 0)
        await asyncio.wait({shown.fate}, timeout=max(0.0, deadline_s))
        fate = shown.fate.result() if shown.fate.done() else None
        sent, reason, detail = self._known(fate, deadline_s)
        return self._receipt(sent, reason, detail, started_s, shown.body_bytes)

    def _known(self, fate: "Fate | None", deadline_s: float) -> tuple[Sent, Reason, str]:
        if fate is not None:
            sent, reason = _FATES[fate.name]
            return sent, reason, "" if sent is Sent.ACCEPTED else fate.value
        every_s = self.options.scrape_every
        if deadline_s < every_s:
            said = f"the deadline of {deadline_s:g} s is shorter than scrape_every, {every_s:g} s"
            return Sent.MAYBE, Reason.HARNESS, said
        return Sent.MAYBE, Reason.MAYBE_SENT, f"nobody scraped the page in {deadline_s:g} s"

    def _receipt(
        self, sent: Sent, reason: Reason, detail: str, started_s: float, size: int
    ) -> Receipt:
        elapsed_s = self.clock.monotonic() - started_s
        silent = reason is Reason.MAYBE_SENT
        return Receipt(sent, reason, detail, 1, sent, elapsed_s, size, silent)

    async def close(self) -> None:
        """Take the route's samples off the page; the last user closes the port."""
        await self.listener.leave(self)
