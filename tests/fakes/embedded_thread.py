"""The embedded gateway and store in a thread of their own, for code that owns its event loop."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from selfcheck.canary.model import Signal
from selfcheck.embedded.faults import Fault, FaultKind
from selfcheck.embedded.gateway import EmbeddedGateway
from selfcheck.embedded.store import EmbeddedStore
from tests.support.parts import real_parts


@dataclass
class Stack:
    """Both hops; faults may be switched from any thread."""

    loop: asyncio.AbstractEventLoop
    store: EmbeddedStore
    gateway: EmbeddedGateway

    def fault(self, kind: FaultKind, share: float = 1.0, *, gateway: bool = False) -> None:
        """Switch a fault of the store, or of the gateway, on for logs."""
        hop = self.gateway if gateway else self.store

        async def put() -> None:
            hop.faults.put(Signal.LOGS, Fault(kind, share))

        asyncio.run_coroutine_threadsafe(put(), self.loop).result(5)


@contextlib.contextmanager
def embedded_stack(folder: Path, seed: int = 7) -> Iterator[Stack]:
    """A running store and a gateway before it."""
    ready: list[Stack] = []
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with real_parts(folder) as parts:
            store = EmbeddedStore(parts.clock, random.Random(seed))
            await store.start()
            gateway = EmbeddedGateway(parts.clock, parts.rng, parts.outbound, store.url)
            await gateway.start()
            ready.append(Stack(asyncio.get_running_loop(), store, gateway))
            started.set()
            await stop.wait()
            await gateway.stop()
            await store.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(10)
    try:
        yield ready[0]
    finally:
        ready[0].loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        assert not thread.is_alive()
