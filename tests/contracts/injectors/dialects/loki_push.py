"""Loki's push API (grafana.com/docs/loki, "Ingest logs", 2026-11): 204, and 400 in text."""

import gzip
import json

from core.outbound.protocol import Request
from core.reason import Reason
from selfcheck.canary.model import Signal
from tests.contracts.injectors.dialect import Dialect, Said, Seen


def _parse(_signal: Signal, request: Request) -> Seen:
    packed = dict(request.headers).get("Content-Encoding") == "gzip"
    sent = json.loads(gzip.decompress(request.body) if packed else request.body)
    (stream,) = sent["streams"]
    ((stamp, line, metadata),) = stream["values"]
    return Seen(
        metadata["canary_id"], int(stamp), metadata["trace_id"], body=line, series=stream["stream"]
    )


DIALECTS = {
    "loki_push": Dialect(
        "loki_push",
        {Signal.LOGS: (Said(204),)},
        {
            "login_page": (Said(200, b"<html>", {"Content-Type": "text/html"}), Reason.NOT_OTLP),
            "200": (Said(200), Reason.NOT_OTLP),
            "otlp": (Said(200, b"{}", {"Content-Type": "application/json"}), Reason.NOT_OTLP),
            "redirect": (Said(302, b"", {"Location": "/login"}), Reason.NOT_OTLP),
        },
        _parse,
        whole="one line a request: it is refused as a whole, with 400",
    ),
}
