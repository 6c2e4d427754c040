"""A sighting held against what the canary's id determines. Pure."""

from collections.abc import Collection, Iterator, Sequence

from core.text import safe_text
from selfcheck.canary.fields import LOG_FIELDS, SPAN_FIELDS, sent_fields
from selfcheck.canary.model import Canary, Sighting, Signal

DIFF_BYTES = 4096
_PART_CHARS = 512
# Parts of a record, beside its fields.
ATTRIBUTES, BODY, VALUE = "attributes", "body", "value"
# Every canary has it; labels of a store or a hop are no attributes of a record.
_OWN = "coalmine.route"
# Types are told of those attributes only that are no text.
_FIELDS = LOG_FIELDS.keys() | SPAN_FIELDS.keys()
NOTHING: frozenset[str] = frozenset()


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


def parts_of(sighting: Sighting) -> frozenset[str]:
    """Which parts of a record, of those that some access paths never show, the sighting shows."""
    shown = {
        ATTRIBUTES: _OWN in sighting.attributes,
        BODY: sighting.body is not None,
        VALUE: sighting.value is not None,
    }
    # A field that is told as empty is not in the record.
    shown |= {name: bool(sighting.fields[name]) for name in _FIELDS & sighting.fields.keys()}
    return frozenset(name for name, is_shown in shown.items() if is_shown)


def difference(
    canary: Canary, sightings: Sequence[Sighting], shown: Collection[str] = NOTHING
) -> str:
    """What was altered, at most 4 KiB; empty when nothing was. Added attributes do not count.

    Parts that the access path does not show are not compared: a body or value of None, fields
    that are left out, and attributes when not one of the canary's own is among them. `shown`:
    parts that it is known to show where a record has them.
    """
    text = "\n".join(change for one in sightings for change in _changes(canary, one, shown))
    return text.encode()[:DIFF_BYTES].decode(errors="ignore")


def _changes(canary: Canary, sighting: Sighting, shown: Collection[str]) -> Iterator[str]:
    if canary.signal is Signal.METRICS:
        if sighting.value is not None and sighting.value != canary.value:
            yield f"value: sent {canary.value:g}, stored {sighting.value:g}"
        elif sighting.value is None and VALUE in shown:
            yield f"value: sent {canary.value:g}, missing"
    elif sighting.body is not None and sighting.body != canary.body:
        yield f"body: sent {_shown(canary.body)}, stored {_shown(sighting.body)}"
    elif sighting.body is None and BODY in shown:
        yield f"body: sent {_shown(canary.body)}, missing"
    if ATTRIBUTES in shown or canary.attributes.keys() & sighting.attributes.keys():
        yield from _attributes(canary, sighting)
    yield from _fields(canary, sighting, shown)


def _fields(canary: Canary, sighting: Sighting, shown: Collection[str]) -> Iterator[str]:
    missing = _FIELDS.intersection(shown).difference(sighting.fields)
    # Most reads show none: what was sent is then not worked out.
    sent_as = sent_fields(canary) if sighting.fields or missing else {}
    for name, told in sighting.fields.items():
        if told != (sent := sent_as.get(name, told)):
            yield f"{name}: sent {_shown(sent)}, stored {_shown(told)}"
    for name in sorted(missing & sent_as.keys()):
        yield f"{name}: sent {_shown(sent_as[name])}, missing"


def _attributes(canary: Canary, sighting: Sighting) -> Iterator[str]:
    for name, sent in canary.attributes.items():
        stored = sighting.attributes.get(name)
        if stored is None:
            yield f"attribute {name}: sent {_shown(sent)}, missing"
        elif stored != sent:
            yield f"attribute {name}: sent {_shown(sent)}, stored {_shown(stored)}"


def _shown(text: str) -> str:
    return repr(safe_text(text, _PART_CHARS))
