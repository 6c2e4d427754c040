"""Spans as stores of traces show them: ids held whole, and the JSON form of OTLP. Pure.

Field names follow opentelemetry-proto docs/specification.md, "JSON Protobuf Encoding". Encoders
leave out what is empty or zero, so only what identifies a span has to be there.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.reason import Reason
from selfcheck.backends.http import Json, ReadError, integer, items, member, text
from selfcheck.backends.sightings import Record
from selfcheck.canary.fields import SPAN_FIELDS, kind_of, status_of, type_field
from selfcheck.canary.model import Canary

CANARY_ID = "canary.id"
ALL_FIELDS = frozenset(SPAN_FIELDS)
_HEX = re.compile(r"[0-9a-f]{1,32}")
_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8


@dataclass(frozen=True, slots=True)
class Span:
    """One stored span. trace_id: 32 hex digits; service: "" where the store shows none."""

    trace_id: str
    service: str
    record: Record


def whole_id(shown: str) -> str:
    """A trace id as 32 hex digits, from hex or from padded base64. Raises ReadError.

    Stores drop leading zeros, or a leading half that is all zeros: both are the same id.
    """
    if shown.endswith("=="):
        try:
            raw = base64.b64decode(shown, validate=True)
        except binascii.Error as exc:
            raise ReadError(Reason.BACKEND_PROTOCOL, "a trace id that cannot be read") from exc
        if len(raw) == _TRACE_ID_BYTES:
            return raw.hex()
    elif _HEX.fullmatch(lower := shown.lower()):
        return lower.zfill(2 * _TRACE_ID_BYTES)
    raise ReadError(Reason.BACKEND_PROTOCOL, "a trace id that cannot be read")


def span_id(shown: Json) -> str:
    """A span's id as 16 hex digits, from hex or from padded base64; "" for none. Raises ReadError.

    The id of no span is left out, empty or all zeros.
    """
    told = text(shown or "")
    if told.endswith("="):
        try:
            told = base64.b64decode(told, validate=True).hex()
        except binascii.Error as exc:
            raise ReadError(Reason.BACKEND_PROTOCOL, "a span id that cannot be read") from exc
    digits = told.lower().lstrip("0")
    return digits.zfill(2 * _SPAN_ID_BYTES) if digits else ""


def trace_ids_of(canaries: Iterable[Canary]) -> list[str]:
    """Trace ids of `canaries`, each once, as 32 hex digits: those of one beat share theirs."""
    return list(dict.fromkeys(canary.trace_id.hex() for canary in canaries))


def canary_ids(spans: Iterable[Span], trace_id: str) -> list[str]:
    """Canary ids of the spans that belong to `trace_id` and to no other trace."""
    found = (span.record.canary_id for span in spans if span.trace_id == trace_id)
    return [canary_id for canary_id in found if canary_id]


def part(value: Json, key: str) -> Json:
    """`value[key]`, None where the encoder left it out. Raises ReadError for no object."""
    return None if isinstance(value, Mapping) and key not in value else member(value, key)


def otlp_spans(resource_spans: Json) -> list[Span]:
    """All spans below `resourceSpans`; none for None. Raises ReadError."""
    return [span for one in items(resource_spans or []) for span in _resource(one)]


def otlp_attributes(pairs: Json) -> dict[str, str]:
    """OTLP attributes as text; none for None. Raises ReadError."""
    return {text(member(pair, "key")): _value(part(pair, "value")) for pair in items(pairs or [])}


def _resource(one: Json) -> Iterator[Span]:
    resource = part(one, "resource")
    own = {} if resource is None else otlp_attributes(part(resource, "attributes"))
    for scope in items(part(one, "scopeSpans") or []):
        for span in items(part(scope, "spans") or []):
            yield _span(span, own.get("service.name", ""))


def _span(span: Json, service: str) -> Span:
    attributes = otlp_attributes(part(span, "attributes"))
    stamp_ns = integer(member(span, "startTimeUnixNano"))
    trace_id = whole_id(text(member(span, "traceId")))
    fields = {
        "trace_id": trace_id,
        "span_id": span_id(part(span, "spanId")),
        "parent_span_id": span_id(part(span, "parentSpanId")),
        "span_name": text(part(span, "name") or ""),
        "span_kind": kind_of(part(span, "kind") or 0),
        "span_status": status_of(part(part(span, "status") or {}, "code") or 0),
        "span_duration_ns": str(integer(part(span, "endTimeUnixNano") or 0) - stamp_ns),
        **otlp_types(part(span, "attributes")),
    }
    record = Record(attributes.get(CANARY_ID, ""), stamp_ns, None, None, attributes, fields)
    return Span(trace_id, service, record)


def otlp_types(pairs: Json) -> dict[str, str]:
    """The types of those OTLP attributes that are no text, as fields. Raises ReadError."""
    values = ((text(member(pair, "key")), part(pair, "value")) for pair in items(pairs or []))
    kinds = ((key, next(iter(value), "")) for key, value in values if isinstance(value, Mapping))
    return {
        type_field(key): kind.removesuffix("Value")
        for key, kind in kinds
        if kind not in {"stringValue", ""}
    }


def _value(value: Json) -> str:
    """A value in its usual spelling, "" for none; it is the only member of its object."""
    if value is None:
        return ""
    if not isinstance(value, Mapping):
        raise ReadError(Reason.BACKEND_PROTOCOL, "an attribute whose value cannot be read")
    held: Sequence[Json] = list(value.values())
    if isinstance(first := held[0] if held else "", bool):
        return str(first).lower()
    return str(first)
