"""A canary as an X-Ray segment: the document, and what a stored one says. Pure.

X-Ray takes ids made by the W3C's rules, written as 1-8hex-24hex; their first eight digits need not
be a time. So the trace id of a canary is its own, and joins hold. Names of annotations have no
dots here: older filter expressions take none.

Source: docs.aws.amazon.com, X-Ray developer guide, "Segment documents", 2026-11.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from selfcheck.backends.http import Json, ReadError, items, member, number, parse_json, text
from selfcheck.backends.sightings import restored
from selfcheck.canary.model import Canary
from selfcheck.otlp import SPAN_DURATION_NS, SPAN_NAME

# Segment times are seconds as JSON numbers: a float holds microseconds of them, no more.
_US = 1000


@dataclass(frozen=True, slots=True)
class Segment:
    """One stored segment. Attributes under the names of `restored`."""

    segment_id: str
    stamp_ns: int
    attributes: Mapping[str, str]


def trace_id_of(trace_id: str) -> str:
    """32 hex digits as X-Ray writes them."""
    return f"1-{trace_id[:8]}-{trace_id[8:]}"


def encode(canary: Canary) -> str:
    """The segment document that carries `canary` alone."""
    end_ns = canary.stamp_ns + SPAN_DURATION_NS
    return json.dumps(
        {
            "name": canary.service_name,
            "id": canary.span_id.hex(),
            "trace_id": trace_id_of(canary.trace_id.hex()),
            "start_time": canary.stamp_ns // _US / 1e6,
            "end_time": end_ns // _US / 1e6,
            "annotations": {
                "service_instance_id": canary.service_instance,
                "span_name": SPAN_NAME,
                **{name.replace(".", "_"): value for name, value in canary.attributes.items()},
            },
        }
    )


def decode(document: str, names: Mapping[str, str]) -> Segment:
    """What a stored document says. Raises ReadError.

    Annotations are what is indexed; the Collector's exporter puts what is not into metadata, under
    its own names.
    """
    told = parse_json(document.encode())
    stamp_ns = round(number(member(told, "start_time")) * 1e6) * _US
    metadata = _texts(told, "metadata", "default")
    attributes = {**metadata, **restored(_texts(told, "annotations"), names)}
    return Segment(text(member(told, "id")), stamp_ns, attributes)


def summarised(told: Json, names: Mapping[str, str]) -> Segment | None:
    """What a summary says of a trace of one segment; None where it does not tell that much.

    Annotations of all its segments stand side by side there, and a start in whole seconds proves
    no stamp. Raises ReadError.
    """
    annotations = member(told, "Annotations")
    start_s = number(member(told, "StartTime"))
    if not isinstance(annotations, Mapping) or start_s.is_integer():
        return None
    found: dict[str, str] = {}
    for name, values in annotations.items():
        if len(items(values)) != 1:
            return None
        value = member(items(values)[0], "AnnotationValue")
        shown = value.get("StringValue") if isinstance(value, Mapping) else None
        if isinstance(shown, str):
            found[name] = shown
    attributes = restored(found, names)
    if "canary.id" not in attributes:
        return None
    return Segment("", round(start_s * 1e6) * _US, attributes)


def latest(segments: Iterable[Segment]) -> list[Segment]:
    """One segment an id, the last one sent: X-Ray lets a later document replace an earlier one."""
    return list({one.segment_id: one for one in segments}.values())


def _texts(told: Json, *path: str) -> dict[str, str]:
    try:
        found = member(told, *path)
    except ReadError:
        return {}
    if not isinstance(found, Mapping):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}
