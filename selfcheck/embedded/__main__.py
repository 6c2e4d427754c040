"""`python -m selfcheck.embedded`: the gateway and the store as a process of their own.

Prints one JSON line with both addresses once they answer; ends on SIGTERM, SIGINT or when its
standard input closes with `--tied`, so that it does not outlive the process that started it.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys

from core.clock import SystemClock
from core.egress import Egress
from core.outbound.client import CurlOutbound
from core.resolve import Resolver
from selfcheck.embedded.gateway import EmbeddedGateway
from selfcheck.embedded.store import EmbeddedStore


async def serve(gateway_port: int, store_port: int, *, tied: bool) -> None:
    """Run both until told to stop."""
    clock, rng = SystemClock(), random.Random()
    outbound = CurlOutbound(clock, Resolver(), Egress(allow=()))
    store = EmbeddedStore(clock, rng, store_port)
    await store.start()
    gateway = EmbeddedGateway(clock, rng, outbound, store.url, gateway_port)
    await gateway.start()
    ready = {"ready": True, "gateway": gateway.url, "store": store.url}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await _told_to_stop(tied=tied)
    await gateway.stop()
    await store.stop()
    await outbound.close()


async def _told_to_stop(*, tied: bool) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if tied:
        loop.add_reader(sys.stdin.fileno(), _at_end, stop)
    await stop.wait()
    if tied:
        loop.remove_reader(sys.stdin.fileno())


def _at_end(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        stop.set()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m selfcheck.embedded", description=__doc__)
    parser.add_argument("--gateway-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--store-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--tied", action="store_true", help="end when standard input closes")
    options = parser.parse_args()
    asyncio.run(serve(options.gateway_port, options.store_port, tied=options.tied))


if __name__ == "__main__":
    main()
