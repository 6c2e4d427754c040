"""What every store behind one HTTP API has in common: a kind adds only how *it* is asked."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self, cast

from pydantic import Field

from core.clock import Clock
from core.kinds import FactSpec, Parts
from core.options import Options
from core.reason import Reason
from selfcheck.access import AccessOptions
from selfcheck.backends.http import ReadError, ReadSession, StoreClient
from selfcheck.backends.protocol import AccessPath, Backend, Newest, Question, Reading
from selfcheck.backends.sightings import Record, sightings


class HttpStoreOptions(AccessOptions):
    """What may be written under a backend that is one HTTP API."""

    url: Annotated[str, Field(pattern=r"^https?://.+$", description="Base URL of the API.")]


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
        return cls(chosen, StoreClient.of(chosen.url, chosen, parts), parts.clock)

    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        """All canaries of `question`; nothing asked for is a complete answer of nothing."""
        session = self.client.session(deadline_s)
        if not question.canaries:
            return Reading.full((), session.asked, 0.0, 0)
        try:
            records = await self.records(session, question, path)
        except ReadError as exc:
            return Reading.broken(
                exc.reason, exc.detail, session.asked, session.elapsed_s, exc.retry_after_s
            )
        seen = sightings(records, question.canaries, self.declaration.dedupe)
        return Reading.full(seen, session.asked, session.elapsed_s, session.body_bytes)

    async def newest(self, selector: str, window_s: float, deadline_s: float) -> Newest:
        """Stamp of the newest record of `selector` in the last `window_s` seconds."""
        try:
            stamp_ns = await self.newest_ns(self.client.session(deadline_s), selector, window_s)
        except ReadError as exc:
            return Newest(False, None, exc.reason, exc.detail)
        return Newest(True, stamp_ns, Reason.OK, "")

    @abstractmethod
    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Every record that `path` shows, paged to the end. Raises ReadError when incomplete."""

    @abstractmethod
    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Newest event time in Unix ns, None when there is no record. Raises ReadError."""
