"""cloudwatch_logs: logs, by a filter over the group and, apart from that, by reading the stream.

Events are found in the form that the Collector's awscloudwatchlogs exporter and AWS's own OTLP
endpoint write (a JSON object with `body` and `attributes`), and as bare lines.

Source: docs.aws.amazon.com, CloudWatch Logs API (FilterLogEvents, GetLogEvents), 2026-11.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar, cast

from pydantic import Field

from core.options import Options
from selfcheck.backends.aws_store import AwsStore, AwsStoreOptions
from selfcheck.backends.http import Json, ReadSession, integer, items, member, text
from selfcheck.backends.protocol import AccessPath, Declaration, Dedupe, Question, WriteRule
from selfcheck.backends.sightings import Record
from selfcheck.canary.fields import LOG_FIELDS
from selfcheck.canary.model import Signal

TARGET = "Logs_20140328"
CONTENT_TYPE = "application/x-amz-json-1.1"
# The names by which AWS's own OTLP endpoint is told where lines go.
GROUP_HEADER, STREAM_HEADER = "x-aws-log-group", "x-aws-log-stream"
_LOGS = frozenset({Signal.LOGS})
_SHOWS = frozenset(LOG_FIELDS)
BY_ID = AccessPath("by_id", 1.0, batched=True, signals=_LOGS, shows=_SHOWS)
SEARCH = AccessPath("search", 1.0, batched=True, signals=_LOGS, shows=_SHOWS)
_MS = 1_000_000
_NO_GROUP = "ResourceNotFoundException"
# A quoted phrase of these characters means itself in a filter pattern.
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,900}")


class CloudwatchLogsOptions(AwsStoreOptions):
    """What may be written under a backend of kind `cloudwatch_logs`."""

    log_group: Annotated[str, Field(min_length=1, description="Log group that is read.")] = (
        "coalmine"
    )
    log_stream: Annotated[
        str, Field(min_length=1, description="Its stream that canaries are written to.")
    ] = "coalmine"
    row_limit: Annotated[int, Field(ge=2, le=10_000, description="Events of one page.")] = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """One log event: its own time, its body, its attributes and its fields.

    is_record: whether it was written as one; else it is a line.
    """

    stamp_ns: int
    body: str
    attributes: Mapping[str, str]
    fields: Mapping[str, str]
    is_record: bool


@dataclass(frozen=True, slots=True)
class CloudwatchLogsBackend(AwsStore):
    """Reads canaries and the newest events of sources from CloudWatch Logs."""

    options_model: ClassVar[type[Options]] = CloudwatchLogsOptions
    service: ClassVar[str] = "logs"
    declaration: ClassVar[Declaration] = Declaration(
        signals=_LOGS,
        paths=(BY_ID, SEARCH),
        precision_ns=_MS,
        dedupe=Dedupe.KEEPS,
        dedupe_note="the same event twice is two events",
        row_limit=10_000,
        absent="200 without events; a group or stream that is not there is a 400 and absent too",
        source="docs.aws.amazon.com CloudWatch Logs API reference, 2026-11",
        proved=("moto 5.2.5",),
        fake=True,
        impossible={
            "indexing delay": "the fake shows events at once; AWS does after some seconds",
            "throttling": "the fake never throttles: tried against scripted answers only",
        },
    )

    options: CloudwatchLogsOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """PutLogEvents into the group and stream that are read."""
        chosen = cast("CloudwatchLogsOptions", options)
        where = ((GROUP_HEADER, chosen.log_group), (STREAM_HEADER, chosen.log_stream))
        taken, paths = frozenset({int(HTTPStatus.OK)}), {Signal.LOGS: "/"}
        return {"cloudwatch_logs": WriteRule(chosen.url, paths, taken, False, where)}

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Events with the ids of `question`: by attribute in the group, by word in the stream."""
        ids = frozenset(canary.canary_id for canary in question.canaries)
        start_ms, end_ms = question.start_ns // _MS, question.end_ns // _MS + 1
        if path.name == BY_ID.name:
            found = self._filtered(session, _pattern(question), start_ms, end_ms)
        else:
            found = self._stream(session, start_ms, end_ms)
        return [
            Record(_id_of(one, ids, path), one.stamp_ns, one.body, None, one.attributes, one.fields)
            async for one in found
        ]

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest event in the group that matches the filter pattern `selector`."""
        now_s = self.clock.utc().timestamp()
        start_ms, end_ms = int((now_s - window_s) * 1000), int(now_s * 1000) + 1
        found = self._filtered(session, selector, start_ms, end_ms)
        return max([one.stamp_ns async for one in found], default=None)

    async def _filtered(
        self, session: ReadSession, pattern: str, start_ms: int, end_ms: int
    ) -> AsyncIterator[Event]:
        """Events of the group; a page may be empty and not the last one."""
        asked: dict[str, Json] = {"filterPattern": pattern, **self._span(start_ms, end_ms)}
        while True:
            answer = await self._asked(session, "FilterLogEvents", asked)
            if answer is None:
                return
            for event in _events(answer):
                yield event
            token = cast("Mapping[str, Json]", answer).get("nextToken")
            if token is None:
                return
            asked["nextToken"] = text(token)

    async def _stream(
        self, session: ReadSession, start_ms: int, end_ms: int
    ) -> AsyncIterator[Event]:
        """Events of the stream; its end is a token that comes back as it was sent."""
        asked: dict[str, Json] = {
            "logStreamName": self.options.log_stream,
            "startFromHead": True,
            **self._span(start_ms, end_ms),
        }
        while True:
            answer = await self._asked(session, "GetLogEvents", asked)
            if answer is None:
                return
            for event in _events(answer):
                yield event
            token = text(member(answer, "nextForwardToken"))
            if token == asked.get("nextToken"):
                return
            asked["nextToken"] = token

    def _span(self, start_ms: int, end_ms: int) -> dict[str, Json]:
        """The end of GetLogEvents is exclusive, that of FilterLogEvents is not."""
        return {
            "logGroupName": self.options.log_group,
            "startTime": start_ms,
            "endTime": end_ms,
            "limit": self.options.row_limit,
        }

    async def _asked(
        self, session: ReadSession, action: str, asked: Mapping[str, Json]
    ) -> Json | None:
        headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": f"{TARGET}.{action}"}
        return await self.document(session, "/", asked, headers, absent=_NO_GROUP)


def _pattern(question: Question) -> str:
    """A phrase that every event in question holds: the id of one, the instance of several.

    How a pattern escapes what is no plain character is not told by the documentation: then the
    instance is asked for, and if need be everything.
    """
    first = question.canaries[0]
    exact = first.canary_id if len(question.canaries) == 1 else first.service_instance
    phrase = next((p for p in (exact, first.service_instance) if _PLAIN.fullmatch(p)), "")
    return f'"{phrase}"' if phrase else ""


def _events(answer: Json) -> list[Event]:
    return [
        _event(integer(member(one, "timestamp")), text(member(one, "message")))
        for one in items(member(answer, "events"))
    ]


def _event(stamp_ms: int, message: str) -> Event:
    """An event as it was written: a JSON object with a body, or a line that is its own body."""
    try:
        told = json.loads(message)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("body"), str):
        return Event(stamp_ms * _MS, message, {}, {}, is_record=False)
    named = told.get("attributes")
    attributes = named if isinstance(named, dict) else {}
    shown = {name: value for name, value in attributes.items() if isinstance(value, str)}
    return Event(stamp_ms * _MS, told["body"], shown, _fields(told), is_record=True)


def _fields(told: Mapping[str, Json]) -> dict[str, str]:
    """Those of a record that has any, under the exporter's names or those of OTLP in JSON.

    A line of `inject: {kind: file}` that an agent passes on as it is has a severity without number.
    """
    found = {name: told.get(name, told.get(_camel(name))) for name in LOG_FIELDS}
    if found["severity_text"] is None and found["severity_number"] is None and "severity" in told:
        found["severity_text"] = told["severity"]
        del found["severity_number"]
    if all(value is None for value in found.values()):
        return {}
    return {name: "" if value is None else str(value) for name, value in found.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _id_of(event: Event, ids: frozenset[str], path: AccessPath) -> str:
    """By id its attribute, where it is a record; else a wanted id as a whole word of the body.

    A record without attributes has lost them: only the other path may find it.
    """
    if path.name == BY_ID.name and event.is_record:
        return event.attributes.get("canary.id", "")
    return next((word for word in event.body.split() if word in ids), "")
