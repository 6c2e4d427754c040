"""s3: one canary as an object of its own; its key and its document follow from it.

Accepted means 200 with an ETag. An InternalError leaves it open whether the object is there, and a
further PUT of the same key does no harm. Nothing is read before it is written: stores have been
known to keep the answer that it is not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote

from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Sent, Signal
from selfcheck.injectors.aws_posting import AwsInjector, AwsPostingOptions
from selfcheck.injectors.posting import Attempt, Parcel, accepted, rejected
from selfcheck.objects import CONTENT_TYPE, encode, key_of


class S3InjectOptions(AwsPostingOptions):
    """What may be written under `inject: {kind: s3}`; `url` ends with bucket and prefix."""


@dataclass(frozen=True, slots=True)
class S3Injector(AwsInjector):
    """Puts canaries into a bucket."""

    options_model: ClassVar[type[Options]] = S3InjectOptions
    service: ClassVar[str] = "s3"
    signals: ClassVar[frozenset[Signal]] = frozenset(Signal)
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "200 with an ETag",
        Sent.REJECTED: "no connection, another status, SlowDown, an answer without ETag",
        Sent.MAYBE: "InternalError, or a connection stood and no complete answer came",
    }
    source: ClassVar[str] = "docs.aws.amazon.com Amazon S3 API, PutObject, 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("moto 5.2.5 (a fake)",)
    other_receiver: ClassVar[WriteRule] = WriteRule(
        "", dict.fromkeys(Signal, "/"), frozenset({200}), empty_body=True
    )

    options: S3InjectOptions

    def parcel(self, canary: Canary) -> Parcel:
        """The canary's document."""
        return Parcel(encode(canary), (("Content-Type", CONTENT_TYPE),), method="PUT")

    def path(self, canary: Canary) -> str | None:
        """The object's own place below the prefix."""
        place = self.rule.paths.get(canary.signal)
        return None if place is None else place + quote(key_of(canary), safe="-_.~/")

    def reply(self, canary: Canary, response: Response) -> Attempt:
        """Accepted by an object store's answer only: every one of them tells the object's ETag."""
        del canary
        if not response.header("etag"):
            return rejected(Reason.NOT_OTLP, f"HTTP {response.status} without ETag")
        return accepted()
