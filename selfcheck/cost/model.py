"""Usage, charges and estimates: the values of `selfcheck.cost`. Bytes are int, money is Decimal."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from selfcheck.canary.model import Signal


class Point(StrEnum):
    """Where a quantity was measured. Figures of different points are never added."""

    M1 = "M1 canaries"
    M2 = "M2 receiver"
    M3 = "M3 exporter"
    M4 = "M4 backend"


@dataclass(frozen=True, slots=True)
class Usage:
    """A measured quantity over a window of `seconds`. None = could not be read, never 0.

    hours_covered: how much of the window was really measured (gaps are not zero).
    """

    signal: Signal
    point: Point
    items: int | None
    body_bytes: int | None
    seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class Charge:
    """Money for one meter and horizon: low, likely, high; None with a reason when unpriced."""

    meter: str
    book: str
    currency: str
    unit: str
    quantity: Decimal | None
    low: Decimal | None
    likely: Decimal | None
    high: Decimal | None
    grade: str
    seen_on: str
    unpriced: str
