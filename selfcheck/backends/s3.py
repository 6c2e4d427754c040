"""s3: canaries as objects, by their keys and by a listing of the bucket.

An object is a record of its own, so that all three signals fit: its document carries whatever its
canary does. For what logs, traces and blocks of other stores end up in.

Source: docs.aws.amazon.com, Amazon S3 API (GetObject, ListObjectsV2, error responses), 2026-11.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from http import HTTPStatus
from typing import Annotated, ClassVar, cast

from pydantic import Field

from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.aws import error_code, path_of, query_of
from selfcheck.backends.aws_store import AwsStore, AwsStoreOptions
from selfcheck.backends.http import ReadError, ReadSession
from selfcheck.backends.listing import Listed, parse_page
from selfcheck.backends.protocol import AccessPath, Declaration, Dedupe, Question, WriteRule
from selfcheck.backends.sightings import Record
from selfcheck.canary.model import Canary, Signal
from selfcheck.objects import (
    CONTENT_TYPE,
    FIELDS,
    Stored,
    decode,
    encode,
    folder_of,
    key_of,
    stamp_in,
    stamp_text,
)

_ALL = frozenset(Signal)
_SHOWS = frozenset(FIELDS)
BY_ID = AccessPath("by_id", 0.0, batched=False, signals=_ALL, shows=_SHOWS)
SEARCH = AccessPath("search", 0.0, batched=True, signals=_ALL, shows=_SHOWS)
_NOT_FOUND = frozenset({int(HTTPStatus.NOT_FOUND)})
_ABSENT = frozenset({"NoSuchKey", "NoSuchBucket"})
_EXCERPT = 120


class S3Options(AwsStoreOptions):
    """What may be written under a backend of kind `s3`."""

    bucket: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9._-]{0,255}$",
            description="Bucket below `url`; empty where `url` is the bucket's own address.",
        ),
    ] = "coalmine"
    prefix: Annotated[
        str,
        Field(
            pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*/)*$",
            description="Folders of the canaries, each with a slash behind it.",
        ),
    ] = "canaries/"
    row_limit: Annotated[int, Field(ge=1, le=1000, description="Objects of one page.")] = 1000

    def place(self, key: str = "") -> str:
        """The path of an object, or of the bucket itself."""
        return path_of(*(part for part in (self.bucket, key) if part))


@dataclass(frozen=True, slots=True)
class S3Backend(AwsStore):
    """Reads canaries from a bucket, and how new the newest object of a folder is."""

    options_model: ClassVar[type[Options]] = S3Options
    service: ClassVar[str] = "s3"
    declaration: ClassVar[Declaration] = Declaration(
        signals=_ALL,
        paths=(BY_ID, SEARCH),
        precision_ns=1,
        dedupe=Dedupe.COLLAPSES,
        dedupe_note="the same key is written over: two PUTs leave one object",
        row_limit=1000,
        absent="404 NoSuchKey; without the right to list it is 403, which is no absence",
        source="docs.aws.amazon.com Amazon S3 API reference, 2026-11",
        proved=("moto 5.2.5",),
        fake=True,
        impossible={
            "duplicates": "the same key is written over: two PUTs leave one object",
            "delete": "nothing is deleted here: a lifecycle rule on the prefix does it",
        },
    )

    options: S3Options

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """PUT below the prefix; 200 without a body, and the object's ETag as a header."""
        chosen = cast("S3Options", options)
        place = chosen.place(chosen.prefix)
        paths = {signal: place if place.endswith("/") else f"{place}/" for signal in Signal}
        taken = frozenset({int(HTTPStatus.OK)})
        return {"s3": WriteRule(chosen.url, paths, taken, True, chosen.tenant_headers())}

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Objects of the canaries in question: each opened, or by search as they are listed."""
        if path.name == BY_ID.name:
            found = [await self._object(session, canary) for canary in question.canaries]
            return [record for record in found if record is not None]
        listed = await self._listed(session, question)
        pairs = [(canary, listed.get(self._key(canary))) for canary in question.canaries]
        return [await self._shown(session, canary, one) for canary, one in pairs if one]

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest object below the prefix `selector`.

        Named by a stamp in nanoseconds it is dated by that, else by its last change, which S3
        tells in whole seconds. A prefix of more than 100 pages cannot be read.
        """
        start_ns = int((self.clock.utc().timestamp() - window_s) * 1e9)
        times = [
            stamp_in(one.key) or one.modified_ns async for one in self._pages(session, selector)
        ]
        return max((moment for moment in times if moment > start_ns), default=None)

    def _key(self, canary: Canary) -> str:
        return f"{self.options.prefix}{key_of(canary)}"

    async def _object(self, session: ReadSession, canary: Canary) -> Record | None:
        place = self.options.place(self._key(canary))
        response = await self.call(session, "GET", place, also=_NOT_FOUND)
        if response.status == HTTPStatus.NOT_FOUND:
            _absent(session, response)
            return None
        if not response.header("etag"):
            raise ReadError(Reason.BACKEND_PROTOCOL, "an answer without ETag: no object store's")
        return _record(canary, response)

    async def _shown(self, session: ReadSession, canary: Canary, listed: Listed) -> Record:
        """What a listing shows of an object: a digest where its ETag is one, else that it is there.

        An ETag that is not the document's MD5 may be that of altered content or of an encrypted
        object: only then it is opened. One that is listed and cannot be opened is there.
        """
        if listed.etag == md5(encode(canary), usedforsecurity=False).hexdigest():
            fields = {"trace_id": canary.trace_id.hex(), "span_id": canary.span_id.hex()}
            same = Stored(canary.stamp_ns, canary.body, canary.value, canary.attributes, fields)
            return _of_document(canary, same)
        opened = await self._object(session, canary)
        return opened or Record(canary.canary_id, canary.stamp_ns, None, None, {})

    async def _listed(self, session: ReadSession, question: Question) -> Mapping[str, Listed]:
        """Objects of the route in the interval; of one canary only its own key is asked for."""
        if len(question.canaries) == 1:
            own = self._key(question.canaries[0])
            return {one.key: one async for one in self._pages(session, own)}
        folder = f"{self.options.prefix}{folder_of(question.canaries[0])}"
        first = f"{folder}{stamp_text(question.start_ns)}"
        last = f"{folder}{stamp_text(question.end_ns + 1)}"
        return {one.key: one async for one in self._pages(session, folder, first, last)}

    async def _pages(
        self, session: ReadSession, prefix: str, after: str = "", last: str = ""
    ) -> AsyncIterator[Listed]:
        """Objects below `prefix` behind the key `after` and not behind `last`, page by page."""
        asked = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        asked["max-keys"] = str(self.options.row_limit)
        if after:
            asked["start-after"] = after
        while True:
            place = f"{self.options.place()}?{query_of(asked.items())}"
            response = await self.call(session, "GET", place, also=_NOT_FOUND)
            if response.status == HTTPStatus.NOT_FOUND:
                _absent(session, response)
                return
            page = parse_page(response.body)
            for one in page.objects:
                if last and one.key > last:
                    return
                yield one
            if not page.following:
                return
            asked["continuation-token"] = page.following


def _absent(session: ReadSession, response: Response) -> None:
    """Raises ReadError unless the store itself says so: a proxy on a wrong path answers 404 too."""
    if error_code(response) not in _ABSENT:
        raise session.client.refusal(response)


def _of_document(canary: Canary, stored: Stored) -> Record:
    """A sample has no fields: those of the document are there for all signals."""
    fields = {} if canary.signal is Signal.METRICS else stored.fields
    content = (stored.stamp_ns, stored.body, stored.value, stored.attributes, fields)
    return Record(canary.canary_id, *content)


def _record(canary: Canary, response: Response) -> Record:
    """The object under the canary's key; its name is its identity, its document the content."""
    stored = decode(response.body)
    if stored is not None:
        return _of_document(canary, stored)
    content_type = (response.header("content-type") or "").partition(";")[0].strip()
    if content_type != CONTENT_TYPE:
        raise ReadError(Reason.BACKEND_PROTOCOL, f"an object of type {content_type or 'none'}")
    excerpt = response.body[:_EXCERPT].decode(errors="replace")
    shown = dict.fromkeys(canary.attributes, f"not the document of a canary any more: {excerpt}")
    return Record(canary.canary_id, canary.stamp_ns, excerpt, None, shown)
