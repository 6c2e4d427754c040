"""The built-in gateway: OTLP in, a filter, a queue per signal, OTLP out to one target."""

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field

from core.clock import Clock
from core.outbound.protocol import Outbound, Request, Response
from selfcheck.backends.http import backoff_s
from selfcheck.canary.model import Signal
from selfcheck.embedded import shaping
from selfcheck.embedded.faults import FaultBoard, FaultKind
from selfcheck.embedded.receiver import FullError, OtlpHop
from selfcheck.otlp import CONTENT_TYPE, DEFAULT_PATHS, ExportRequest

FAULTS = frozenset(FaultKind) - {FaultKind.READ_DOWN}
QUEUE_CAPACITY = 1000
EXPORT_DEADLINE_S = 5.0
_RETRYABLE = frozenset({429, 502, 503, 504})


@dataclass(slots=True)
class Queue:
    """Requests of one signal that wait for the exporter, with the moment each may leave."""

    capacity: int
    waiting: deque[tuple[float, ExportRequest]] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, due_s: float, request: ExportRequest) -> None:
        """Add a request. Raises FullError."""
        if len(self.waiting) >= self.capacity:
            raise FullError("the sending queue is full")
        self.waiting.append((due_s, request))
        self.arrived.set()

    async def first(self) -> tuple[float, ExportRequest]:
        """The oldest request, left in the queue until it is delivered or given up."""
        while not self.waiting:
            self.arrived.clear()
            await self.arrived.wait()
        return self.waiting[0]


class EmbeddedGateway(OtlpHop):
    """A hop that passes on what it takes, unless a fault says otherwise."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        outbound: Outbound,
        target_url: str,
        port: int = 0,
        hop: str = "gateway",
        queue_capacity: int = QUEUE_CAPACITY,
    ) -> None:
        """Exports to the OTLP/HTTP receiver at `target_url`; stamps records with `hop`."""
        super().__init__(clock, FaultBoard(FAULTS, rng), port)
        self._outbound, self._target, self._hop, self._rng = outbound, target_url, hop, rng
        self._queues = {signal: Queue(queue_capacity) for signal in Signal}
        self._tasks: list[asyncio.Task[None]] = []
        for signal, queue in self._queues.items():
            self._declare(signal, queue)

    def _declare(self, signal: Signal, queue: Queue) -> None:
        exporter = _exporter(signal)
        self.counters.processed(signal, 0, 0)
        self.counters.exported(signal, exporter, 0)
        self.counters.export_failed(signal, exporter, 0)
        labels = {"exporter": exporter, "data_type": str(signal)}
        self.counters.watch(
            "otelcol_exporter_queue_size", lambda: float(len(queue.waiting)), **labels
        )
        capacity = float(queue.capacity)
        self.counters.watch("otelcol_exporter_queue_capacity", lambda: capacity, **labels)

    async def start(self) -> None:
        """Listen and begin to export."""
        await super().start()
        self._tasks = [
            asyncio.create_task(self._export(signal), name=f"embedded-export-{signal}")
            for signal in Signal
        ]

    async def stop(self) -> None:
        """Stop at once; what is queued is gone, as in a gateway without a persistent queue."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await super().stop()

    @property
    def queued(self) -> dict[Signal, int]:
        """Requests waiting, per signal."""
        return {signal: len(queue.waiting) for signal, queue in self._queues.items()}

    def take(self, signal: Signal, request: ExportRequest) -> None:
        """Filter, strike with the faults that are on, stamp and queue. Raises FullError."""
        queue, faults = self._queues[signal], self.faults
        if len(queue.waiting) >= queue.capacity:
            raise FullError("the sending queue is full")
        items = shaping.count(request)
        kept = shaping.keep(request, lambda _: not faults.strikes(signal, FaultKind.FILTER))
        self.counters.processed(signal, items, kept)
        kept = shaping.keep(request, lambda _: not faults.strikes(signal, FaultKind.SINK))
        passed = shaping.keep(request, lambda _: not faults.strikes(signal, FaultKind.DROP))
        self.counters.exported(signal, _exporter(signal), kept - passed)
        if not passed:
            return
        if faults.strikes(signal, FaultKind.ALTER):
            shaping.each(request, shaping.alter)
        shaping.stamp(request, self._hop)
        due_s = self.clock.monotonic() + faults.delay_s(signal)
        self._enqueue(signal, due_s, request)
        if faults.strikes(signal, FaultKind.DUPLICATE):
            self._enqueue(signal, due_s, request)

    def _enqueue(self, signal: Signal, due_s: float, request: ExportRequest) -> None:
        labels = {"exporter": _exporter(signal)}
        self._queues[signal].put(due_s, request)
        self.counters.add("otelcol_exporter_enqueue_size_sum", shaping.count(request), **labels)
        self.counters.add("otelcol_exporter_enqueue_size_bytes_sum", request.ByteSize(), **labels)

    async def _export(self, signal: Signal) -> None:
        queue, failures = self._queues[signal], 0
        while True:
            due_s, request = await queue.first()
            await self.clock.sleep(max(0.0, due_s - self.clock.monotonic()))
            answer = await self._outbound.fetch(self._post(signal, request))
            if not isinstance(answer, Response) or answer.status in _RETRYABLE:
                failures += 1
                await self.clock.sleep(backoff_s(failures, self._rng, base_s=0.2, cap_s=1.0))
                continue
            failures = 0
            queue.waiting.popleft()
            count = self.counters.exported if answer.status == 200 else self.counters.export_failed
            count(signal, _exporter(signal), shaping.count(request))

    def _post(self, signal: Signal, request: ExportRequest) -> Request:
        return Request(
            "POST",
            self._target.rstrip("/") + DEFAULT_PATHS[signal],
            EXPORT_DEADLINE_S,
            headers=(("Content-Type", CONTENT_TYPE),),
            body=request.SerializeToString(),
            reuse=True,
        )


def _exporter(signal: Signal) -> str:
    return f"otlp_http/{signal}"
