"""`python -m benchmarks._counted`: the built-in gateway and store, which keep count themselves.

As `python -m selfcheck.embedded`, and beside it, whatever the service says of itself:
`bench_reads` on the store's metrics page, by route where the question or its answer names one;
`/bench/arrived`, the ids of all canaries that ever reached a hop, refused ones too;
`/bench/stored`, the ids of those that the store holds.
"""

import asyncio
import gzip
import json
import math
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from core.clock import SystemClock
from core.egress import Egress
from core.outbound.client import CurlOutbound
from core.resolve import Resolver
from selfcheck.canary.model import Signal
from selfcheck.embedded.gateway import EmbeddedGateway
from selfcheck.embedded.receiver import OtlpHop
from selfcheck.embedded.records import records_of
from selfcheck.embedded.store import EmbeddedStore
from selfcheck.otlp import parse_request

Serve = Callable[[Request], Awaitable[Response]]


class _Witness(OtlpHop):
    """Knows every canary that arrived, before any fault strikes it."""

    arrived: set[str]

    async def _receive(self, http: Request) -> Response:
        body = await http.body()
        if http.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = parse_request(Signal(http.url.path.rsplit("/", 1)[-1]), body)
        self.arrived.update(record.canary_id for record in records_of(request, 0.0))
        return await super()._receive(http)

    def routes(self) -> list[Route]:
        """The hop's own and the witness's."""
        self.arrived = set()
        return [*super().routes(), _page("/bench/arrived", lambda: self.arrived)]


class CountedGateway(_Witness, EmbeddedGateway):
    """The built-in gateway."""


class CountedStore(_Witness, EmbeddedStore):
    """The built-in store; each request for records is counted when it is answered."""

    def routes(self) -> list[Route]:
        """The query API, counted."""
        counted = [
            Route(route.path, self._counted(route.endpoint), methods=["GET"])
            for route in super().routes()
        ]
        return [*counted, _page("/bench/stored", self._stored)]

    def _stored(self) -> Iterable[str]:
        return {record.canary_id for one in Signal for _, record in self.store.scan(one, math.inf)}

    def _counted(self, serve: Serve) -> Serve:
        async def counted(http: Request) -> Response:
            answer = await serve(http)
            if http.url.path.startswith("/api/"):
                route = http.query_params.get("route") or _route_in(answer)
                self.counters.add("bench_reads", 1, route=route)
            return answer

        return counted


def _page(path: str, ids: Callable[[], Iterable[str]]) -> Route:
    async def shown(_http: Request) -> Response:
        return PlainTextResponse("\n".join(ids()))

    return Route(path, shown, methods=["GET"])


def _route_in(answer: Response) -> str:
    """The route of the first record shown; "" when there is none, or it was no success."""
    if answer.status_code != 200:
        return ""
    shown = json.loads(bytes(answer.body)).get("records") or [{"attributes": {}}]
    return str(shown[0]["attributes"].get("coalmine.route", ""))


async def _serve() -> None:
    clock, rng = SystemClock(), random.Random()
    outbound = CurlOutbound(clock, Resolver(), Egress(allow=()))
    store = CountedStore(clock, rng)
    await store.start()
    gateway = CountedGateway(clock, rng, outbound, store.url)
    await gateway.start()
    sys.stdout.write(json.dumps({"gateway": gateway.url, "store": store.url}) + "\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await gateway.stop()
    await store.stop()
    await outbound.close()


if __name__ == "__main__":
    asyncio.run(_serve())
