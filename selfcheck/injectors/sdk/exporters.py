"""The official OTLP exporters, told everything, so that they ask the environment for nothing.

What an exporter is not told it takes from OTEL_*, from proxies and from .netrc of the process that
it runs in: ours, not the application's that it stands for.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import certifi
import grpc  # type: ignore[import-untyped]  # ships no types
import requests
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.metrics import NoOpMeterProvider

from core.outbound.protocol import Tls
from selfcheck.canary.model import Signal
from selfcheck.injectors.sdk.target import Target

Exporter = HttpLogs | HttpMetrics | HttpSpans | GrpcLogs | GrpcMetrics | GrpcSpans

_HTTP: Mapping[Signal, Any] = {  # their constructors share no type
    Signal.LOGS: HttpLogs, Signal.METRICS: HttpMetrics, Signal.TRACES: HttpSpans,
}  # fmt: skip
_GRPC: Mapping[Signal, Any] = {
    Signal.LOGS: GrpcLogs, Signal.METRICS: GrpcMetrics, Signal.TRACES: GrpcSpans,
}  # fmt: skip
# The exporter's own list (1.45.2); given, because an empty one is taken from the environment.
_RETRYABLE = (
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
)
_OWN_HEADERS = frozenset(
    {"content-type", "content-encoding", "content-length", "user-agent", "accept"}
    | {"accept-encoding", "connection", "host"}
)


class _Exactly(tuple[tuple[str, str], ...]):
    """Headers that are true even when there are none: false ones are taken from the environment."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


def http_exporter(signal: Signal, target: Target) -> Exporter:
    """The exporter over HTTP/protobuf; its connections are its own (`requests`)."""
    session = requests.Session()
    session.trust_env = False
    session.auth = _only(target.headers)
    roots = str(target.tls.ca_file) if target.tls.ca_file else certifi.where()
    exporter: Exporter = _HTTP[signal](
        endpoint=target.url,
        certificate_file=roots,
        headers=dict(target.headers),
        timeout=target.timeout_s,
        compression=Compression.Gzip if target.gzip else Compression.NoCompression,
        session=session,
        meter_provider=NoOpMeterProvider(),
    )
    # Set after the exporter has: a client certificate it is not given it looks for elsewhere.
    session.cert = _pair(target.tls)
    return exporter


def grpc_exporter(signal: Signal, target: Target) -> Exporter:
    """The exporter over gRPC. Raises OSError for a certificate that cannot be read."""
    secure = target.url.startswith("https://")
    exporter: Exporter = _GRPC[signal](
        endpoint=target.url,
        insecure=not secure,
        credentials=_credentials(target.tls) if secure else None,
        headers=_Exactly(target.headers),
        timeout=target.timeout_s,
        compression=grpc.Compression.Gzip if target.gzip else grpc.Compression.NoCompression,
        channel_options=(("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)),
        retryable_error_codes=_RETRYABLE,
        meter_provider=NoOpMeterProvider(),
    )
    return exporter


def _only(headers: Sequence[tuple[str, str]]) -> Any:  # what `requests` calls an auth
    """Drops every header that is neither the exporter's own nor configured."""
    names = _OWN_HEADERS | {name.lower() for name, _ in headers}

    def clean(request: requests.PreparedRequest) -> requests.PreparedRequest:
        for name in [name for name in request.headers if name.lower() not in names]:
            del request.headers[name]
        return request

    return clean


def _pair(tls: Tls) -> tuple[str, str] | str | None:
    if tls.cert_file is None:
        return None
    return (str(tls.cert_file), str(tls.key_file)) if tls.key_file else str(tls.cert_file)


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    read = Path.read_bytes
    return grpc.ssl_channel_credentials(
        None if tls.ca_file is None else read(tls.ca_file),
        None if tls.key_file is None else read(tls.key_file),
        None if tls.cert_file is None else read(tls.cert_file),
    )
