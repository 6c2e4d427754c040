"""otlp_http: one canary as OTLP over HTTP, protobuf or JSON, under one deadline for all tries.

Accepted means: the receiver's declared success status and a parsable OTLP answer that rejects
nothing. It says that the receiver took the canary, never that it is stored.
"""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck import otlp
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Sent, Signal
from selfcheck.injectors.posting import (
    Attempt,
    Parcel,
    PostingInjector,
    PostingOptions,
    accepted,
    rejected,
)


@dataclass(frozen=True, slots=True)
class _Form:
    """One of the forms in which OTLP is written over HTTP."""

    content_type: str
    encode: Callable[[Canary, otlp.MetricAs], bytes]
    parse_reply: Callable[[Signal, bytes], otlp.ExportReply]


_FORMS: Mapping[str, _Form] = {
    "protobuf": _Form(otlp.CONTENT_TYPE, otlp.encode, otlp.parse_reply),
    "json": _Form(otlp.JSON_TYPE, otlp.encode_json, otlp.parse_json_reply),
}


class OtlpHttpOptions(PostingOptions):
    """What may be written under `inject: {kind: otlp_http}`."""

    encoding: Annotated[
        Literal["protobuf", "json"],
        Field(description="Form of requests and answers; some receivers refuse JSON."),
    ] = "protobuf"
    metric: Annotated[
        otlp.MetricAs,
        Field(
            description="What a metrics canary is written as. Prometheus and Cortex keep exemplars"
            " of counters only; a conversion to deltas leaves only gauges as they are."
        ),
    ] = otlp.MetricAs.GAUGE
    compression: Annotated[
        Literal["none", "gzip"], Field(description="Encoding of the request body.")
    ] = "none"


@dataclass(frozen=True, slots=True)
class OtlpHttpInjector(PostingInjector):
    """Posts canaries to an OTLP/HTTP receiver."""

    options_model: ClassVar[type[Options]] = OtlpHttpOptions
    signals: ClassVar[frozenset[Signal]] = frozenset(Signal)
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "the declared status and an OTLP answer that rejects nothing",
        Sent.REJECTED: "no connection, another status, `partial_success` with rejected records,"
        " an answer that is not OTLP",
        Sent.MAYBE: "a connection stood and no complete answer came",
    }
    source: ClassVar[str] = "opentelemetry-proto docs/specification.md, 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("OpenTelemetry Collector 0.159", "Loki 3.7.8")
    other_receiver: ClassVar[WriteRule] = WriteRule(
        "", otlp.DEFAULT_PATHS, frozenset({200}), empty_body=False
    )

    options: OtlpHttpOptions

    def parcel(self, canary: Canary) -> Parcel:
        """The export request that carries `canary` alone."""
        form = _FORMS[self.options.encoding]
        body = form.encode(canary, self.options.metric)
        headers = (("Content-Type", form.content_type),)
        if self.options.compression == "none":
            return Parcel(body, headers)
        return Parcel(gzip.compress(body, mtime=0), (*headers, ("Content-Encoding", "gzip")))

    def reply(self, canary: Canary, response: Response) -> Attempt:
        """Accepted only by an OTLP answer; no bytes are one where the receiver declares it."""
        form = _FORMS[self.options.encoding]
        content_type = (response.header("content-type") or "").partition(";")[0].strip().lower()
        bare_ok = self.rule.empty_body and not response.body
        if bare_ok:
            return accepted()
        if content_type != form.content_type:
            return rejected(Reason.NOT_OTLP, f"HTTP {response.status} as {content_type or 'none'}")
        return judged(form.parse_reply, canary.signal, response.body)


def judged(
    parse: Callable[[Signal, bytes], otlp.ExportReply], signal: Signal, body: bytes
) -> Attempt:
    """What an export answer says; rejected records are never sent again."""
    try:
        said = parse(signal, body)
    except otlp.NotOtlpError as exc:
        return rejected(Reason.NOT_OTLP, str(exc))
    if said.rejected > 0:
        return rejected(Reason.PARTIAL_SUCCESS, f"{said.rejected} rejected: {said.message}")
    return accepted(said.message)
