"""The Pushgateway (its README, "API", 2026-11): 200, 202 of old ones, 400 in text."""

from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from core.outbound.protocol import Request
from core.reason import Reason
from selfcheck.canary.model import Signal
from tests.contracts.injectors.dialect import Dialect, Said, Seen


def _parse(_signal: Signal, request: Request) -> Seen:
    (family,) = text_string_to_metric_families(request.body.decode())
    (sample,) = family.samples
    assert sample.timestamp is None, "a Pushgateway refuses stamps"
    words = urlsplit(request.url).path.split("/")[2:]
    group = dict(zip(words[::2], words[1::2], strict=True))
    return Seen(None, None, None, value=sample.value, series={**group, **sample.labels})


DIALECTS = {
    "pushgateway": Dialect(
        "pushgateway",
        {Signal.METRICS: (Said(200), Said(202))},
        {
            "login_page": (Said(200, b"<html>", {"Content-Type": "text/html"}), Reason.NOT_OTLP),
            "204": (Said(204), Reason.NOT_OTLP),
            "redirect": (Said(302, b"", {"Location": "/login"}), Reason.NOT_OTLP),
        },
        _parse,
        remark=Said(200, b"use the other port"),
        whole="a put replaces its group or does not",
        method="PUT",
    ),
}
