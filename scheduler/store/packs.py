"""Runs of one check in one hour, packed: eight bytes a run, and sums that need no unpacking.

Pure. A pack is a function of the set of its runs, so writing a run twice changes nothing.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.verdict import Verdict, rank, worst

_POINT = struct.Struct("<HBBf")
_BY_RANK = {rank(verdict): verdict for verdict in Verdict}
HOUR = timedelta(hours=1)
_MAX_ATTEMPT = 255


@dataclass(frozen=True, slots=True)
class Point:
    """One run: seconds after the full hour, attempt, verdict, duration in seconds."""

    offset_s: int
    attempt: int
    verdict: Verdict
    took_s: float


@dataclass(frozen=True, slots=True)
class PackSums:
    """Counts per verdict (`blind` apart), and durations over all runs."""

    counts: Mapping[Verdict, int]
    min_s: float
    max_s: float
    sum_s: float


def hour_of(moment: datetime) -> datetime:
    """The full hour that holds `moment`."""
    return moment.replace(minute=0, second=0, microsecond=0)


def point_of(scheduled_at: datetime, attempt: int, verdict: Verdict, took_s: float) -> Point:
    """The point of one run; the duration is never negative."""
    offset_s = int((scheduled_at - hour_of(scheduled_at)).total_seconds())
    return Point(offset_s, min(attempt, _MAX_ATTEMPT), verdict, max(0.0, took_s))


def unpack(packed: bytes) -> list[Point]:
    """The points of a pack, oldest first."""
    return [
        Point(offset_s, attempt, _BY_RANK[number], took_s)
        for offset_s, attempt, number, took_s in _POINT.iter_unpack(packed)
    ]


def merge(packed: bytes, new: Iterable[Point]) -> bytes:
    """The pack with `new` in it; of one (second, attempt) the newer is kept."""
    fresh = {(point.offset_s, point.attempt): point for point in new}
    if packed and fresh and min(fresh) <= _POINT.unpack_from(packed, len(packed) - _POINT.size)[:2]:
        fresh = {(point.offset_s, point.attempt): point for point in unpack(packed)} | fresh
        packed = b""
    # Runs come in order almost always: then the pack need not be read.
    return packed + b"".join(
        _POINT.pack(point.offset_s, point.attempt, rank(point.verdict), point.took_s)
        for _, point in sorted(fresh.items())
    )


def sums(packed: bytes) -> PackSums:
    """What a pack adds up to. Raises ValueError for an empty one."""
    points = list(_POINT.iter_unpack(packed))
    ranks = [point[2] for point in points]
    counts = {verdict: ranks.count(number) for number, verdict in _BY_RANK.items()}
    took = [point[3] for point in points]
    return PackSums(counts, min(took), max(took), sum(took))


def strip_of(
    packs: Mapping[datetime, bytes], end: datetime, cells: int, cell_s: float
) -> tuple[Verdict | None, ...]:
    """Worst verdict per cell of `cell_s` up to `end`, oldest first; None where nothing ran."""
    found: list[list[Verdict]] = [[] for _ in range(cells)]
    for hour, packed in packs.items():
        for point in unpack(packed):
            age_s = (end - hour).total_seconds() - point.offset_s
            cell = cells - 1 - int(age_s // cell_s)
            if age_s >= 0 and 0 <= cell < cells:
                found[cell].append(point.verdict)
    return tuple(worst(verdicts) if verdicts else None for verdicts in found)
