"""Receivers that take one document and say yes by their status alone: what those kinds share."""

import gzip
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.canary.model import Canary
from selfcheck.injectors.posting import (
    Attempt,
    Parcel,
    PostingInjector,
    PostingOptions,
    accepted,
    first_text,
    rejected,
)


class PlainOptions(PostingOptions):
    """Keys of the kinds whose receivers take gzip."""

    compression: Annotated[
        Literal["none", "gzip"], Field(description="Encoding of the request body.")
    ] = "none"

    def parcel(self, body: bytes, content_type: str) -> Parcel:
        """`body` as it leaves, compressed where the options say so."""
        plain = (("Content-Type", content_type),)
        if self.compression == "none":
            return Parcel(body, plain)
        return Parcel(gzip.compress(body, mtime=0), (*plain, ("Content-Encoding", "gzip")))


@dataclass(frozen=True, slots=True)
class PlainInjector(PostingInjector):
    """The status decides, but a page for people is no receiver's answer."""

    def reply(self, canary: Canary, response: Response) -> Attempt:
        """Accepted, with what was said beside it; never when that is HTML: a proxy's login page."""
        del canary
        return by_status(response)


def by_status(response: Response) -> Attempt:
    """What an answer of an accepted status says where the status is all there is to say."""
    content_type = (response.header("content-type") or "").lower()
    if "html" in content_type or response.body.lstrip()[:1] == b"<":
        return rejected(Reason.NOT_OTLP, f"HTTP {response.status} with a page for people")
    return accepted(first_text(response.body))
