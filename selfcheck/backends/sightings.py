"""From a store's records to sightings: one per distinct record, with the copies of its id."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from selfcheck.backends.protocol import Dedupe
from selfcheck.canary.model import Canary, Sighting
from selfcheck.otlp import HOP_PREFIX

_HOP_UNDERSCORED = HOP_PREFIX.replace(".", "_")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as a store returned it, with the id that this access path found in it."""

    canary_id: str
    stamp_ns: int | None
    body: str | None
    value: float | None
    attributes: Mapping[str, str]
    fields: Mapping[str, str] = field(default_factory=dict)


def sightings(
    records: Iterable[Record], wanted: Iterable[Canary], dedupe: Dedupe
) -> tuple[Sighting, ...]:
    """Sightings of `wanted` in `records`, in the order of the records.

    Where the store collapses copies, one record proves nothing: copies is then None.
    """
    ids = {canary.canary_id for canary in wanted}
    found = [record for record in records if record.canary_id in ids]
    counts = Counter(record.canary_id for record in found)
    distinct: dict[Hashable, Record] = {}
    for record in found:
        shown = (frozenset(record.attributes.items()), frozenset(record.fields.items()))
        key = (record.canary_id, record.stamp_ns, record.body, record.value, shown)
        distinct.setdefault(key, record)
    return tuple(_sighting(record, counts, dedupe) for record in distinct.values())


def sent_names(wanted: Iterable[Canary]) -> dict[str, str]:
    """Names that `wanted` carry, by the form of a store that writes underscores for dots."""
    return {name.replace(".", "_"): name for canary in wanted for name in canary.attributes}


def restored(stored: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """`stored` attributes under the names they were sent with; what hops added keeps its own."""
    return {names.get(name, name): value for name, value in stored.items()}


def hop_stamps(attributes: Mapping[str, str]) -> dict[str, str]:
    """Stamps that hops left, by hop name; underscored where the store underscores dots."""
    return {
        name[len(HOP_PREFIX) :]: value
        for name, value in attributes.items()
        if name.startswith((HOP_PREFIX, _HOP_UNDERSCORED))
    }


def _sighting(record: Record, counts: Mapping[str, int], dedupe: Dedupe) -> Sighting:
    seen = counts[record.canary_id]
    copies = None if seen == 1 and dedupe is not Dedupe.KEEPS else seen
    return Sighting(
        record.canary_id,
        record.stamp_ns,
        copies,
        record.body,
        record.value,
        record.attributes,
        hop_stamps(record.attributes),
        record.fields,
    )
