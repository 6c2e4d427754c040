"""A paging loop on a virtual clock, with the outside world on loopback."""

import asyncio
import random
from datetime import timedelta

from core.clock import instant
from core.reason import Reason
from core.result import RunEnvelope, Trust
from core.secrets import Secret
from core.verdict import Verdict
from paging.config import Match, PageRule, PagingConfig, Subject
from paging.loop import PagingLoop
from paging.memory import MemoryStore
from paging.model import Answer, Delivery
from paging.queue import ResultsQueue
from paging.receivers.pagerduty import PagerDutyOptions, PagerDutyReceiver
from paging.receivers.protocol import Receiver
from paging.receivers.webhook import WebhookOptions, WebhookReceiver
from tests.fakes.pagerduty import KEY
from tests.fakes.webhook import SECRET
from tests.support.clock import VirtualClock

REASONS = {
    Verdict.OK: Reason.OK,
    Verdict.DEGRADED: Reason.LATE,
    Verdict.FAIL: Reason.SILENT_LOSS,
    Verdict.BLIND: Reason.READBACK,
}


class Crash(BaseException):
    """The process dies here: nothing may catch it."""


class Book(Receiver):
    """A receiver that keeps what it was told and answers as `answers` says."""

    def __init__(self, name="book", targets=("t",), answers=None):
        self.targets, self.provider, self._name = targets, f"book:{name}", name
        self.answers, self.pages, self.closed = answers or [], [], False

    @classmethod
    def build(cls, options, parts):
        return cls()

    async def deliver(self, page, target, thread, deadline_s):
        answer = self.answers.pop(0) if self.answers else Answer.ACCEPTED
        if isinstance(answer, BaseException):
            raise answer
        self.pages.append((page, target, answer))
        wait = None
        if isinstance(answer, tuple):
            answer, wait = answer
        return Delivery(answer, answer.value, wait, thread or "thread-1")

    def taken(self):
        return [page for page, _, answer in self.pages if answer is Answer.ACCEPTED]

    def actions(self):
        return [page.action.value for page in self.taken()]

    def fingerprint(self):
        return f"fp-{self._name}"

    async def close(self):
        self.closed = True


def webhook(url):
    options = WebhookOptions(url=Secret.inline(url), secret=Secret.inline(SECRET))
    return lambda parts: WebhookReceiver.build(options, parts)


def pagerduty(url):
    options = PagerDutyOptions(routing_key=Secret.inline(KEY), url=f"{url}/v2/enqueue")
    return lambda parts: PagerDutyReceiver.build(options, parts)


def config_of(receivers, subjects=("r1", "r2", "r3"), fallback="", **more):
    """Routes (kind canary) every 10 s; the first receiver is `to`."""
    names = list(receivers)
    factories = {
        name: (lambda parts, one=one: one) if isinstance(one, Receiver) else one
        for name, one in receivers.items()
    }
    given = {
        name: Subject(name, "canary", every_s=10.0, deadline_s=60.0)
        for name in subjects
        if isinstance(name, str)
    }
    given |= {one.name: one for one in subjects if isinstance(one, Subject)}
    return PagingConfig(
        namespace="test",
        subjects=given,
        pages=(PageRule(Match(), names[0], fallback),),
        receivers=factories,
        **{"group_wait_s": 2.0, **more},
    )


def run_of(clock, check, verdict, kind="canary", **facts):
    """A result that has just ended."""
    now = instant(clock)
    return RunEnvelope(
        check=check,
        kind=kind,
        generation=0,
        epoch=1,
        scheduled_at=now.utc - timedelta(seconds=1),
        started=now,
        ended=now,
        verdict=verdict,
        reason=REASONS[verdict],
        detail=f"{check} is {verdict}",
        facts=facts,
        trust=Trust(0.0, 0.0, 0.0),
    )


class Desk:
    """Drives one PagingLoop; `restart` leaves it as a crash would and starts another."""

    def __init__(self, config, store=None, clock=None, proof=None):
        self.clock = clock or VirtualClock()
        self.store = store if store is not None else MemoryStore(self.clock)
        self.config, self.epoch, self.proof = config, 0, proof
        self._old = []
        self.restart()

    def restart(self):
        if self.epoch:
            self._old.append(self.loop)
        self.epoch += 1
        self.queue = ResultsQueue(lambda: None)
        more = {} if self.proof is None else {"proof": self.proof}
        self.loop = PagingLoop(
            self.config, self.store, self.clock, random.Random(7), self.epoch, self.queue,
            lambda: None, **more,
        )  # fmt: skip

    def say(self, check, verdict, **facts):
        self.queue.publish(run_of(self.clock, check, verdict, **facts))

    async def turn(self):
        await self.loop.turn()
        await self.loop.sender.idle()

    async def pass_time(self, seconds, step=1.0):
        """Let virtual time pass in steps, with a settled turn after each."""
        for _ in range(int(seconds / step)):
            self.clock.move(step)
            await self.turn()

    async def close(self):
        for loop in (*self._old, self.loop):
            await loop.close("test over")

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await asyncio.wait_for(self.close(), 10)
