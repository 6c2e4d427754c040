"""What every store behind one HTTP API has in common: a kind adds only how *it* is asked."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self, cast

from pydantic import Field

from core.clock import Clock
from core.kinds import FactSpec, Parts
from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.access import TENANT_HEADER, AccessOptions
from selfcheck.backends.http import ReadError, ReadSession, StoreClient
from selfcheck.backends.protocol import (
    AccessPath,
    Backend,
    Dedupe,
    Linked,
    Newest,
    Question,
    Reading,
)
from selfcheck.backends.sightings import Record, sightings


class HttpStoreOptions(AccessOptions):
    """What may be written under a backend that is one HTTP API."""

    tenant_header: ClassVar[str] = TENANT_HEADER

    url: Annotated[str, Field(pattern=r"^https?://.+$", description="Base URL of the API.")]

    def tenant_headers(self) -> tuple[tuple[str, str], ...]:
        """The tenant as this store is told it; none without a tenant."""
        return ((self.tenant_header, self.tenant),) if self.tenant else ()

    def request_headers(self) -> tuple[tuple[str, str], ...]:
        """Headers of one read, secrets revealed now. Raises CoalmineError for a lost secret."""
        auth = (self.auth.header(),) if self.auth else ()
        return (*self.tenant_headers(), *self.headers.items(), *auth)


@dataclass(frozen=True, slots=True)
class HttpStore(Backend):
    """One session a read: shared deadline, caps, and every trouble as a broken reading."""

    options_model: ClassVar[type[Options]] = HttpStoreOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.READBACK, Reason.AUTH, Reason.THROTTLED, Reason.BACKEND_PROTOCOL, Reason.TIMEOUT}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()

    options: HttpStoreOptions
    client: StoreClient
    clock: Clock

    @classmethod
    def build(cls, options: Options, parts: Parts) -> Self:
        """A reader for `options`."""
        chosen = cast("HttpStoreOptions", options)
        client = StoreClient.of(chosen.url, chosen, parts, cls.told)
        return cls(chosen, client, parts.clock)

    @staticmethod
    def told(_response: Response) -> Reason | None:
        """What a refusal says beyond its status (a throttle in the words of a 400); None: nothing.

        Kinds whose stores have words of their own say so here.
        """
        return None

    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        """All canaries of `question`; nothing asked for is a complete answer of nothing."""
        session = self.client.session(deadline_s)
        if not question.canaries:
            return Reading.full((), session.asked, 0.0, 0)
        try:
            records = await self.records(session, question, path)
            dedupe = await self.kept(session, path) if records else self.declaration.dedupe
        except ReadError as exc:
            return Reading.broken(
                exc.reason, exc.detail, session.asked, session.elapsed_s, exc.retry_after_s
            )
        seen = sightings(records, question.canaries, dedupe)
        return Reading.full(seen, session.asked, session.elapsed_s, session.body_bytes)

    @property
    def skew_s(self) -> float | None:
        """By the Date of the newest answer."""
        return self.client.skew.skew_s

    async def newest(self, selector: str, window_s: float, deadline_s: float) -> Newest:
        """Stamp of the newest record of `selector` in the last `window_s` seconds."""
        try:
            stamp_ns = await self.newest_ns(self.client.session(deadline_s), selector, window_s)
        except ReadError as exc:
            return Newest(False, None, exc.reason, exc.detail)
        return Newest(True, stamp_ns, Reason.OK, "")

    async def linked(
        self, ask: Callable[[ReadSession], Awaitable[Iterable[str]]], deadline_s: float
    ) -> Linked:
        """What `ask` finds, each once, in its order: the answer of a link or trace reader."""
        try:
            found = await ask(self.client.session(deadline_s))
        except ReadError as exc:
            return Linked(False, (), exc.reason, exc.detail)
        return Linked(True, tuple(dict.fromkeys(found)), Reason.OK, "")

    async def kept(self, session: ReadSession, path: AccessPath) -> Dedupe:
        """What this very server does with doubled records, where that is for it to say."""
        del session, path
        return self.declaration.dedupe

    @abstractmethod
    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Every record that `path` shows, paged to the end. Raises ReadError when incomplete."""

    @abstractmethod
    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Newest event time in Unix ns, None when there is no record. Raises ReadError."""
