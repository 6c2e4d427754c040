"""The bytes of remote write: protobuf in snappy's block format.

Only the fields that a canary needs are described, by hand and in a pool of their own: generated
modules would tie us to one release of protobuf's runtime, and the package `prometheus` may be
registered by somebody else. Field numbers: prometheus/prometheus, prompb/types.proto, remote.proto
and prompb/io/prometheus/write/v2/types.proto, 3.14. The only importer of cramjam.
"""

from collections.abc import Mapping
from typing import Any

import cramjam
from google.protobuf import (  # type: ignore[import-untyped]  # ships no types
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

from selfcheck.canary.model import Canary
from selfcheck.injectors.exposition import labels_of
from selfcheck.otlp import METRIC_NAME

# Prometheus and the OpenMetrics specification drop exemplars whose labels are longer, in all.
EXEMPLAR_RUNES = 128
_MS = 1_000_000
_GAUGE = 2
_HELP = "Sequence number of the newest canary of a route."

_Field = descriptor_pb2.FieldDescriptorProto
# By message: field name to number and type; a message's name is a type, `[]` makes it repeated.
_V1: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "WriteRequest": {"timeseries": (1, "TimeSeries[]")},
    "TimeSeries": {
        "labels": (1, "Label[]"),
        "samples": (2, "Sample[]"),
        "exemplars": (3, "Exemplar[]"),
    },
    "Label": {"name": (1, "string"), "value": (2, "string")},
    "Sample": {"value": (1, "double"), "timestamp": (2, "int64")},
    "Exemplar": {"labels": (1, "Label[]"), "value": (2, "double"), "timestamp": (3, "int64")},
}
_V2: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "Request": {"symbols": (4, "string[]"), "timeseries": (5, "TimeSeries[]")},
    "TimeSeries": {
        "labels_refs": (1, "uint32[]"),
        "samples": (2, "Sample[]"),
        "exemplars": (4, "Exemplar[]"),
        "metadata": (5, "Metadata"),
    },
    "Sample": {"value": (1, "double"), "timestamp": (2, "int64")},
    "Exemplar": {"labels_refs": (1, "uint32[]"), "value": (2, "double"), "timestamp": (3, "int64")},
    "Metadata": {"type": (1, "int32"), "help_ref": (3, "uint32"), "unit_ref": (4, "uint32")},
}
_TYPES = {
    "string": _Field.TYPE_STRING,
    "double": _Field.TYPE_DOUBLE,
    "int64": _Field.TYPE_INT64,
    "int32": _Field.TYPE_INT32,
    "uint32": _Field.TYPE_UINT32,
}


def _message(package: str, shapes: Mapping[str, Mapping[str, tuple[int, str]]], name: str) -> Any:
    """The class of one message; Any, as protobuf makes it at run time."""
    file = descriptor_pb2.FileDescriptorProto(name=package, package=package, syntax="proto3")
    for message, fields in shapes.items():
        described = file.message_type.add(name=message)
        for field, (number, written) in fields.items():
            kind = written.removesuffix("[]")
            many = _Field.LABEL_REPEATED if written != kind else _Field.LABEL_OPTIONAL
            one = described.field.add(name=field, number=number, label=many)
            if kind in _TYPES:
                one.type = _TYPES[kind]
            else:
                one.type, one.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{package}.{name}")
    return message_factory.GetMessageClass(found)


WriteRequest = _message("prometheus", _V1, "WriteRequest")
Request = _message("io.prometheus.write.v2", _V2, "Request")


def encode(canary: Canary, version: int) -> bytes:
    """The body of a write request of `version` 1 or 2 that carries `canary` alone."""
    request = _version_1(canary) if version == 1 else _version_2(canary)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def decode(body: bytes, version: int) -> Any:
    """The message in `body`, a protobuf object. For tests and tools: it trusts its input."""
    message = WriteRequest() if version == 1 else Request()
    message.ParseFromString(bytes(cramjam.snappy.decompress_raw(body)))
    return message


def _version_1(canary: Canary) -> Any:
    request, stamp_ms = WriteRequest(), canary.stamp_ns // _MS
    series = request.timeseries.add()
    for name, value in _labels(canary):
        series.labels.add(name=name, value=value)
    series.samples.add(value=canary.value, timestamp=stamp_ms)
    exemplar = series.exemplars.add(value=canary.value, timestamp=stamp_ms)
    for name, value in exemplar_labels(canary).items():
        exemplar.labels.add(name=name, value=value)
    return request


def _version_2(canary: Canary) -> Any:
    request, stamp_ms = Request(), canary.stamp_ns // _MS
    symbols = _Symbols()
    series = request.timeseries.add()
    series.labels_refs.extend(symbols.refs(_labels(canary)))
    series.samples.add(value=canary.value, timestamp=stamp_ms)
    exemplar = series.exemplars.add(value=canary.value, timestamp=stamp_ms)
    exemplar.labels_refs.extend(symbols.refs(list(exemplar_labels(canary).items())))
    series.metadata.type, series.metadata.help_ref = _GAUGE, symbols.ref(_HELP)
    request.symbols.extend(symbols.known)
    return request


class _Symbols:
    """Version 2's table of texts: each once, the empty one first (specification, "Symbols")."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {"": 0}

    def ref(self, text: str) -> int:
        return self.known.setdefault(text, len(self.known))

    def refs(self, labels: list[tuple[str, str]]) -> list[int]:
        return [self.ref(text) for pair in labels for text in pair]


def _labels(canary: Canary) -> list[tuple[str, str]]:
    """Of the route's series, the same that OTLP becomes; sorted, as both versions demand."""
    own = {"__name__": METRIC_NAME, "job": canary.service_name, "instance": canary.service_instance}
    return sorted({**own, **labels_of(canary)}.items())


def exemplar_labels(canary: Canary) -> dict[str, str]:
    """The trace to follow, and the canary's id where the exemplar has room for it."""
    found = {"trace_id": canary.trace_id.hex(), "span_id": canary.span_id.hex()}
    whole = {**found, "canary_id": canary.canary_id}
    fits = sum(len(name) + len(value) for name, value in whole.items()) <= EXEMPLAR_RUNES
    return whole if fits else found
