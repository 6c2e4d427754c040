"""S3's PutObject (docs.aws.amazon.com, 2026-11): 200, no body, and the object's ETag."""

import json
from urllib.parse import unquote, urlsplit

from core.outbound.protocol import Request
from core.reason import Reason
from selfcheck.canary.model import Signal
from tests.contracts.injectors.dialect import Dialect, Said, Seen

_YES = Said(200, b"", {"ETag": '"0cc175b9c0f1b6a831c399e269772661"'})


def _parse(signal: Signal, request: Request) -> Seen:
    told = json.loads(request.body)
    key = unquote(urlsplit(request.url).path)
    assert key.endswith(f"/{signal}/r1/{told['stamp_ns']}-{told['id']}") or "/r2/" in key
    series = told["attributes"] if signal is Signal.METRICS else {}
    return Seen(
        told["id"], int(told["stamp_ns"]), told["trace_id"], told["body"], told["value"], series
    )


def _error(status: int, code: str) -> Said:
    return Said(status, f"<Error><Code>{code}</Code></Error>".encode())


DIALECTS = {
    "s3": Dialect(
        "s3",
        dict.fromkeys(Signal, (_YES,)),
        {
            "no_etag": (Said(200), Reason.NOT_OTLP),
            "login_page": (Said(200, b"<html>", {"Content-Type": "text/html"}), Reason.NOT_OTLP),
            "204": (Said(204, b"", _YES.headers), Reason.NOT_OTLP),
            "moved": (_error(301, "PermanentRedirect"), Reason.NOT_OTLP),
            "no_bucket": (_error(404, "NoSuchBucket"), Reason.INJECT),
            "expired": (_error(400, "ExpiredToken"), Reason.AUTH),
            "signature": (_error(403, "SignatureDoesNotMatch"), Reason.AUTH),
        },
        _parse,
        whole="an object is stored or refused as a whole",
        method="PUT",
    ),
}
