"""embedded: the built-in store, all three signals, over its own query API.

Serves the loopback proof and the demo: a canary that comes back from here proves our own sending,
reading and judging.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar, Self, cast

from pydantic import Field

from core.clock import Clock
from core.kinds import FactSpec, Parts
from core.options import Options
from core.reason import Reason
from selfcheck.access import AccessOptions
from selfcheck.backends.http import (
    Json,
    ReadError,
    ReadSession,
    StoreClient,
    integer,
    items,
    member,
    number,
    strings,
    text,
)
from selfcheck.backends.protocol import (
    AccessPath,
    Backend,
    Declaration,
    Dedupe,
    Newest,
    Question,
    Reading,
    WriteRule,
)
from selfcheck.backends.sightings import Record, sightings
from selfcheck.canary.model import Signal
from selfcheck.otlp import DEFAULT_PATHS

_ALL = frozenset(Signal)
BY_ID = AccessPath("by_id", 0.0, batched=False, signals=_ALL)
SEARCH = AccessPath("search", 0.0, batched=True, signals=_ALL)


class EmbeddedOptions(AccessOptions):
    """What may be written under a backend of kind `embedded`."""

    url: Annotated[str, Field(pattern=r"^https?://.+$", description="Base URL of the store.")]
    row_limit: Annotated[int, Field(ge=1, le=1000, description="Records of one page.")] = 500


@dataclass(frozen=True, slots=True)
class EmbeddedBackend(Backend):
    """Reads canaries and the newest records of services from the built-in store."""

    options_model: ClassVar[type[Options]] = EmbeddedOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.READBACK, Reason.AUTH, Reason.THROTTLED, Reason.BACKEND_PROTOCOL, Reason.TIMEOUT}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    declaration: ClassVar[Declaration] = Declaration(
        signals=_ALL,
        paths=(BY_ID, SEARCH),
        precision_ns=1,
        dedupe=Dedupe.KEEPS,
        dedupe_note="every record that arrives is kept",
        row_limit=500,
        absent='200 with "records": []',
        source="selfcheck/embedded/store.py",
    )

    options: EmbeddedOptions
    client: StoreClient
    clock: Clock

    @classmethod
    def build(cls, options: Options, parts: Parts) -> Self:
        """A reader for `options`."""
        chosen = cast("EmbeddedOptions", options)
        return cls(chosen, StoreClient.of(chosen.url, chosen, parts), parts.clock)

    @classmethod
    def write_rule(cls, options: Options) -> WriteRule | None:
        """The store takes OTLP as the specification says."""
        chosen = cast("EmbeddedOptions", options)
        return WriteRule(chosen.url, DEFAULT_PATHS, frozenset({HTTPStatus.OK}), empty_body=False)

    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        """Records with the ids of `question`."""
        session = self.client.session(deadline_s)
        if not question.canaries:
            return Reading.full((), session.asked, 0.0, 0)
        ask = _by_id if path.name == BY_ID.name else self._search
        try:
            records = [_record(found) for found in await ask(session, question)]
        except ReadError as exc:
            return Reading.broken(
                exc.reason, exc.detail, session.asked, session.elapsed_s, exc.retry_after_s
            )
        seen = sightings(records, question.canaries, self.declaration.dedupe)
        return Reading.full(seen, session.asked, session.elapsed_s, session.body_bytes)

    async def newest(self, selector: str, window_s: float, deadline_s: float) -> Newest:
        """Newest record of `selector`, written `signal:service`, in the last `window_s`."""
        session = self.client.session(deadline_s)
        signal, _, service = selector.partition(":")
        start_ns = int((self.clock.utc().timestamp() - window_s) * 1e9)
        query = {"signal": signal, "service": service, "start_ns": str(start_ns)}
        try:
            found = member(await session.get("/api/v1/newest", query), "stamp_ns")
            stamp_ns = None if found is None else integer(found)
        except ReadError as exc:
            return Newest(False, None, exc.reason, exc.detail)
        return Newest(True, stamp_ns, Reason.OK, "")

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
    )
