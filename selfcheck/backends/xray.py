"""xray: traces, by trace id and by the summaries that X-Ray indexes.

Source: docs.aws.amazon.com, X-Ray API (BatchGetTraces, GetTraceSummaries), 2026-11.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, cast

from core.options import Options
from core.reason import Reason
from selfcheck.backends.aws_store import AwsStore, AwsStoreOptions
from selfcheck.backends.http import Json, ReadError, ReadSession, items, member, number, text
from selfcheck.backends.protocol import (
    AccessPath,
    Declaration,
    Dedupe,
    Linked,
    Question,
    WriteRule,
)
from selfcheck.backends.sightings import Record, sent_names
from selfcheck.canary.model import Signal
from selfcheck.segments import Segment, decode, latest, summarised, trace_id_of

_TRACES = frozenset({Signal.TRACES})
_NAME = frozenset({"span_name"})
_SHOWS = _NAME | {"span_status", "span_id", "parent_span_id", "span_duration_ns"}
BY_ID = AccessPath("by_id", 5.0, batched=False, signals=_TRACES, shows=_SHOWS)
# Not batched: several canaries are not to wait for the index where by id shows them at once.
SEARCH = AccessPath("search", 30.0, batched=False, signals=_TRACES, shows=_NAME)
_MS = 1_000_000
_IDS_IN_CALL = 5
_LONGEST_S = 6 * 3600
# Summaries are asked for by the time at which X-Ray took a segment, later than its own.
_TAKEN_WITHIN_S = 900
_JSON = {"Content-Type": "application/json"}


class XrayOptions(AwsStoreOptions):
    """What may be written under a backend of kind `xray`."""


@dataclass(frozen=True, slots=True)
class XrayBackend(AwsStore):
    """Reads canaries, whole traces and the newest traces of sources from X-Ray."""

    options_model: ClassVar[type[Options]] = XrayOptions
    service: ClassVar[str] = "xray"
    declaration: ClassVar[Declaration] = Declaration(
        signals=_TRACES,
        paths=(BY_ID, SEARCH),
        precision_ns=_MS,
        dedupe=Dedupe.COLLAPSES,
        dedupe_note="a segment replaces the one with its id: copies are not observable",
        row_limit=_IDS_IN_CALL,
        absent="200 with the id among the unprocessed ones, or left out; search without summaries",
        source="docs.aws.amazon.com X-Ray API reference, 2026-11",
        proved=("moto 5.2.5 with a front that filters and pages summaries",),
        fake=True,
        impossible={
            "duplicates": "a segment replaces the one with its id: copies are not observable",
            "indexing delay": "the fake shows summaries at once; AWS does after some seconds",
            "filter expressions": "moto knows none: a front of ours reads `annotation`, `service`",
        },
    )

    options: XrayOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """PutTraceSegments; its answer lists the segments that were not taken."""
        chosen = cast("XrayOptions", options)
        taken, paths = frozenset({int(HTTPStatus.OK)}), {Signal.TRACES: "/TraceSegments"}
        rule = WriteRule(chosen.url, paths, taken, False, chosen.tenant_headers())
        return {"xray": rule}

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Segments of the traces in question; by search what the index shows of them."""
        wanted = {trace_id_of(canary.trace_id.hex()) for canary in question.canaries}
        names = sent_names(question.canaries)
        if path.name == BY_ID.name:
            return [_record(one) for one in await self._segments(session, sorted(wanted), names)]
        found, unclear = list[Record](), set[str]()
        async for told in self._summarised(session, question):
            one = summarised(told, names)
            if text(member(told, "Id")) in wanted and one is not None:
                found.append(_record(one))
            elif one is None:
                unclear.add(text(member(told, "Id")))
        for trace_id in sorted(unclear & wanted):
            # A trace of several canaries: what of its summary belongs to which is not told.
            segments = await self._segments(session, [trace_id], names)
            if not segments:
                raise ReadError(Reason.READBACK, f"{trace_id} is indexed and cannot be opened")
            found += [_record(one) for one in segments]
        return found

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Start of the newest trace that the filter expression `selector` matches."""
        now_s = self.clock.utc().timestamp()
        found = self._summaries(session, selector, now_s - window_s, now_s + 1)
        starts = [number(member(one, "StartTime")) async for one in found]
        inside = [start_s for start_s in starts if start_s > now_s - window_s]
        return max((round(start_s * 1000) * _MS for start_s in inside), default=None)

    async def canaries_in(self, trace_id: str, deadline_s: float) -> Linked:
        """Canary ids in the trace of 32 hex digits."""

        async def ask(session: ReadSession) -> Iterable[str]:
            names = {"canary_id": "canary.id"}
            found = await self._segments(session, [trace_id_of(trace_id)], names)
            return [i for one in found if (i := one.attributes.get("canary.id"))]

        return await self.linked(ask, deadline_s)

    async def _segments(
        self, session: ReadSession, trace_ids: Sequence[str], names: Mapping[str, str]
    ) -> list[Segment]:
        """Segments of the traces, each once. Raises ReadError when a trace is not told whole."""
        unique, found = list(dict.fromkeys(trace_ids)), list[Segment]()
        for at in range(0, len(unique), _IDS_IN_CALL):
            asked: dict[str, Json] = {"TraceIds": unique[at : at + _IDS_IN_CALL]}
            while True:
                answer = await self.document(session, "/Traces", asked, _JSON)
                for trace in items(member(answer, "Traces")):
                    found += _told(trace, names)
                token = cast("Mapping[str, Json]", answer).get("NextToken")
                if token is None:
                    break
                asked["NextToken"] = text(token)
        return latest(found)

    def _summarised(self, session: ReadSession, question: Question) -> AsyncIterator[Json]:
        """What the index shows for the route in question."""
        asked = {"coalmine_route": question.route}
        if len(question.canaries) == 1:
            asked["canary_id"] = question.canaries[0].canary_id
        expression = " AND ".join(
            f"annotation.{name} = {json.dumps(value)}" for name, value in asked.items()
        )
        start_s, end_s = question.start_ns / 1e9, question.end_ns / 1e9
        end_s = max(end_s, min(end_s + _TAKEN_WITHIN_S, self.clock.utc().timestamp() + 1))
        return self._summaries(session, expression, start_s, end_s)

    async def _summaries(
        self, session: ReadSession, expression: str, start_s: float, end_s: float
    ) -> AsyncIterator[Json]:
        """Summaries of the interval, in parts of at most six hours, each paged to its end."""
        first, last = int(start_s), int(end_s) + 1
        for at in range(first, last, _LONGEST_S):
            asked: dict[str, Json] = {
                "StartTime": at,
                "EndTime": min(at + _LONGEST_S, last),
                "TimeRangeType": "Event",
                "Sampling": False,
                "FilterExpression": expression,
            }
            while True:
                answer = await self.document(session, "/TraceSummaries", asked, _JSON)
                for one in items(member(answer, "TraceSummaries")):
                    yield one
                token = cast("Mapping[str, Json]", answer).get("NextToken")
                if token is None:
                    break
                asked["NextToken"] = text(token)


def _record(one: Segment) -> Record:
    canary_id = one.attributes.get("canary.id", "")
    return Record(canary_id, one.stamp_ns, None, None, one.attributes, one.fields)


def _told(trace: Json, names: Mapping[str, str]) -> list[Segment]:
    return [
        decode(text(member(segment, "Document")), names)
        for segment in items(member(trace, "Segments"))
    ]
