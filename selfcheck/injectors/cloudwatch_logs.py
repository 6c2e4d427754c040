"""cloudwatch_logs: one log line by PutLogEvents, in the form of the Collector's own exporter.

Accepted means 200 and an answer that lists no event as too old, too new or expired. Group and
stream must be there: Coalmine makes none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.backends.cloudwatch_logs import CONTENT_TYPE, GROUP_HEADER, STREAM_HEADER, TARGET
from selfcheck.backends.http import ReadError, parse_json
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Sent, Signal
from selfcheck.injectors.aws_posting import AwsInjector, AwsPostingOptions
from selfcheck.injectors.posting import Attempt, Parcel, accepted, rejected

_MS = 1_000_000


class CloudwatchLogsInjectOptions(AwsPostingOptions):
    """What may be written under `inject: {kind: cloudwatch_logs}`."""

    log_group: Annotated[
        str, Field(description="Log group; not needed with `to`, which names it.")
    ] = ""
    log_stream: Annotated[str, Field(description="Its stream; as the group.")] = ""


@dataclass(frozen=True, slots=True)
class CloudwatchLogsInjector(AwsInjector):
    """Puts canaries into a stream of CloudWatch Logs."""

    options_model: ClassVar[type[Options]] = CloudwatchLogsInjectOptions
    service: ClassVar[str] = "logs"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.LOGS})
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "200 and an answer that rejects no event",
        Sent.REJECTED: "no connection, another status, an event too old, too new or expired",
        Sent.MAYBE: "an internal error, or a connection stood and no complete answer came",
    }
    source: ClassVar[str] = "docs.aws.amazon.com CloudWatch Logs API, PutLogEvents, 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("moto 5.2.5 (a fake)",)
    other_receiver: ClassVar[WriteRule] = WriteRule(
        "",
        {Signal.LOGS: "/"},
        frozenset({200}),
        empty_body=False,
        headers=((GROUP_HEADER, "coalmine"), (STREAM_HEADER, "coalmine")),
    )

    options: CloudwatchLogsInjectOptions

    def parcel(self, canary: Canary) -> Parcel:
        """One event; its time is in milliseconds."""
        named = dict(self.rule.headers)
        document = {
            "logGroupName": self.options.log_group or named.get(GROUP_HEADER, ""),
            "logStreamName": self.options.log_stream or named.get(STREAM_HEADER, ""),
            "logEvents": [{"timestamp": canary.stamp_ns // _MS, "message": message(canary)}],
        }
        headers = (("Content-Type", CONTENT_TYPE), ("X-Amz-Target", f"{TARGET}.PutLogEvents"))
        return Parcel(json.dumps(document).encode(), headers)

    def reply(self, canary: Canary, response: Response) -> Attempt:
        """Accepted only by the service's own answer."""
        del canary
        try:
            told = parse_json(response.body)
        except ReadError as exc:
            return rejected(Reason.NOT_OTLP, exc.detail)
        if not isinstance(told, Mapping):
            return rejected(Reason.NOT_OTLP, "an answer that is no object")
        if told.get("rejectedLogEventsInfo"):
            return rejected(Reason.PARTIAL_SUCCESS, json.dumps(told["rejectedLogEventsInfo"]))
        return accepted()


def message(canary: Canary) -> str:
    """The event's text: what the Collector's awscloudwatchlogs exporter writes for a log record."""
    return json.dumps(
        {
            "body": canary.body,
            "severity_number": canary.severity_number,
            "severity_text": canary.severity_text,
            "trace_id": canary.trace_id.hex(),
            "span_id": canary.span_id.hex(),
            "attributes": dict(canary.attributes),
            "resource": {
                "service.name": canary.service_name,
                "service.instance.id": canary.service_instance,
            },
        },
        ensure_ascii=False,
    )
