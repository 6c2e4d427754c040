"""PutTraceSegments (docs.aws.amazon.com, 2026-11): 200, and the segments that were not processed."""

import json

from core.outbound.protocol import Request
from core.reason import Reason
from selfcheck.canary.model import Signal
from tests.contracts.injectors.dialect import Dialect, Said, Seen


def _parse(_signal: Signal, request: Request) -> Seen:
    (document,) = json.loads(request.body)["TraceSegmentDocuments"]
    segment = json.loads(document)
    version, first, rest = segment["trace_id"].split("-")
    assert (version, len(first), len(rest), len(segment["id"])) == ("1", 8, 24, 16)
    assert segment["end_time"] > segment["start_time"]
    stamp_ns = round(segment["start_time"] * 1e6) * 1000
    return Seen(segment["annotations"]["canary_id"], stamp_ns, first + rest)


def _answer(*unprocessed: dict[str, str]) -> Said:
    return Said(200, json.dumps({"UnprocessedTraceSegments": unprocessed}).encode())


_PARTIAL = {"Id": "1234567890abcdef", "ErrorCode": "BadSegment", "Message": "line too long"}
_EXPIRED = json.dumps({"__type": "ExpiredTokenException"}).encode()
DIALECTS = {
    "xray": Dialect(
        "xray",
        {Signal.TRACES: (_answer(),)},
        {
            "login_page": (Said(200, b"<html>", {"Content-Type": "text/html"}), Reason.NOT_OTLP),
            "empty": (Said(200), Reason.NOT_OTLP),
            "another_service": (Said(200, b"{}"), Reason.NOT_OTLP),
            "204": (Said(204), Reason.NOT_OTLP),
            "old_keys": (Said(400, _EXPIRED), Reason.AUTH),
        },
        _parse,
        partial=_answer(_PARTIAL),
        precision_ns=1000,
    ),
}
