"""The only module that asks the machine for the time.

Durations and ages come from CLOCK_BOOTTIME, which no wall-clock step moves and which goes on
while the machine sleeps. What is stored is an `Instant`: aware UTC, boot id and boot time.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment as it is stored: aware UTC for people, boot id and boot seconds for arithmetic."""

    utc: datetime
    boot_id: str
    boot_s: float


class Clock(Protocol):
    """Time as a parameter: every module that needs it is handed one."""

    @property
    def boot_id(self) -> str:
        """Identity of the present boot; ages across two boots fall back to UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds of CLOCK_BOOTTIME: never steps."""
        ...

    def utc(self) -> datetime:
        """Aware UTC wall time: may step."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller for `seconds`."""
        ...


def instant(clock: Clock) -> Instant:
    """The present moment as it is stored."""
    return Instant(clock.utc(), clock.boot_id, clock.monotonic())


def age_s(then: Instant, clock: Clock) -> tuple[float, bool]:
    """Seconds since `then`, and whether that is proven (same boot) or taken from UTC (another)."""
    if then.boot_id == clock.boot_id:
        return clock.monotonic() - then.boot_s, True
    return (clock.utc() - then.utc).total_seconds(), False


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        """Reads the boot id once; a system without one gets a constant, so ages stay BOOTTIME."""
        self._boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "no-boot-id"

    @property
    def boot_id(self) -> str:
        """Identity of the present boot."""
        return self._boot_id

    def monotonic(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def utc(self) -> datetime:
        """Aware UTC wall time."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller for `seconds`."""
        await asyncio.sleep(seconds)
