"""The fields of a record beside body, value and attributes, spelled alike for every store. Pure.

What a store does not have, or an access path does not show, is left out and not compared; what it
shows as empty is "". Ids are hex digits, durations nanoseconds. Names and numbers are those of OTLP
(opentelemetry-proto: trace.proto, logs.proto).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from selfcheck.canary.model import Canary, Signal

SPAN_FIELDS: Final[Mapping[str, Callable[[Canary], object]]] = MappingProxyType(
    {
        "trace_id": lambda canary: canary.trace_id.hex(),
        "span_id": lambda canary: canary.span_id.hex(),
        "parent_span_id": lambda _canary: "",
        "span_name": lambda canary: canary.span_name,
        "span_kind": lambda canary: canary.span_kind,
        "span_status": lambda canary: canary.span_status,
        "span_duration_ns": lambda canary: canary.span_duration_ns,
    }
)
LOG_FIELDS: Final[Mapping[str, Callable[[Canary], object]]] = MappingProxyType(
    {
        "trace_id": lambda canary: canary.trace_id.hex(),
        "span_id": lambda canary: canary.span_id.hex(),
        "severity_text": lambda canary: canary.severity_text,
        "severity_number": lambda canary: canary.severity_number,
    }
)
FIELDS: Final[Mapping[Signal, Mapping[str, Callable[[Canary], object]]]] = MappingProxyType(
    {Signal.LOGS: LOG_FIELDS, Signal.TRACES: SPAN_FIELDS, Signal.METRICS: {}}
)
_KINDS: Final = ("internal", "internal", "server", "client", "producer", "consumer")
_STATUSES: Final = ("unset", "ok", "error")


def sent_fields(canary: Canary) -> dict[str, str]:
    """What the record of `canary` has to show, with the types of its attributes."""
    fields = {name: str(sent(canary)) for name, sent in FIELDS[canary.signal].items()}
    return fields | {type_field(name): "string" for name in canary.attributes}


def type_field(attribute: str) -> str:
    """The field that tells the type of an attribute; shown of those only that are no text."""
    return f"type of {attribute}"


def kind_of(told: object) -> str:
    """A span's kind by OTLP's number or name; "" for none of them.

    Unspecified is internal (trace.proto, SpanKind: may be assumed to be INTERNAL).
    """
    if isinstance(told, int):
        return _KINDS[told] if 0 <= told < len(_KINDS) else ""
    name = str(told).lower().removeprefix("span_kind_")
    return "internal" if name in {"", "unspecified"} else name


def status_of(told: object) -> str:
    """A span's status by OTLP's number or name; "" for none of them."""
    if isinstance(told, int):
        return _STATUSES[told] if 0 <= told < len(_STATUSES) else ""
    return str(told).lower().removeprefix("status_code_") or "unset"
