"""embedded: the built-in store, all three signals, over its own query API.

A canary that comes back from here proves our own sending, reading and judging.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, ClassVar, cast

from pydantic import Field

from core.options import Options
from core.reason import Reason
from selfcheck.backends.http import (
    Json,
    ReadError,
    ReadSession,
    integer,
    items,
    member,
    number,
    strings,
    text,
)
from selfcheck.backends.http_store import HttpStore, HttpStoreOptions
from selfcheck.backends.protocol import (
    AccessPath,
    Declaration,
    Dedupe,
    Linked,
    Question,
    WriteRule,
)
from selfcheck.backends.sightings import Record
from selfcheck.canary.fields import LOG_FIELDS, SPAN_FIELDS
from selfcheck.canary.model import Canary, Signal
from selfcheck.otlp import DEFAULT_PATHS

_ALL = frozenset(Signal)
_SHOWS = frozenset({*LOG_FIELDS, *SPAN_FIELDS})
BY_ID = AccessPath("by_id", 0.0, batched=False, signals=_ALL, shows=_SHOWS)
SEARCH = AccessPath("search", 0.0, batched=True, signals=_ALL, shows=_SHOWS)


class EmbeddedOptions(HttpStoreOptions):
    """What may be written under a backend of kind `embedded`."""

    row_limit: Annotated[int, Field(ge=1, le=1000, description="Records of one page.")] = 500


@dataclass(frozen=True, slots=True)
class EmbeddedBackend(HttpStore):
    """Reads canaries and the newest records of services from the built-in store."""

    options_model: ClassVar[type[Options]] = EmbeddedOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=_ALL,
        paths=(BY_ID, SEARCH),
        precision_ns=1,
        dedupe=Dedupe.KEEPS,
        dedupe_note="every record that arrives is kept",
        row_limit=500,
        absent='200 with "records": []',
        source="selfcheck/embedded/store.py",
        proved=("the built-in store",),
    )

    options: EmbeddedOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """The store takes OTLP as the specification says."""
        chosen = cast("EmbeddedOptions", options)
        taken = frozenset({int(HTTPStatus.OK)})
        return {"otlp_http": WriteRule(chosen.url, DEFAULT_PATHS, taken, empty_body=False)}

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Records with the ids of `question`; samples that others stamped are known by value."""
        ask = _by_id if path.name == BY_ID.name else self._search
        found = [_record(one) for one in await ask(session, question)]
        if question.stamped:
            return found
        ids = {canary.value: canary.canary_id for canary in question.canaries}
        return [
            replace(one, canary_id=ids[one.value])
            for one in found
            if one.value is not None and one.value in ids
        ]

    async def trace_ids(self, canary: Canary, deadline_s: float) -> Linked:
        """The trace id that the stored record of `canary` carries."""
        query = {"signal": str(canary.signal), "id": canary.canary_id}
        return await self._linked(query, "trace_id", deadline_s)

    async def canaries_in(self, trace_id: str, deadline_s: float) -> Linked:
        """Ids of the canaries whose spans are in one trace."""
        query = {"signal": str(Signal.TRACES), "trace_id": trace_id}
        return await self._linked(query, "id", deadline_s)

    async def _linked(self, query: Mapping[str, str], key: str, deadline_s: float) -> Linked:
        session = self.client.session(deadline_s)
        try:
            found = items(member(await session.get("/api/v1/records", query), "records"))
            shown = [text(member(one, key)) for one in found]
        except ReadError as exc:
            return Linked(False, (), exc.reason, exc.detail)
        return Linked(True, tuple(dict.fromkeys(filter(None, shown))), Reason.OK, "")

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest record of `selector`, written `signal:service`."""
        signal, _, service = selector.partition(":")
        start_ns = int((self.clock.utc().timestamp() - window_s) * 1e9)
        query = {"signal": signal, "service": service, "start_ns": str(start_ns)}
        found = member(await session.get("/api/v1/newest", query), "stamp_ns")
        return None if found is None else integer(found)

    async def _search(self, session: ReadSession, question: Question) -> Sequence[Json]:
        query = {
            "signal": str(question.signal),
            "route": question.route,
            "instance": question.canaries[0].service_instance,
            "start_ns": str(question.start_ns),
            "end_ns": str(question.end_ns),
            "limit": str(self.options.row_limit),
        }
        found: list[Json] = []
        while True:
            answer = await session.get("/api/v1/search", query)
            found += items(member(answer, "records"))
            following = member(answer, "next")
            if following is None:
                return found
            query["after"] = str(integer(following))


async def _by_id(session: ReadSession, question: Question) -> Sequence[Json]:
    found: list[Json] = []
    for canary in question.canaries:
        query = {"signal": str(question.signal), "id": canary.canary_id}
        if not question.stamped:
            series = {"route": question.route, "instance": canary.service_instance}
            query = {"signal": str(question.signal), **series, "value": repr(canary.value)}
        found += items(member(await session.get("/api/v1/records", query), "records"))
    return found


def _record(found: Json) -> Record:
    body, value = member(found, "body"), member(found, "value")
    return Record(
        text(member(found, "id")),
        integer(member(found, "stamp_ns")),
        None if body is None else text(body),
        None if value is None else number(value),
        strings(member(found, "attributes")),
        strings(member(found, "fields")),
    )
