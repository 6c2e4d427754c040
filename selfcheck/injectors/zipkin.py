"""zipkin: one span as Zipkin v2 JSON, to Zipkin itself or to a receiver that speaks its API.

Zipkin answers 202 before it stores: accepted means that the span was queued.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

from core.options import Options
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Sent, Signal
from selfcheck.injectors.plain import PlainInjector, PlainOptions
from selfcheck.injectors.posting import Parcel

PATH = "/api/v2/spans"
_US = 1000


class ZipkinOptions(PlainOptions):
    """What may be written under `inject: {kind: zipkin}`."""


@dataclass(frozen=True, slots=True)
class ZipkinInjector(PlainInjector):
    """Posts canaries to a Zipkin v2 receiver."""

    options_model: ClassVar[type[Options]] = ZipkinOptions
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.TRACES})
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "202: queued, not stored",
        Sent.REJECTED: "no connection, another status",
        Sent.MAYBE: "a connection stood and no complete answer came",
    }
    source: ClassVar[str] = "zipkin.io/zipkin-api v2, 2026-11"
    proved: ClassVar[tuple[str, ...]] = (
        "Zipkin 3.6.1",
        "OpenTelemetry Collector 0.159 with its zipkin receiver 0.155",
    )
    other_receiver: ClassVar[WriteRule] = WriteRule(
        "", {Signal.TRACES: PATH}, frozenset({int(HTTPStatus.ACCEPTED)}), empty_body=True
    )

    options: ZipkinOptions

    def parcel(self, canary: Canary) -> Parcel:
        """The list of spans that carries `canary` alone."""
        return self.options.parcel(encode(canary), "application/json")


def encode(canary: Canary) -> bytes:
    """One span: a trace id of 128 bits, times in whole microseconds, attributes as tags.

    An internal span has no kind there, and an error is a tag.
    """
    kind = {} if canary.span_kind == "internal" else {"kind": canary.span_kind.upper()}
    failed = {"error": "true"} if canary.span_status == "error" else {}
    span = {
        **kind,
        "traceId": canary.trace_id.hex(),
        "id": canary.span_id.hex(),
        "name": canary.span_name,
        "timestamp": canary.stamp_ns // _US,
        "duration": canary.span_duration_ns // _US,
        "localEndpoint": {"serviceName": canary.service_name},
        "tags": {**canary.attributes, **failed},
    }
    return json.dumps([span]).encode()
