"""loki_push: one log line to Loki's own push API, as JSON, with the id in structured metadata.

The stream has two labels, both constant: whatever changes per canary would be a new stream each
time. Accepted means 204: the distributor and its ingesters took the line.
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

PATH = "/loki/api/v1/push"


class LokiPushOptions(PlainOptions):
    """What may be written under `inject: {kind: loki_push}`."""


@dataclass(frozen=True, slots=True)
class LokiPushInjector(PlainInjector):
    """Pushes canaries to Loki, or to what speaks its push API."""

    options_model: ClassVar[type[Options]] = LokiPushOptions
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.LOGS})
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "204: distributor and ingesters took the line",
        Sent.REJECTED: "no connection, another status; the reason is Loki's own text",
        Sent.MAYBE: "a connection stood and no complete answer came",
    }
    source: ClassVar[str] = "grafana.com/docs/loki HTTP API, 'Ingest logs', 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("Loki 3.7.8",)
    other_receiver: ClassVar[WriteRule] = WriteRule(
        "", {Signal.LOGS: PATH}, frozenset({int(HTTPStatus.NO_CONTENT)}), empty_body=True
    )

    options: LokiPushOptions

    def parcel(self, canary: Canary) -> Parcel:
        """The push request that carries `canary` alone."""
        return self.options.parcel(encode(canary), "application/json")


def encode(canary: Canary) -> bytes:
    """One stream with one line; its stamp is nanoseconds as text, its id structured metadata.

    Names carry underscores, as Loki writes them when the same attributes come by OTLP.
    """
    labels = {
        "service_name": canary.service_name,
        "service_instance_id": canary.service_instance,
    }
    metadata = {
        **{name.replace(".", "_"): value for name, value in canary.attributes.items()},
        "trace_id": canary.trace_id.hex(),
        "span_id": canary.span_id.hex(),
        "severity_text": canary.severity_text,
        "severity_number": str(canary.severity_number),
    }
    entry = [str(canary.stamp_ns), canary.body, metadata]
    return json.dumps({"streams": [{"stream": labels, "values": [entry]}]}).encode()
