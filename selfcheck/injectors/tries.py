"""Tries of one canary under one deadline, whatever carries them, and what they prove together.

Never connected is proof of a refusal; connected and unanswered is proof of nothing; and what an
earlier try may have left behind stays possible whatever a later one says.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from core.clock import Clock
from core.reason import Reason
from core.text import safe_text
from selfcheck.backends.http import backoff_s
from selfcheck.canary.model import Receipt, Sent

MAX_TRIES = 3
_DETAIL_CHARS = 300


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
class Tries:
    """The last attempt, as it stands after all of them; `tries` is 0 when there was no time."""

    last: Attempt
    tries: int
    first: Sent
    elapsed_s: float

    def receipt(self, body_bytes: int, redacted: Callable[[str], str]) -> Receipt:
        """What is known after sending `body_bytes`, without the credentials `redacted` removes."""
        last = self.last
        detail = safe_text(redacted(last.detail), _DETAIL_CHARS)
        return Receipt(
            last.sent, last.reason, detail, self.tries, self.first, self.elapsed_s, body_bytes,
            last.silent,
        )  # fmt: skip


async def tried(
    once: Callable[[float], Awaitable[Attempt]], deadline_s: float, clock: Clock, rng: random.Random
) -> Tries:
    """At most 3 calls of `once` with the seconds that are left, all within `deadline_s`."""
    started_s = clock.monotonic()
    ends_s = started_s + deadline_s
    tries, first, attempt = 0, Sent.MAYBE, _no_time(deadline_s)
    while (left_s := ends_s - clock.monotonic()) > 0:
        attempt = _after(attempt, await once(left_s))
        tries += 1
        first = attempt.sent if tries == 1 else first
        pause_s = _pause_s(attempt, tries, ends_s - clock.monotonic(), rng)
        if pause_s is None:
            break
        await clock.sleep(pause_s)
    last = _final(attempt, ends_s - clock.monotonic())
    return Tries(last, tries, first, clock.monotonic() - started_s)


def accepted(message: str = "") -> Attempt:
    """The receiver took the canary; that says nothing of its being stored."""
    return Attempt(Sent.ACCEPTED, Reason.OK, message, retry=False)


def rejected(reason: Reason, detail: str) -> Attempt:
    """Proof that the receiver did not take it; never tried again."""
    return Attempt(Sent.REJECTED, reason, detail, retry=False)


def unsent(reason: Reason, detail: str, *, ours: bool) -> Attempt:
    """Nothing left this machine: proof of a rejection, unless it is our own doing.

    What we could not try is looked for, and never called lost.
    """
    return Attempt(Sent.MAYBE if ours else Sent.REJECTED, reason, detail, retry=True)


def _after(before: Attempt, attempt: Attempt) -> Attempt:
    if not before.left or attempt.sent is Sent.ACCEPTED:
        return attempt
    if attempt.sent is Sent.REJECTED:
        return replace(attempt, sent=Sent.MAYBE, reason=Reason.MAYBE_SENT, left=True)
    return replace(attempt, left=True)


def _pause_s(attempt: Attempt, tries: int, left_s: float, rng: random.Random) -> float | None:
    """Seconds before the next try; None when this one is final."""
    if not attempt.retry or tries >= MAX_TRIES:
        return None
    wait_s = attempt.wait_s if attempt.wait_s is not None else backoff_s(tries, rng)
    return wait_s if wait_s < left_s else None


def _final(attempt: Attempt, left_s: float) -> Attempt:
    """A receiver that asks for a wait beyond the deadline has refused: it is throttling."""
    wait_s = attempt.wait_s
    if attempt.sent is not Sent.REJECTED or wait_s is None or not attempt.retry or wait_s < left_s:
        return attempt
    return replace(attempt, reason=Reason.THROTTLED)


def _no_time(deadline_s: float) -> Attempt:
    # Not tried is no proof of anything about the receiver.
    return Attempt(Sent.MAYBE, Reason.HARNESS, f"no time to try in {deadline_s:g} s", retry=False)
