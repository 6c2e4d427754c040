"""items_sum: spans, records or points of a calendar month, counted."""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from selfcheck.cost.rules.protocol import BillingRule, Settings
from selfcheck.cost.tiers import Counts, Unit


class ItemsSum(BillingRule):
    """Items over the unit's size."""

    counts: ClassVar[frozenset[Counts]] = frozenset({Counts.ITEMS})
    settings: ClassVar[Mapping[str, frozenset[str]]] = {"period": frozenset({"month"})}

    @classmethod
    def units(cls, quantity: Decimal, unit: Unit, settings: Settings) -> Decimal:
        """Units for `quantity` items; the settings change nothing."""
        del settings
        return quantity / unit.size
