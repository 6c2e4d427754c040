"""otlp_http: one canary as OTLP protobuf over HTTP, under one deadline for all tries.

Accepted means: the receiver's declared success status and a parsable OTLP answer that rejects
nothing. It says that the receiver took the canary, never that it is stored.
"""

import gzip
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, ClassVar, Literal, Self, cast

from pydantic import Field

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import FactSpec, Parts
from core.options import Options
from core.outbound.protocol import Outbound, Request, Response, Tls, Trouble
from core.reason import Reason
from core.text import safe_text
from selfcheck import otlp
from selfcheck.access import AccessOptions
from selfcheck.backends.http import backoff_s, retry_after_s
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Receipt, Sent, Signal
from selfcheck.injectors.protocol import Injector

MAX_TRIES = 3
ANSWER_CAP = 64 << 10
# OTLP specification, "OTLP/HTTP Response": only these may be retried.
RETRYABLE = frozenset({429, 502, 503, 504})
_REFUSALS: Mapping[int, Reason] = {
    HTTPStatus.UNAUTHORIZED: Reason.AUTH,
    HTTPStatus.FORBIDDEN: Reason.AUTH,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.THROTTLED,
}
_OTHER_RECEIVER = WriteRule("", otlp.DEFAULT_PATHS, frozenset({200}), empty_body=False)


class OtlpHttpOptions(AccessOptions):
    """What may be written under `inject: {kind: otlp_http}`; `to:` is resolved by the wiring."""

    url: Annotated[
        str,
        Field(
            pattern=r"^(https?://.+)?$",
            description="Receiver's base URL; the signal's path is added. Not needed with `to`.",
        ),
    ] = ""
    compression: Annotated[
        Literal["none", "gzip"], Field(description="Encoding of the request body.")
    ] = "none"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one try came to.

    retry: the specification allows another one. left: the request may have been taken.
    silent: a connection stood and no answer came. wait_s: what the receiver asked for.
    """

    sent: Sent
    reason: Reason
    detail: str
    retry: bool
    left: bool = False
    silent: bool = False
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class OtlpHttpInjector(Injector):
    """Posts canaries to an OTLP/HTTP receiver."""

    options_model: ClassVar[type[Options]] = OtlpHttpOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.INJECT, Reason.NOT_OTLP, Reason.PARTIAL_SUCCESS, Reason.THROTTLED}
        | {Reason.MAYBE_SENT, Reason.AUTH, Reason.REFUSED, Reason.TIMEOUT}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    signals: ClassVar[frozenset[Signal]] = frozenset(Signal)

    options: OtlpHttpOptions
    rule: WriteRule
    tls: Tls
    outbound: Outbound
    clock: Clock
    rng: random.Random

    @classmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> Self:
        """An injector; the address comes from `url`, else from the backend's own rule."""
        chosen = cast("OtlpHttpOptions", options)
        if not chosen.url and rule is None:
            raise CoalmineError("otlp_http: neither url nor to is given")
        tls = chosen.tls_parameters(parts.base_dir)
        return cls(chosen, rule or _OTHER_RECEIVER, tls, parts.outbound, parts.clock, parts.rng)

    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        """At most 3 tries within `deadline_s`; a signal without a path is rejected unsent."""
        started_s = self.clock.monotonic()
        body = otlp.encode(canary)
        tries, first, attempt = 0, Sent.MAYBE, _no_time(deadline_s)
        while (left_s := started_s + deadline_s - self.clock.monotonic()) > 0:
            attempt = await self._try(canary.signal, body, left_s, attempt)
            tries += 1
            first = attempt.sent if tries == 1 else first
            pause_s = self._pause_s(attempt, tries, started_s + deadline_s)
            if pause_s is None:
                break
            await self.clock.sleep(pause_s)
        elapsed_s = self.clock.monotonic() - started_s
        attempt = self._final(attempt, started_s + deadline_s)
        detail = safe_text(self.options.redacted(attempt.detail), 300)
        return Receipt(
            attempt.sent, attempt.reason, detail, tries, first, elapsed_s, len(body), attempt.silent
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

    async def _try(self, signal: Signal, body: bytes, left_s: float, before: Attempt) -> Attempt:
        path = self.rule.paths.get(signal)
        if path is None:
            return _rejected(Reason.INJECT, f"the receiver takes no {signal}")
        try:
            request = self._request(path, body, left_s)
        except CoalmineError as exc:
            return _rejected(Reason.AUTH, str(exc))
        answer = await self.outbound.fetch(request)
        attempt = _trouble(answer) if isinstance(answer, Trouble) else self._judge(signal, answer)
        # An earlier try that may have arrived stays possible whatever a later one says.
        if before.left and attempt.sent is Sent.REJECTED:
            return replace(attempt, sent=Sent.MAYBE, reason=Reason.MAYBE_SENT, left=True)
        return attempt

    def _request(self, path: str, body: bytes, left_s: float) -> Request:
        encoded = self.options.compression == "gzip"
        headers = [("Content-Type", otlp.CONTENT_TYPE)]
        headers += [("Content-Encoding", "gzip")] if encoded else []
        # Own headers win over those of the backend's declaration (a tenant for writing).
        own = self.options.request_headers()
        named = {name.lower() for name, _ in own}
        headers += [pair for pair in self.rule.headers if pair[0].lower() not in named]
        return Request(
            "POST",
            (self.options.url or self.rule.url).rstrip("/") + path,
            left_s,
            headers=(*headers, *own),
            body=gzip.compress(body, mtime=0) if encoded else body,
            reuse=True,
            max_body_bytes=ANSWER_CAP,
            tls=self.tls,
        )

    def _judge(self, signal: Signal, response: Response) -> Attempt:
        status = response.status
        if status in self.rule.accepted_status:
            return self._reply(signal, response)
        detail = f"HTTP {status} {_first_text(response.body)}".rstrip()
        if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
            return _rejected(Reason.NOT_OTLP, f"{detail}: not the receiver's declared status")
        reason = _REFUSALS.get(status, Reason.INJECT)
        wait_s = retry_after_s(response.header("retry-after"), self.clock.utc())
        return Attempt(Sent.REJECTED, reason, detail, status in RETRYABLE, wait_s=wait_s)

    def _reply(self, signal: Signal, response: Response) -> Attempt:
        content_type = (response.header("content-type") or "").partition(";")[0].strip().lower()
        bare_ok = self.rule.empty_body and not response.body
        if content_type != otlp.CONTENT_TYPE and not bare_ok:
            return _rejected(Reason.NOT_OTLP, f"HTTP {response.status} as {content_type or 'none'}")
        try:
            reply = otlp.parse_reply(signal, response.body)
        except otlp.NotOtlpError as exc:
            return _rejected(Reason.NOT_OTLP, str(exc))
        if reply.rejected > 0:
            said = f"{reply.rejected} rejected: {reply.message}"
            return _rejected(Reason.PARTIAL_SUCCESS, said)
        return Attempt(Sent.ACCEPTED, Reason.OK, reply.message, retry=False)


def _rejected(reason: Reason, detail: str) -> Attempt:
    return Attempt(Sent.REJECTED, reason, detail, retry=False)


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


def _first_text(body: bytes) -> str:
    """Error bodies come as text, JSON or protobuf, whatever was asked for."""
    return body[:1024].decode(errors="replace")
