"""One export over gRPC: what leaves, and what its failure proves. Pure, and without gRPC itself.

Retryable codes: opentelemetry-proto docs/specification.md, "OTLP/gRPC Response", "Failures",
2026-11: these, and RESOURCE_EXHAUSTED only where the receiver says when (RetryInfo).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.reason import Reason
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors.tries import Attempt

METHODS: Mapping[Signal, str] = {
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
}
RETRYABLE = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
# The receiver gave up on the request: whether it had taken it by then is not known.
_ABANDONED = frozenset({"CANCELLED", "DEADLINE_EXCEEDED"})
_REASONS: Mapping[str, Reason] = {
    "UNAUTHENTICATED": Reason.AUTH,
    "PERMISSION_DENIED": Reason.AUTH,
    "RESOURCE_EXHAUSTED": Reason.THROTTLED,
    "UNIMPLEMENTED": Reason.NOT_OTLP,
}


@dataclass(frozen=True, slots=True)
class Message:
    """One export request as it leaves; metadata may hold credentials."""

    method: str
    body: bytes
    metadata: tuple[tuple[str, str], ...]
    gzip: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """A status other than OK on a connection that stood.

    code: name of the status. own_word: the receiver said so; False when the connection or the
    stream broke and the library made the status up. wait_s: RetryInfo, None without one.
    """

    code: str
    detail: str
    own_word: bool
    wait_s: float | None


def judged_failure(failed: Failed) -> Attempt:
    """The attempt that ended so."""
    retry = failed.code in RETRYABLE
    retry |= failed.code == "RESOURCE_EXHAUSTED" and failed.wait_s is not None
    detail = f"{failed.code} {failed.detail}".rstrip()
    if not failed.own_word or failed.code in _ABANDONED:
        return Attempt(
            Sent.MAYBE, Reason.MAYBE_SENT, detail, retry, left=True, wait_s=failed.wait_s
        )
    reason = _REASONS.get(failed.code, Reason.INJECT)
    return Attempt(Sent.REJECTED, reason, detail, retry, wait_s=failed.wait_s)
