"""remote_write: one sample by Prometheus remote write, version 1 or 2, in a constant series.

Accepted means: a declared status, and for version 2 the receiver's own count of written samples.
A receiver that knows only version 1 answers a version 2 body with success and stores nothing.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from core.kinds import Parts
from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Sent, Signal
from selfcheck.injectors.plain import by_status
from selfcheck.injectors.posting import (
    Attempt,
    Parcel,
    PostingInjector,
    PostingOptions,
    accepted,
    first_text,
    rejected,
)

PATH = "/api/v1/write"
_WIRE = "selfcheck.injectors.remote_write.wire"
WRITTEN = "x-prometheus-remote-write-{}-written"
_HEADERS: Mapping[int, tuple[tuple[str, str], ...]] = {
    1: (
        ("Content-Type", "application/x-protobuf"),
        ("Content-Encoding", "snappy"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ),
    2: (
        ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
        ("Content-Encoding", "snappy"),
        ("X-Prometheus-Remote-Write-Version", "2.0.0"),
    ),
}


class RemoteWriteOptions(PostingOptions):
    """What may be written under `inject: {kind: remote_write}`."""

    version: Annotated[
        Literal[1, 2],
        Field(description="Of the protocol; 2 also says how many samples were written."),
    ] = 1


@dataclass(frozen=True, slots=True)
class RemoteWriteInjector(PostingInjector):
    """Writes canaries to a remote write receiver; `encode` is the wire form of its version."""

    options_model: ClassVar[type[Options]] = RemoteWriteOptions
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "200 or 204; version 2: and the header that counts the sample as written",
        Sent.REJECTED: "no connection, another status; version 2: nothing counted as written",
        Sent.MAYBE: "a connection stood and no complete answer came",
    }
    source: ClassVar[str] = "prometheus.io/docs/specs/prw remote write 1.0 and 2.0, 2026-11"
    proved: ClassVar[tuple[str, ...]] = (
        "Prometheus 3.14 (1 and 2)",
        "Prometheus 2.42 (1)",
        "Cortex 1.21.1 (1)",
        "VictoriaMetrics 1.150 (1)",
    )
    other_receiver: ClassVar[WriteRule] = WriteRule(
        "",
        {Signal.METRICS: PATH},
        frozenset({int(HTTPStatus.OK), int(HTTPStatus.NO_CONTENT)}),
        empty_body=True,
    )

    options: RemoteWriteOptions

    @classmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> Self:
        """As every poster, once the wire form's library is there."""
        importlib.import_module(_WIRE)
        # The short form names the class before its slots were made.
        return super(RemoteWriteInjector, cls).build(options, parts, rule)

    def parcel(self, canary: Canary) -> Parcel:
        """The write request that carries `canary` alone."""
        from selfcheck.injectors.remote_write import wire

        version = self.options.version
        return Parcel(wire.encode(canary, version), _HEADERS[version])

    def reply(self, canary: Canary, response: Response) -> Attempt:
        """Version 1 has nothing but the status; version 2 counts what was written."""
        del canary
        plain = by_status(response)
        if self.options.version == 1 or plain.sent is Sent.REJECTED:
            return plain
        samples = _written(response, "samples")
        if samples is None:
            said = "without a count of written samples: the receiver knows version 1 only"
            return rejected(Reason.PARTIAL_SUCCESS, f"HTTP {response.status} {said}")
        if samples < 1:
            said = f"{samples} of 1 samples written {first_text(response.body)}".rstrip()
            return rejected(Reason.PARTIAL_SUCCESS, said)
        # The sample is the proof; a store that keeps no exemplars has still taken it.
        return accepted("" if _written(response, "exemplars") else "0 of 1 exemplars written")

    def _judge(self, canary: Canary, response: Response) -> Attempt:
        """A refusal that counts the sample as written is about the exemplar beside it."""
        # The short form names the class before its slots were made.
        attempt = super(RemoteWriteInjector, self)._judge(canary, response)
        refused = response.status >= HTTPStatus.BAD_REQUEST and self.options.version == 2
        return accepted(attempt.detail) if refused and _written(response, "samples") else attempt


def _written(response: Response, what: str) -> int | None:
    """How many the receiver says it has written; None when it does not say."""
    value = (response.header(WRITTEN.format(what)) or "").strip()
    return int(value[:9]) if value.isascii() and value.isdigit() else None
