"""xray: one canary as a segment, by PutTraceSegments.

Accepted means 200 and an answer that lists no segment as unprocessed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.backends.http import ReadError, items, member, parse_json
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Sent, Signal
from selfcheck.injectors.aws_posting import AwsInjector, AwsPostingOptions
from selfcheck.injectors.posting import Attempt, Parcel, accepted, rejected
from selfcheck.segments import encode


class XrayInjectOptions(AwsPostingOptions):
    """What may be written under `inject: {kind: xray}`."""


@dataclass(frozen=True, slots=True)
class XrayInjector(AwsInjector):
    """Puts canaries into X-Ray."""

    options_model: ClassVar[type[Options]] = XrayInjectOptions
    service: ClassVar[str] = "xray"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.TRACES})
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "200 and an answer without unprocessed segments",
        Sent.REJECTED: "no connection, another status, a segment that was not processed",
        Sent.MAYBE: "an internal error, or a connection stood and no complete answer came",
    }
    source: ClassVar[str] = "docs.aws.amazon.com X-Ray API, PutTraceSegments, 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("moto 5.2.5 (a fake)",)
    other_receiver: ClassVar[WriteRule] = WriteRule(
        "", {Signal.TRACES: "/TraceSegments"}, frozenset({200}), empty_body=False
    )

    options: XrayInjectOptions

    def parcel(self, canary: Canary) -> Parcel:
        """One segment document."""
        body = json.dumps({"TraceSegmentDocuments": [encode(canary)]}).encode()
        return Parcel(body, (("Content-Type", "application/json"),))

    def reply(self, canary: Canary, response: Response) -> Attempt:
        """Accepted only by the service's own answer."""
        del canary
        try:
            refused = items(member(parse_json(response.body), "UnprocessedTraceSegments"))
        except ReadError as exc:
            return rejected(Reason.NOT_OTLP, exc.detail)
        if refused:
            return rejected(Reason.PARTIAL_SUCCESS, json.dumps(refused[0]))
        return accepted()
