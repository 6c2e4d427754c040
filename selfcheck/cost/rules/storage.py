"""storage: what a month's ingest costs while it is kept: self-hosted object or block storage.

`ingested / compression x replicas x retention`: each byte is paid for as long as it is kept, so a
month's bill of a running system is a month's ingest times the months of retention.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from selfcheck.cost.rules.protocol import BillingRule, Settings
from selfcheck.cost.tiers import Counts, Unit

_DAYS_A_MONTH = Decimal(30)


class Storage(BillingRule):
    """Unit-months of stored bytes that a month's ingest comes to over its retention."""

    counts: ClassVar[frozenset[Counts]] = frozenset({Counts.STOCK})
    settings: ClassVar[Mapping[str, frozenset[str]]] = {
        "compression": frozenset(),
        "replicas": frozenset(),
        "retention_days": frozenset(),
    }

    @classmethod
    def units(cls, quantity: Decimal, unit: Unit, settings: Settings) -> Decimal:
        """Unit-months for `quantity` ingested bytes, uncompressed."""
        stored = quantity * Decimal(settings["replicas"]) / Decimal(settings["compression"])
        return stored * Decimal(settings["retention_days"]) / _DAYS_A_MONTH / unit.size
