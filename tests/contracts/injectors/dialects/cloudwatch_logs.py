"""PutLogEvents (docs.aws.amazon.com, 2026-11): 200, and the events that were left out by index."""

import json

from core.outbound.protocol import Request
from core.reason import Reason
from selfcheck.canary.model import Signal
from tests.contracts.injectors.dialect import Dialect, Said, Seen

_YES = Said(200, b'{"nextSequenceToken": "4"}', {"Content-Type": "application/x-amz-json-1.1"})


def _parse(_signal: Signal, request: Request) -> Seen:
    assert dict(request.headers)["X-Amz-Target"] == "Logs_20140328.PutLogEvents"
    told = json.loads(request.body)
    assert (told["logGroupName"], told["logStreamName"]) == ("coalmine", "coalmine")
    (event,) = told["logEvents"]
    line = json.loads(event["message"])
    stamp_ns = event["timestamp"] * 10**6
    return Seen(line["attributes"]["canary.id"], stamp_ns, line["trace_id"], line["body"])


def _left_out(name: str) -> Said:
    return Said(200, json.dumps({"rejectedLogEventsInfo": {name: 1}}).encode(), _YES.headers)


def _error(code: str) -> Said:
    return Said(400, json.dumps({"__type": code, "message": "no"}).encode(), _YES.headers)


DIALECTS = {
    "cloudwatch_logs": Dialect(
        "cloudwatch_logs",
        {Signal.LOGS: (_YES, Said(200, b"{}"))},
        {
            "too_old": (_left_out("tooOldLogEventEndIndex"), Reason.PARTIAL_SUCCESS),
            "too_new": (_left_out("tooNewLogEventStartIndex"), Reason.PARTIAL_SUCCESS),
            "expired": (_left_out("expiredLogEventEndIndex"), Reason.PARTIAL_SUCCESS),
            "no_group": (_error("ResourceNotFoundException"), Reason.INJECT),
            "old_keys": (_error("ExpiredTokenException"), Reason.AUTH),
            "login_page": (Said(200, b"<html>", {"Content-Type": "text/html"}), Reason.NOT_OTLP),
            "empty": (Said(200), Reason.NOT_OTLP),
            "list": (Said(200, b"[]"), Reason.NOT_OTLP),
            "204": (Said(204), Reason.NOT_OTLP),
        },
        _parse,
        whole="events are left out by their index, without a word",
        precision_ns=10**6,
    ),
}
