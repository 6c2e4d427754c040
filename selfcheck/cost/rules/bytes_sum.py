"""bytes_sum: bytes of a calendar month, summed."""

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import ClassVar

from selfcheck.cost.rules.protocol import BillingRule, Settings
from selfcheck.cost.tiers import Counts, Unit


class BytesSum(BillingRule):
    """Bytes over the unit's size; whole units only where the vendor rounds down."""

    counts: ClassVar[frozenset[Counts]] = frozenset({Counts.BYTES})
    settings: ClassVar[Mapping[str, frozenset[str]]] = {
        "which_bytes": frozenset({"wire", "serialized", "enriched", "stored", "unknown"}),
        "period": frozenset({"month"}),
        "rounding": frozenset({"none", "floor", "unknown"}),
    }

    @classmethod
    def units(cls, quantity: Decimal, unit: Unit, settings: Settings) -> Decimal:
        """Units for `quantity` bytes; a rounding that is not known is taken as none."""
        exact = quantity / unit.size
        if settings.get("rounding") == "floor":
            return exact.to_integral_value(ROUND_FLOOR)
        return exact
