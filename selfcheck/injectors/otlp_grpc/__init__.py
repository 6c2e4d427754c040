"""otlp_grpc: one canary as OTLP over gRPC by a plain stub, under one deadline for all tries.

Accepted means: status OK and an OTLP answer that rejects nothing. It says that the receiver took
the canary, never that it is stored.
"""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import FactSpec, Parts
from core.options import Options
from core.reason import Reason
from core.resolve import Resolver
from selfcheck import otlp
from selfcheck.access import AccessOptions
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Receipt, Sent, Signal
from selfcheck.injectors.address import Guarded, Origin, checked_metadata, fits_grpc
from selfcheck.injectors.otlp_grpc.call import METHODS, Message
from selfcheck.injectors.otlp_http import judged
from selfcheck.injectors.protocol import Injector
from selfcheck.injectors.tries import Attempt, rejected, tried

if TYPE_CHECKING:
    from selfcheck.injectors.otlp_grpc.engine import GrpcReceiver


class OtlpGrpcOptions(AccessOptions):
    """What may be written under `inject: {kind: otlp_grpc}`."""

    url: Annotated[
        str,
        Field(
            pattern=r"^(https?://.+)?$",
            description="`https://host:port`, or `http://host:port` for plaintext; no path."
            " Not needed with `to`.",
        ),
    ] = ""
    metric: Annotated[
        otlp.MetricAs,
        Field(
            description="What a metrics canary is written as. Prometheus and Cortex keep exemplars"
            " of counters only; a conversion to deltas leaves only gauges as they are."
        ),
    ] = otlp.MetricAs.GAUGE
    compression: Annotated[
        Literal["none", "gzip"], Field(description="Encoding of the message.")
    ] = "none"

    @model_validator(mode="after")
    def _fits_grpc(self) -> Self:
        fits_grpc(self, self.url)
        return self


@dataclass(frozen=True, slots=True)
class OtlpGrpcInjector(Injector):
    """Calls the export services of an OTLP/gRPC receiver; `signals_taken` are those it has."""

    options_model: ClassVar[type[Options]] = OtlpGrpcOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.INJECT, Reason.PARTIAL_SUCCESS, Reason.THROTTLED, Reason.MAYBE_SENT, Reason.AUTH}
        | {Reason.REFUSED, Reason.TIMEOUT, Reason.NOT_OTLP, Reason.TLS, Reason.PROTOCOL}
        | {Reason.EGRESS, Reason.DNS, Reason.RESOLVER, Reason.UNREACHABLE}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    signals: ClassVar[frozenset[Signal]] = frozenset(Signal)
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "status OK and an OTLP answer that rejects nothing",
        Sent.REJECTED: "no connection, no handshake, a status that the receiver itself sent,"
        " `partial_success` with rejected records, an answer that is not OTLP",
        Sent.MAYBE: "a connection stood and no answer came, the stream broke, or the receiver"
        " said CANCELLED or DEADLINE_EXCEEDED",
    }
    source: ClassVar[str] = "opentelemetry-proto docs/specification.md, 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("OpenTelemetry Collector 0.159",)

    options: OtlpGrpcOptions
    signals_taken: frozenset[Signal]
    declared: tuple[tuple[str, str], ...]
    receiver: "GrpcReceiver"
    clock: Clock
    rng: random.Random

    @classmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> Self:
        """An injector; the address comes from `url`, else from the backend's own rule."""
        chosen = cast("OtlpGrpcOptions", options)
        url = chosen.url or (rule.url if rule else "")
        if not url:
            raise CoalmineError("neither url nor to is given")
        try:
            fits_grpc(chosen, url)
        except ValueError as exc:
            raise CoalmineError(f"to: {exc}") from exc
        # gRPC's core would else write its own lines to stderr, one for each failed handshake.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from selfcheck.injectors.otlp_grpc.engine import GrpcReceiver

        guarded = Guarded(Origin.of(url), Resolver(threads=1), parts.egress)
        receiver = GrpcReceiver(guarded, chosen.tls_parameters(parts.base_dir))
        taken = frozenset(Signal) if rule is None else frozenset(rule.paths)
        declared = () if rule is None else rule.headers
        return cls(chosen, taken, declared, receiver, parts.clock, parts.rng)

    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        """At most 3 tries within `deadline_s`; a signal that is not taken is rejected unsent."""
        body = otlp.encode(canary, self.options.metric)
        tries = await tried(
            lambda left_s: self._try(canary, body, left_s), deadline_s, self.clock, self.rng
        )
        return tries.receipt(len(body), self.options.redacted)

    async def close(self) -> None:
        """End the connection."""
        await self.receiver.close()

    async def _try(self, canary: Canary, body: bytes, left_s: float) -> Attempt:
        if canary.signal not in self.signals_taken:
            return rejected(Reason.INJECT, f"the receiver takes no {canary.signal}")
        try:
            metadata = self._metadata()
        except CoalmineError as exc:
            return rejected(Reason.AUTH, str(exc))
        gzip = self.options.compression == "gzip"
        message = Message(METHODS[canary.signal], body, metadata, gzip)
        answer = await self.receiver.export(message, left_s)
        if isinstance(answer, Attempt):
            return answer
        return judged(otlp.parse_reply, canary.signal, answer)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of one call, secrets revealed now. Raises CoalmineError."""
        own = checked_metadata(self.options.request_headers())
        named = {name for name, _ in own}
        declared = checked_metadata(self.declared)
        return (*(pair for pair in declared if pair[0] not in named), *own)
