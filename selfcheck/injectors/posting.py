"""What every injector over HTTP has in common: tries under one deadline, and what each proves.

A kind adds only how a canary is written and how its receiver says yes. Never connected is proof of
a refusal; connected and unanswered is proof of nothing; a refusal in words is final or may be
retried as the OTLP specification has it ("OTLP/HTTP Response", "Failures").
"""

import random
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, ClassVar, Self, cast

from pydantic import Field

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import FactSpec, Parts
from core.options import Options
from core.outbound.protocol import Outbound, Request, Response, Tls, Trouble
from core.reason import Reason
from core.text import safe_text
from selfcheck.access import AccessOptions
from selfcheck.backends.http import backoff_s, retry_after_s
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Receipt, Sent
from selfcheck.injectors.protocol import Injector

MAX_TRIES = 3
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
class Attempt:
    """What one try came to.

    retry: another one is allowed. left: the request may have been taken. silent: a connection
    stood and no answer came. wait_s: what the receiver asked for.
    """

    sent: Sent
    reason: Reason
    detail: str
    retry: bool
    left: bool = False
    silent: bool = False
    wait_s: float | None = None


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
        started_s = self.clock.monotonic()
        parcel = self.parcel(canary)
        tries, first, attempt = 0, Sent.MAYBE, _no_time(deadline_s)
        while (left_s := started_s + deadline_s - self.clock.monotonic()) > 0:
            attempt = await self._try(canary, parcel, left_s, attempt)
            tries += 1
            first = attempt.sent if tries == 1 else first
            pause_s = self._pause_s(attempt, tries, started_s + deadline_s)
            if pause_s is None:
                break
            await self.clock.sleep(pause_s)
        elapsed_s = self.clock.monotonic() - started_s
        attempt = self._final(attempt, started_s + deadline_s)
        detail = safe_text(self.options.redacted(attempt.detail), 300)
        size = len(parcel.body)
        return Receipt(
            attempt.sent, attempt.reason, detail, tries, first, elapsed_s, size, attempt.silent
        )

    def _pause_s(self, attempt: Attempt, tries: int, ends_s: float) -> float | None:
        """Seconds before the next try; None when this one is final."""
        if not attempt.retry or tries >= MAX_TRIES:
            return None
        wait_s = attempt.wait_s if attempt.wait_s is not None else backoff_s(tries, self.rng)
        return wait_s if self.clock.monotonic() + wait_s < ends_s else None

    def _final(self, attempt: Attempt, ends_s: float) -> Attempt:
        """A receiver that asks for a wait beyond the deadline has refused: it is throttling."""
        wait_s = attempt.wait_s
        if attempt.sent is not Sent.REJECTED or wait_s is None or not attempt.retry:
            return attempt
        if self.clock.monotonic() + wait_s < ends_s:
            return attempt
        return replace(attempt, reason=Reason.THROTTLED)

    async def _try(self, canary: Canary, parcel: Parcel, left_s: float, before: Attempt) -> Attempt:
        path = self.path(canary)
        if path is None:
            return rejected(Reason.INJECT, f"the receiver takes no {canary.signal}")
        try:
            request = self.request(path, parcel, left_s)
        except CoalmineError as exc:
            return rejected(Reason.AUTH, str(exc))
        answer = await self.outbound.fetch(request)
        attempt = _trouble(answer) if isinstance(answer, Trouble) else self._judge(canary, answer)
        # An earlier try that may have arrived stays possible whatever a later one says.
        if before.left and attempt.sent is Sent.REJECTED:
            return replace(attempt, sent=Sent.MAYBE, reason=Reason.MAYBE_SENT, left=True)
        return attempt

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


def accepted(message: str = "") -> Attempt:
    """The receiver took the canary; that says nothing of its being stored."""
    return Attempt(Sent.ACCEPTED, Reason.OK, message, retry=False)


def rejected(reason: Reason, detail: str) -> Attempt:
    """Proof that the receiver did not take it; never tried again."""
    return Attempt(Sent.REJECTED, reason, detail, retry=False)


def first_text(body: bytes) -> str:
    """The beginning of an error body: text, JSON or protobuf, whatever was asked for."""
    return body[:1024].decode(errors="replace")


def _no_time(deadline_s: float) -> Attempt:
    # Not tried is no proof of anything about the receiver.
    return Attempt(Sent.MAYBE, Reason.HARNESS, f"no time to try in {deadline_s:g} s", retry=False)


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
