"""The seam of a billing rule."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar, cast

from selfcheck.cost.tiers import Counts, Unit

Settings = Mapping[str, str]


class BillingRule(ABC):
    """Pure. Turns bytes or items of one month into units of a price-book entry."""

    counts: ClassVar[frozenset[Counts]]
    settings: ClassVar[Mapping[str, frozenset[str]]]
    """Settings under `rule:`, each with the values it may have; none listed = a positive number."""

    @classmethod
    @abstractmethod
    def units(cls, quantity: Decimal, unit: Unit, settings: Settings) -> Decimal:
        """Billable units for `quantity` bytes or items in a month."""


RULES: Mapping[str, str] = {
    "bytes_sum": "selfcheck.cost.rules.bytes_sum:BytesSum",
    "items_sum": "selfcheck.cost.rules.items_sum:ItemsSum",
    "storage": "selfcheck.cost.rules.storage:Storage",
}


def rule(kind: str) -> type[BillingRule]:
    """The rule behind `kind`. Raises KeyError when there is none."""
    module, _, name = RULES[kind].partition(":")
    return cast("type[BillingRule]", getattr(importlib.import_module(module), name))
