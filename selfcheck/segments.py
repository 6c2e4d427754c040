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
from selfcheck.backends.spans import part, span_id
from selfcheck.canary.model import Canary

# Segment times are seconds as JSON numbers: a float holds microseconds of them, no more.
_US = 1000
_FAILED = ("fault", "error", "throttle")
_SUMMARY_FAILED = ("HasFault", "HasError", "HasThrottle")


@dataclass(frozen=True, slots=True)
class Segment:
    """One stored segment. Attributes under the names of `restored`."""

    segment_id: str
    stamp_ns: int
    attributes: Mapping[str, str]
    fields: Mapping[str, str]


def trace_id_of(trace_id: str) -> str:
    """32 hex digits as X-Ray writes them."""
    return f"1-{trace_id[:8]}-{trace_id[8:]}"


def encode(canary: Canary) -> str:
    """The segment document that carries `canary` alone."""
    end_ns = canary.stamp_ns + canary.span_duration_ns
    return json.dumps(
        {
            "name": canary.service_name,
            "id": canary.span_id.hex(),
            "trace_id": trace_id_of(canary.trace_id.hex()),
            "start_time": canary.stamp_ns // _US / 1e6,
            "end_time": end_ns // _US / 1e6,
            **({"fault": True} if canary.span_status == "error" else {}),
            "annotations": {
                "service_instance_id": canary.service_instance,
                "span_name": canary.span_name,
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
    segment_id, stamp_ns = text(member(told, "id")), _ns(member(told, "start_time"))
    # A segment that is not closed yet has no end.
    end = part(told, "end_time")
    metadata, shown = _texts(told, "metadata", "default"), _texts(told, "annotations")
    attributes = {**metadata, **restored(shown, names)}
    fields = {
        **_named(shown),
        "span_status": "error" if any(part(told, name) for name in _FAILED) else "unset",
        "span_id": span_id(segment_id),
        "parent_span_id": span_id(part(told, "parent_id")),
        "span_duration_ns": "0" if end is None else str(_ns(end) - stamp_ns),
    }
    return Segment(segment_id, stamp_ns, attributes, fields)


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
    failed = any(part(told, name) for name in _SUMMARY_FAILED)
    fields = _named(found) | ({"span_status": "error"} if failed else {})
    return Segment("", _ns(start_s), attributes, fields)


def latest(segments: Iterable[Segment]) -> list[Segment]:
    """One segment an id, the last one sent: X-Ray lets a later document replace an earlier one."""
    return list({one.segment_id: one for one in segments}.values())


def _ns(seconds: Json) -> int:
    return round(number(seconds) * 1e6) * _US


def _named(annotations: Mapping[str, str]) -> dict[str, str]:
    """The span's name, where it was sent as an annotation.

    A trace id is what segments and summaries are asked for by: under another one is nothing.
    """
    name = annotations.get("span_name")
    return {} if name is None else {"span_name": name}


def _texts(told: Json, *path: str) -> dict[str, str]:
    try:
        found = member(told, *path)
    except ReadError:
        return {}
    if not isinstance(found, Mapping):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}
