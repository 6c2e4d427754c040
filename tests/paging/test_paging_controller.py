"""The thread around the loop, the queue, the heartbeats and the token bucket."""

import random
import threading
from datetime import timedelta

import pytest

from core.clock import SystemClock, instant
from core.errors import CoalmineError
from core.secrets import Secret
from core.verdict import Verdict
from paging.config import HeartbeatTarget
from paging.controller import PagingController
from paging.heartbeats import Heartbeats, Proof, ping_url
from paging.memory import MemoryStore
from paging.outbox import Bucket, backoff_s
from paging.queue import ResultsQueue
from paging.receivers.http import HttpClient, retry_after_s
from paging.store import Action
from tests.fakes.loopback import Loopback, Reply
from tests.paging.desk import Book, config_of, run_of

CLOCK = SystemClock()


class Signal(Book):
    """Sets an event when a page of the wanted action arrives."""

    def __init__(self, name="signal"):
        super().__init__(name)
        self.arrived = {}

    def event(self, action):
        return self.arrived.setdefault(action, threading.Event())

    async def deliver(self, page, target, thread, deadline_s):
        delivery = await super().deliver(page, target, thread, deadline_s)
        self.event(page.action.value).set()
        return delivery


@pytest.fixture
def running():
    book, store = Signal(), MemoryStore(CLOCK)
    config = config_of({"pager": book}, group_wait_s=0.05)
    controller = PagingController(config, store, CLOCK, random.Random(1), epoch=1)
    controller.start()
    yield controller, book, store
    controller.stop()


def test_a_result_is_paged_and_an_ack_is_folded_by_the_thread(running):
    controller, book, store = running
    controller.publish(run_of(CLOCK, "r1", Verdict.FAIL))
    assert book.event("trigger").wait(5)
    key = book.pages[0][0].dedup_key
    store.append_action(Action("1", "ack", key, "ann", "", None, instant(CLOCK)))
    assert book.event("acknowledge").wait(5)
    assert controller.last_tick() <= CLOCK.monotonic()
    controller.publish(run_of(CLOCK, "r1", Verdict.OK))
    assert book.event("resolve").wait(5)
    assert controller.turn_failures == 0


def test_a_reload_reaches_the_loop_and_a_broken_one_is_raised(running):
    controller, _, _ = running
    new = Signal("new")
    controller.apply(config_of({"chat": new}, group_wait_s=0.05), 2)
    controller.publish(run_of(CLOCK, "r2", Verdict.FAIL))
    assert new.event("trigger").wait(5)
    assert controller.snapshot().generation == 2

    def broken(parts):
        raise CoalmineError("no secret")

    with pytest.raises(CoalmineError, match="no secret"):
        controller.apply(config_of({"chat": broken}), 3)


def test_a_controller_that_cannot_build_says_why_at_start():
    def broken(parts):
        raise CoalmineError("no secret")

    controller = PagingController(
        config_of({"pager": broken}), MemoryStore(CLOCK), CLOCK, random.Random(1), epoch=1
    )
    with pytest.raises(CoalmineError, match="no secret"):
        controller.start()
    controller.stop()


def test_the_queue_never_waits_and_counts_what_it_drops():
    queue = ResultsQueue(lambda: None, capacity=2)
    runs = [run_of(CLOCK, name, Verdict.OK) for name in "abc"]
    for run in runs:
        queue.publish(run)
    assert queue.dropped_total == 1
    assert [run.check for run in queue.take(9)] == ["b", "c"]


def test_a_bucket_stays_under_the_vendors_sliding_minute():
    bucket = Bucket(100.0, 10.0, 0.0)
    sent = [tick / 10 for tick in range(6000) if bucket.take(tick / 10)]
    worst = max(sum(at <= one < at + 60 for one in sent) for at in sent)
    assert worst <= 120


def test_backoff_grows_to_a_minute_and_never_beyond():
    rng = random.Random(3)
    waits = [backoff_s(n, rng) for n in range(1, 2000)]
    assert 0.75 <= waits[0] <= 1.0
    assert max(waits) <= 60.0


def test_retry_after_is_read_as_seconds_or_date():
    now = CLOCK.utc()
    date = (now + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after_s("7", now) == 7.0
    assert 80 < retry_after_s(date, now) < 91
    assert retry_after_s("soon", now) is None
    assert retry_after_s("nan", now) is None
    assert retry_after_s("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", now) is None
    assert retry_after_s(None, now) is None


def test_a_ping_url_keeps_its_query():
    assert ping_url("http://h/u?rid=1", "fail") == "http://h/u/fail?rid=1"


async def test_losing_one_of_two_endpoints_leaves_the_other_and_is_counted():
    async def whole():
        return Proof(())

    async with Loopback(lambda _: Reply()) as good, Loopback(lambda _: Reply(404)) as bad:
        targets = (
            HeartbeatTarget("good", Secret.inline(f"{good.base}/u")),
            HeartbeatTarget("bad", Secret.inline(f"{bad.base}/u")),
        )
        client = HttpClient()
        beats = Heartbeats(targets, whole, client, CLOCK)
        await beats.beat(["good", "bad"])
        assert beats.beats["good"].ok_s is not None
        assert beats.beats["bad"].failures == 1
        assert beats.beats["bad"].ok_s is None
        await beats.stopping("planned stop")
        assert good.seen[-1].path == "/u/log"
        await client.close()
