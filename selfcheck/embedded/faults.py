"""Faults of the built-in hops, switched per signal while they run."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from core.errors import CoalmineError
from selfcheck.canary.model import Signal


class FaultKind(StrEnum):
    """What can be switched on.

    drop: taken, counted as passed on, never stored. sink: taken, then gone without any counter.
    filter: dropped by intent, with the filter's own counter. reject: refused with 503.
    stall: accepted, never answered. read_down: the store's query API answers 503.
    """

    DROP = "drop"
    SINK = "sink"
    FILTER = "filter"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    ALTER = "alter"
    REJECT = "reject"
    STALL = "stall"
    READ_DOWN = "read_down"


class FaultError(CoalmineError):
    """A fault that this hop does not have, or a figure out of range."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`share`: part of the records or requests it strikes, in (0, 1]. `delay_s` for `delay`."""

    kind: FaultKind
    share: float = 1.0
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        """Raise FaultError for figures that make no sense."""
        if not 0.0 < self.share <= 1.0:
            raise FaultError("share must lie in (0, 1]")
        if not 0.0 <= self.delay_s <= 3600.0 or (self.kind is FaultKind.DELAY) != (
            self.delay_s > 0.0
        ):
            raise FaultError("delay, and only delay, needs delay_s between 0 and 3600")


@dataclass(slots=True)
class FaultBoard:
    """The faults of one hop; `kinds` are those it can have."""

    kinds: frozenset[FaultKind]
    rng: random.Random
    _active: dict[tuple[Signal, FaultKind], Fault] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, signal: Signal, fault: Fault) -> None:
        """Switch `fault` on for `signal`. Raises FaultError for a kind this hop does not have."""
        if fault.kind not in self.kinds:
            raise FaultError(f"this hop has no fault {fault.kind}")
        self._active[signal, fault.kind] = fault
        self._wake()

    def clear(self, signal: Signal | None = None, kind: FaultKind | None = None) -> None:
        """Switch off what matches; without arguments everything."""
        self._active = {
            key: fault
            for key, fault in self._active.items()
            if (signal or key[0]) is not key[0] or (kind or key[1]) is not key[1]
        }
        self._wake()

    def active(self) -> Mapping[tuple[Signal, FaultKind], Fault]:
        """What is switched on."""
        return dict(self._active)

    def strikes(self, signal: Signal, kind: FaultKind) -> bool:
        """Whether the fault hits now; random when its share is below 1."""
        fault = self._active.get((signal, kind))
        return fault is not None and (fault.share >= 1.0 or self.rng.random() < fault.share)

    def delay_s(self, signal: Signal) -> float:
        """Seconds that a record of `signal` is held back."""
        fault = self._active.get((signal, FaultKind.DELAY))
        return fault.delay_s if fault and self.strikes(signal, FaultKind.DELAY) else 0.0

    async def released(self, signal: Signal) -> None:
        """Return once `signal` is not stalled."""
        while (signal, FaultKind.STALL) in self._active:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
