"""Tiers of a price: exact decimal arithmetic, and units that never mix GB with GiB."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from enum import StrEnum

# A byte as a share of a GiB has thirty decimals: the usual 28 digits would round it.
EXACT = Context(prec=80)


class Counts(StrEnum):
    """What a unit is a number of."""

    BYTES = "bytes"
    ITEMS = "items"
    STOCK = "byte-months"


@dataclass(frozen=True, slots=True)
class Unit:
    """A billing unit: `size` bytes or items."""

    name: str
    counts: Counts
    size: int


UNITS = {
    unit.name: unit
    for unit in (
        Unit("B", Counts.BYTES, 1),
        Unit("MiB", Counts.BYTES, 2**20),
        Unit("GB", Counts.BYTES, 10**9),
        Unit("GiB", Counts.BYTES, 2**30),
        Unit("1000000 Items", Counts.ITEMS, 10**6),
        Unit("GB-month", Counts.STOCK, 10**9),
        Unit("GiB-month", Counts.STOCK, 2**30),
    )
}


@dataclass(frozen=True, slots=True)
class Tier:
    """Price per unit up to `up_to` units (None = open). price None = not entered: unpriced."""

    up_to: Decimal | None
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class TierRow:
    """The part of a quantity that fell into one tier, and its money."""

    quantity: Decimal
    price: Decimal
    cost: Decimal


def priced(tiers: Sequence[Tier]) -> bool:
    """Whether every tier has a price."""
    return all(tier.price is not None for tier in tiers)


def tier_rows(quantity: Decimal, tiers: Sequence[Tier]) -> tuple[TierRow, ...]:
    """`quantity` split over half-open tiers, lowest first; the rows re-add to it exactly.

    Raises ValueError for a negative or non-finite quantity and for a tier without a price.
    """
    if not quantity.is_finite() or quantity < 0:
        raise ValueError(f"a billable quantity is finite and not negative, not {quantity}")
    rows, start = [], Decimal(0)
    with localcontext(EXACT):
        for tier in tiers:
            if tier.price is None:
                raise ValueError("a tier without a price cannot be priced")
            end = quantity if tier.up_to is None else min(quantity, tier.up_to)
            if end > start:
                rows.append(TierRow(end - start, tier.price, (end - start) * tier.price))
                start = end
    return tuple(rows)


def cost(quantity: Decimal, tiers: Sequence[Tier]) -> Decimal:
    """Money for `quantity` units; never rounded."""
    with localcontext(EXACT):
        return sum((row.cost for row in tier_rows(quantity, tiers)), Decimal(0))
