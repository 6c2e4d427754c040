"""The paging loop in a thread of its own: no probe and no burst of canaries can hold a page."""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TypeVar

from core.clock import Clock
from core.errors import CoalmineError
from core.result import RunEnvelope
from paging.config import PagingConfig
from paging.loop import PagingLoop, PagingSnapshot, ProofOf, nothing_proven
from paging.queue import Gap, ResultsQueue
from paging.store import PagingStore

log = logging.getLogger(__name__)
T = TypeVar("T")

START_S = 30.0
STOP_S = 20.0
RELOAD_S = 30.0
AFTER_FAILURE_S = 1.0


class PagingController:
    """The engine's `Results`, the reload seam and the snapshot: every method is thread-safe."""

    def __init__(
        self,
        config: PagingConfig,
        store: PagingStore,
        clock: Clock,
        rng: random.Random,
        epoch: int,
        proof: ProofOf = nothing_proven,
        generation: int = 0,
    ) -> None:
        """`store` is used inside the paging loop only. `epoch`: new, and higher, at each start."""
        self._make: Callable[[], PagingLoop] = lambda: PagingLoop(
            config, store, clock, rng, epoch, self._queue, self._wake, proof, generation
        )
        self._clock = clock
        self._queue = ResultsQueue(self._wake)
        self._thread = threading.Thread(target=self._run, name="paging", daemon=True)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._paging: PagingLoop | None = None
        self._event: asyncio.Event | None = None
        self._signalled = False
        self._stopping = False
        self._last_tick_s = clock.monotonic()
        self.turn_failures = 0

    def start(self) -> None:
        """Return when the receivers are built and the loop turns; raises what they raised."""
        self._thread.start()
        if not self._ready.wait(START_S):
            raise CoalmineError(f"paging did not start within {START_S:g} s")
        if self._failure is not None:
            raise self._failure

    def publish(self, envelope: RunEnvelope) -> None:
        """Hand over one result; never waits."""
        self._queue.publish(envelope)

    def not_run(self, gap: Gap) -> None:
        """Account for due runs that did not start."""
        self._queue.not_run(gap)

    def apply(self, config: PagingConfig, generation: int) -> None:
        """Reload, as a whole or not at all; raises what a receiver's factory raised."""
        self._call(self._live().apply(config, generation), RELOAD_S)

    def last_tick(self) -> float:
        """Boot seconds at which the loop last finished a turn."""
        return self._last_tick_s

    def snapshot(self) -> PagingSnapshot:
        """The newest picture of paging."""
        return self._live().snapshot

    def stop(self) -> None:
        """Planned stop; what is owed stays in the store. Does nothing when it never started."""
        self._stopping = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def _live(self) -> PagingLoop:
        if self._paging is None:
            raise CoalmineError("paging is not running")
        return self._paging

    def _call(self, work: Coroutine[object, object, T], timeout_s: float) -> T:
        if self._loop is None:
            raise CoalmineError("paging is not running")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def _wake(self) -> None:
        loop, event = self._loop, self._event
        if loop is None or event is None or self._signalled:
            return
        self._signalled = True
        # The loop may close between the look and the call: then nobody needs waking.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(event.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as exc:
            self._failure = exc
            self._ready.set()
            log.critical("paging_thread_ended", exc_info=exc)

    async def _main(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._paging = self._make()
        self._ready.set()
        while not self._stopping:
            delay_s = await self._turn(self._paging)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._event.wait()
            self._signalled = False
            self._event.clear()
        self._loop = None
        await self._paging.close("planned stop")

    async def _turn(self, paging: PagingLoop) -> float:
        """One supervised turn: a defect in one step must not end paging."""
        try:
            delay_s = await paging.turn()
        except Exception:
            self.turn_failures += 1
            log.exception("paging_turn_failed")
            return AFTER_FAILURE_S
        self._last_tick_s = self._clock.monotonic()
        return delay_s
