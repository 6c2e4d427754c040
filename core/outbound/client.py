"""The HTTP client of one event loop, over libcurl. Rule: docs/design.md, "Security"."""

import asyncio
from dataclasses import dataclass, field

import pycurl

from core.clock import Clock
from core.egress import Address, Egress
from core.outbound.classify import Fault, descriptors_exhausted
from core.outbound.multi import Multi
from core.outbound.protocol import Hop, Outbound, Phase, Request, Response, Trouble
from core.outbound.redirects import next_request, origin_of
from core.outbound.transfer import Transfer
from core.reason import Reason
from core.resolve import Resolver, Unresolved


@dataclass(slots=True)
class _Exchange:
    """What is known so far of one call of `fetch`, so that a time-out can tell it."""

    started: float
    hops: list[Hop] = field(default_factory=list)
    resolve_started: float = 0.0
    resolve_s: float = 0.0
    transfer: Transfer | None = None


class CurlOutbound(Outbound):
    """Resolve, judge, connect to what was judged, measure, bound; one hop at a time."""

    def __init__(self, clock: Clock, resolver: Resolver, egress: Egress) -> None:
        """Belongs to the event loop of its first `fetch`. Closes `resolver` with itself."""
        self.requests_sent = 0
        self._clock, self._resolver, self._egress = clock, resolver, egress
        self._multi: Multi | None = None

    async def fetch(self, request: Request) -> Response | Trouble:
        """Answer or trouble within `request.deadline_s`, which covers all hops."""
        exchange = _Exchange(self._clock.monotonic())
        deadline = asyncio.timeout(request.deadline_s)
        try:
            async with deadline:
                outcome = await self._follow(request, exchange)
        except TimeoutError:
            if not deadline.expired():
                raise
            outcome = self._timed_out(request, exchange)
        finally:
            if exchange.transfer is not None:
                exchange.transfer.close()
        if isinstance(outcome, Response):
            return outcome
        return self._trouble(outcome, exchange)

    async def close(self) -> None:
        """Abort what is in flight."""
        if self._multi is not None:
            self._multi.close()
            self._multi = None
        await self._resolver.close()

    async def _follow(self, request: Request, exchange: _Exchange) -> Response | Fault:
        while True:
            answer = await self._one_hop(request, exchange)
            if isinstance(answer, Fault):
                return answer
            following = next_request(request, answer.status, answer.header("location"))
            if following is None:
                return answer
            if isinstance(following, Fault):
                return following
            if len(exchange.hops) > request.max_redirects:
                detail = f"more than {request.max_redirects} redirects"
                return Fault(Reason.REDIRECTS, detail, ours=False, connected=True)
            request = following

    async def _one_hop(self, request: Request, exchange: _Exchange) -> Response | Fault:
        try:
            _, host, port = origin_of(request.url)
        except ValueError as exc:
            return Fault(Reason.INTERNAL, f"URL: {exc}", ours=True)
        exchange.resolve_started = self._clock.monotonic()
        address = await self._judged_address(request, host, port)
        exchange.resolve_s = self._clock.monotonic() - exchange.resolve_started
        if isinstance(address, Fault):
            return address
        try:
            transfer = Transfer(request, request.url, host, address)
        except (pycurl.error, UnicodeError) as exc:
            return Fault(Reason.INTERNAL, f"request refused by the client: {exc}", ours=True)
        exchange.transfer = transfer
        if self._multi is None:
            self._multi = Multi(asyncio.get_running_loop())
        code, words = await self._multi.perform(transfer.handle)
        exchange.transfer = None
        try:
            return self._hop_ended(transfer, code, words, exchange)
        finally:
            transfer.close()

    def _hop_ended(
        self, transfer: Transfer, code: int, words: str, exchange: _Exchange
    ) -> Response | Fault:
        self.requests_sent += min(1, transfer.requests)
        complete = code == 0 and transfer.status is not None
        exchange.hops.append(transfer.hop(exchange.resolve_s, complete=complete))
        if not complete or transfer.status is None:
            return transfer.fault(code, words)
        return Response(
            transfer.status,
            tuple(transfer.headers),
            transfer.body,
            tuple(exchange.hops),
            self._clock.monotonic() - exchange.started,
        )

    async def _judged_address(self, request: Request, host: str, port: int) -> Address | Fault:
        """The first address of the URL's host, when the guard allows it: never a second look-up."""
        found = await self._resolver.resolve(host)
        if isinstance(found, Unresolved):
            reason, ours = found.reason, found.ours
            if descriptors_exhausted():
                reason, ours = Reason.DESCRIPTORS, True
            return Fault(reason, found.detail, ours, phase=Phase.RESOLVE)
        denied = self._egress.judge(host, found[0], port, literal=request.literal)
        if denied is not None:
            return Fault(Reason.EGRESS, denied.why, ours=True, phase=Phase.RESOLVE)
        return found[0]

    def _timed_out(self, request: Request, exchange: _Exchange) -> Fault:
        took = f"no complete answer in {request.deadline_s:g} s"
        transfer = exchange.transfer
        if transfer is None:
            # The resolver's slowness is not proven to be the name's doing.
            detail = f"{took}: look-up of the name in progress"
            return Fault(Reason.RESOLVER, detail, ours=True, phase=Phase.RESOLVE)
        phase = transfer.phase
        self.requests_sent += min(1, transfer.requests)
        exchange.hops.append(transfer.hop(exchange.resolve_s, complete=False))
        detail = f"{took}: {phase} in progress"
        return Fault(Reason.TIMEOUT, detail, ours=False, connected=transfer.connected, phase=phase)

    def _trouble(self, fault: Fault, exchange: _Exchange) -> Trouble:
        return Trouble(
            fault.reason,
            fault.detail,
            fault.ours,
            fault.connected,
            fault.phase,
            tuple(exchange.hops),
            self._clock.monotonic() - exchange.started,
        )
