"""A sighting held against what the canary's id determines. Pure."""

from collections.abc import Iterator, Sequence

from core.text import safe_text
from selfcheck.canary.fields import sent_fields
from selfcheck.canary.model import Canary, Sighting, Signal

DIFF_BYTES = 4096
_PART_CHARS = 512


def same_record(
    canary: Canary, sighting: Sighting, precision_ns: int, *, stamped: bool = True
) -> bool:
    """Whether the sighting is of this canary: its id, and its own stamp at the store's precision.

    Stores round or cut, so a difference below one unit of precision is none. Where somebody else
    stamps the record it cannot be older than the canary.
    """
    if sighting.canary_id != canary.canary_id or sighting.stamp_ns is None:
        return False
    unit = max(1, precision_ns)
    if not stamped:
        return sighting.stamp_ns > canary.stamp_ns - unit
    return abs(sighting.stamp_ns - canary.stamp_ns) < unit


def records_of(
    canary: Canary, sightings: Sequence[Sighting], precision_ns: int, *, stamped: bool = True
) -> list[Sighting]:
    """Those of `sightings` that are of this canary, as `same_record` tells."""
    return [one for one in sightings if same_record(canary, one, precision_ns, stamped=stamped)]


def difference(canary: Canary, sightings: Sequence[Sighting]) -> str:
    """What was altered, at most 4 KiB; empty when nothing was. Added attributes do not count.

    Parts that the access path does not show are not compared: a body or value of None, fields
    that are left out, and attributes when not one of the canary's own is among them.
    """
    text = "\n".join(change for one in sightings for change in _changes(canary, one))
    return text.encode()[:DIFF_BYTES].decode(errors="ignore")


def _changes(canary: Canary, sighting: Sighting) -> Iterator[str]:
    if canary.signal is Signal.METRICS:
        if sighting.value is not None and sighting.value != canary.value:
            yield f"value: sent {canary.value:g}, stored {sighting.value:g}"
    elif sighting.body is not None and sighting.body != canary.body:
        yield f"body: sent {_shown(canary.body)}, stored {_shown(sighting.body)}"
    if canary.attributes.keys() & sighting.attributes.keys():
        for name, sent in canary.attributes.items():
            stored = sighting.attributes.get(name)
            if stored is None:
                yield f"attribute {name}: sent {_shown(sent)}, missing"
            elif stored != sent:
                yield f"attribute {name}: sent {_shown(sent)}, stored {_shown(stored)}"
    # Most reads show none: what was sent is then not worked out.
    sent_as = sent_fields(canary) if sighting.fields else {}
    for name, told in sighting.fields.items():
        if told != (sent := sent_as.get(name, told)):
            yield f"{name}: sent {_shown(sent)}, stored {_shown(told)}"


def _shown(text: str) -> str:
    return repr(safe_text(text, _PART_CHARS))
