"""Zipkin v2 (zipkin.io/zipkin-api, 2026-11): 202 before anything is stored."""

import gzip
import json

from core.outbound.protocol import Request
from core.reason import Reason
from selfcheck.canary.model import Signal
from tests.contracts.injectors.dialect import Dialect, Said, Seen


def _parse(_signal: Signal, request: Request) -> Seen:
    packed = dict(request.headers).get("Content-Encoding") == "gzip"
    (span,) = json.loads(gzip.decompress(request.body) if packed else request.body)
    assert len(span["traceId"]) == 32
    assert len(span["id"]) == 16
    return Seen(span["tags"]["canary.id"], span["timestamp"] * 1000, span["traceId"])


DIALECTS = {
    "zipkin": Dialect(
        "zipkin",
        {Signal.TRACES: (Said(202),)},
        {
            "login_page": (Said(200, b"<html>", {"Content-Type": "text/html"}), Reason.NOT_OTLP),
            "202_page": (Said(202, b"<html>", {"Content-Type": "text/html"}), Reason.NOT_OTLP),
            "200": (Said(200), Reason.NOT_OTLP),
            "204": (Said(204), Reason.NOT_OTLP),
            "redirect": (Said(302, b"", {"Location": "/login"}), Reason.NOT_OTLP),
        },
        _parse,
        remark=Said(202, b"use the other port"),
        whole="the list is queued or refused as a whole",
        precision_ns=1000,
    ),
}
