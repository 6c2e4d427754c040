"""What every injector over HTTP has in common: one try, and what it proves.

A kind adds only how a canary is written and how its receiver says yes. A refusal in words is final
or may be retried as the OTLP specification has it ("OTLP/HTTP Response", "Failures").
"""

import random
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, ClassVar, Self, cast

from pydantic import Field

from core.clock import Clock, instant
from core.errors import CoalmineError
from core.kinds import FactSpec, Parts
from core.options import Options
from core.outbound.protocol import Outbound, Request, Response, Tls, Trouble
from core.reason import Reason
from selfcheck.access import AccessOptions
from selfcheck.backends.http import retry_after_s
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Receipt, Sent
from selfcheck.injectors.protocol import Injector
from selfcheck.injectors.tries import MAX_TRIES, Attempt, accepted, rejected, tried
from selfcheck.skew import SkewWatch

__all__ = [
    "MAX_TRIES",
    "Attempt",
    "Parcel",
    "PostingInjector",
    "PostingOptions",
    "accepted",
    "first_text",
    "rejected",
]

ANSWER_CAP = 64 << 10
RETRYABLE = frozenset({429, 502, 503, 504})
_REFUSALS: Mapping[int, Reason] = {
    HTTPStatus.UNAUTHORIZED: Reason.AUTH,
    HTTPStatus.FORBIDDEN: Reason.AUTH,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.THROTTLED,
}


class PostingOptions(AccessOptions):
    """Keys of every injector that sends over HTTP; `to:` is resolved by the wiring."""

    url: Annotated[
        str,
        Field(
            pattern=r"^(https?://.+)?$",
            description="Receiver's base URL; the signal's path is added. Not needed with `to`.",
        ),
    ] = ""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One request body as it leaves, with the headers that describe it."""

    body: bytes
    headers: tuple[tuple[str, str], ...]
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class PostingInjector(Injector):
    """At most three tries within one deadline; a receipt says what is proven by them."""

    options_model: ClassVar[type[Options]] = PostingOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.INJECT, Reason.PARTIAL_SUCCESS, Reason.THROTTLED, Reason.MAYBE_SENT, Reason.AUTH}
        | {Reason.REFUSED, Reason.TIMEOUT, Reason.NOT_OTLP}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    other_receiver: ClassVar[WriteRule]

    options: PostingOptions
    rule: WriteRule
    tls: Tls
    outbound: Outbound
    clock: Clock
    rng: random.Random
    skew: SkewWatch = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Nothing has answered yet."""
        object.__setattr__(self, "skew", SkewWatch(self.clock))

    @property
    def skew_s(self) -> float | None:
        """By the Date of the newest answer."""
        return self.skew.skew_s

    @classmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> Self:
        """An injector; the address comes from `url`, else from the backend's own rule."""
        chosen = cast("PostingOptions", options)
        if not chosen.url and rule is None:
            raise CoalmineError("neither url nor to is given")
        tls = chosen.tls_parameters(parts.base_dir)
        return cls(chosen, rule or cls.other_receiver, tls, parts.outbound, parts.clock, parts.rng)

    @abstractmethod
    def parcel(self, canary: Canary) -> Parcel:
        """`canary` as this receiver wants it."""

    @abstractmethod
    def reply(self, canary: Canary, response: Response) -> Attempt:
        """What an answer of an accepted status says."""

    def path(self, canary: Canary) -> str | None:
        """Path after the base URL; None when the receiver takes no such signal."""
        return self.rule.paths.get(canary.signal)

    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        """At most 3 tries within `deadline_s`; a signal without a path is rejected unsent."""
        parcel = self.parcel(canary)
        tries = await tried(
            lambda left_s: self._try(canary, parcel, left_s), deadline_s, self.clock, self.rng
        )
        return tries.receipt(len(parcel.body), self.options.redacted)

    async def _try(self, canary: Canary, parcel: Parcel, left_s: float) -> Attempt:
        path = self.path(canary)
        if path is None:
            return rejected(Reason.INJECT, f"the receiver takes no {canary.signal}")
        try:
            request = self.request(path, parcel, left_s)
        except CoalmineError as exc:
            return rejected(Reason.AUTH, str(exc))
        asked = instant(self.clock)
        answer = await self.outbound.fetch(request)
        if isinstance(answer, Trouble):
            return _trouble(answer)
        self.skew.heard(answer, asked)
        return self._judge(canary, answer)

    def request(self, path: str, parcel: Parcel, left_s: float) -> Request:
        """One try on the wire. Raises CoalmineError for a secret that cannot be read."""
        # Own headers win over those of the backend's declaration (a tenant for writing).
        own = self.options.request_headers()
        named = {name.lower() for name, _ in own}
        declared = [pair for pair in self.rule.headers if pair[0].lower() not in named]
        return Request(
            parcel.method,
            (self.options.url or self.rule.url).rstrip("/") + path,
            left_s,
            headers=(*parcel.headers, *declared, *own),
            body=parcel.body,
            reuse=True,
            max_body_bytes=ANSWER_CAP,
            tls=self.tls,
        )

    def _judge(self, canary: Canary, response: Response) -> Attempt:
        status = response.status
        if status in self.rule.accepted_status:
            return self.reply(canary, response)
        detail = f"HTTP {status} {first_text(response.body)}".rstrip()
        if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
            return rejected(Reason.NOT_OTLP, f"{detail}: not the receiver's declared status")
        reason = _REFUSALS.get(status, Reason.INJECT)
        wait_s = retry_after_s(response.header("retry-after"), self.clock.utc())
        return Attempt(Sent.REJECTED, reason, detail, status in RETRYABLE, wait_s=wait_s)


def first_text(body: bytes) -> str:
    """The beginning of an error body: text, JSON or protobuf, whatever was asked for."""
    return body[:1024].decode(errors="replace")


def _trouble(trouble: Trouble) -> Attempt:
    """No complete answer: never connected is proof of rejection, connected is proof of nothing."""
    if trouble.connected:
        silent = trouble.reason is Reason.TIMEOUT
        return Attempt(
            Sent.MAYBE, Reason.MAYBE_SENT, trouble.detail, not silent, left=True, silent=silent
        )
    if trouble.ours:
        # Nothing left this machine, and that is our doing: looked for, never called lost.
        return Attempt(Sent.MAYBE, trouble.reason, trouble.detail, retry=True)
    return Attempt(Sent.REJECTED, trouble.reason, trouble.detail, retry=True)
