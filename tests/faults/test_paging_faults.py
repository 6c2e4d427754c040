"""Faults 61 to 66, 69, 70 and 73: no page is lost, none is told twice, order is kept."""

import logging
from collections import deque

import pytest

from core.errors import StoreLostError
from core.secrets import Secret
from core.verdict import Verdict
from paging.config import HeartbeatTarget, Subject
from paging.heartbeats import Proof
from paging.memory import MemoryStore
from paging.model import Answer
from tests.fakes.loopback import Loopback, Reply
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.webhook import FakeWebhook
from tests.paging.desk import Book, Crash, Desk, config_of, pagerduty, webhook
from tests.support.clock import VirtualClock

REFUSED = Answer.REFUSED
RETRY = Answer.RETRY


class CrashingStore(MemoryStore):
    """Dies once, at one point of the way of a page."""

    def __init__(self, clock, point):
        super().__init__(clock)
        self.point = point

    def _die(self, point):
        if self.point == point:
            self.point = ""
            raise Crash(point)

    async def commit(self, change):
        if change.outbox:
            self._die("before the commit")
        await super().commit(change)
        if change.outbox:
            self._die("after the commit")

    async def lease(self, key, epoch, until):
        taken = await super().lease(key, epoch, until)
        self._die("lease taken")
        return taken

    async def record(self, row):
        self._die("answered, not recorded")
        return await super().record(row)


POINTS = ["before the commit", "after the commit", "lease taken", "answered, not recorded"]


class Service:
    """The two receivers under one face."""

    def __init__(self, kind, clock):
        self.kind = kind
        self.fake = FakeWebhook() if kind == "webhook" else FakePagerDuty(clock.monotonic)

    def factory(self, base):
        return webhook(base) if self.kind == "webhook" else pagerduty(base)

    def incidents(self):
        if self.kind == "webhook":
            pages = [one["data"] for one in self.fake.pages.values()]
            return {one["dedup_key"] for one in pages if one["action"] == "trigger"}
        return [alert.dedup_key for alert in self.fake.alerts]

    def resolved(self):
        if self.kind == "webhook":
            return "resolve" in self.fake.actions()
        return not self.fake.open_alerts()


@pytest.mark.parametrize("kind", ["webhook", "pagerduty"])
@pytest.mark.parametrize("point", POINTS)
async def test_fault_061_a_crash_anywhere_before_the_record_gives_exactly_one_incident(kind, point):
    """Killed at any point of state, outbox, send, record: one incident, later resolved."""
    clock = VirtualClock()
    service, store = Service(kind, clock), CrashingStore(clock, point)
    async with service.fake.server() as server:
        config = config_of({"pager": service.factory(server.base)})
        async with Desk(config, store, clock) as desk:
            desk.say("r1", Verdict.FAIL)
            with pytest.raises(Crash):
                await desk.pass_time(10)
            desk.restart()
            # After a restart every route's verdict is derived from the ledger again.
            desk.say("r1", Verdict.FAIL)
            await desk.pass_time(60)
            assert len(service.incidents()) == 1
            assert not desk.loop.sender.rows
            desk.say("r1", Verdict.OK)
            await desk.pass_time(5)
            assert len(service.incidents()) == 1
            assert service.resolved()


@pytest.mark.parametrize("kind", ["webhook", "pagerduty"])
async def test_fault_061_a_crash_with_the_answer_unknown_sends_again_under_the_same_key(kind):
    """The receiver took it and the answer was lost: the repeat carries the same id."""
    clock = VirtualClock()
    service = Service(kind, clock)
    service.fake.script = deque([Reply(cut=True)])
    async with service.fake.server() as server:
        config = config_of({"pager": service.factory(server.base)})
        async with Desk(config, clock=clock) as desk:
            desk.say("r1", Verdict.FAIL)
            await desk.pass_time(3)
            desk.restart()
            await desk.pass_time(40)
            assert len(service.incidents()) == 1
            assert len(server.seen) == 2


@pytest.mark.parametrize("kind", ["webhook", "pagerduty"])
async def test_fault_061_a_crash_between_trigger_and_resolve_keeps_the_order(kind):
    """Trigger accepted, killed, resolve due: the resolve reaches the same incident."""
    clock = VirtualClock()
    service = Service(kind, clock)
    async with service.fake.server() as server:
        config = config_of({"pager": service.factory(server.base)})
        async with Desk(config, clock=clock) as desk:
            desk.say("r1", Verdict.FAIL)
            await desk.pass_time(5)
            desk.restart()
            await desk.turn()
            desk.say("r1", Verdict.OK)
            await desk.pass_time(5)
            assert len(service.incidents()) == 1
            assert service.resolved()


async def test_fault_061_an_old_sender_that_wakes_late_records_nothing():
    """Its lease lapsed and a new epoch has the row: 0 rows are affected."""
    book = Book()
    async with Desk(config_of({"pager": book})) as desk:
        desk.say("r1", Verdict.FAIL)
        await desk.turn()
        (row,) = await desk.store.unfinished()
        until = desk.clock.utc()
        assert await desk.store.lease(row.key, 5, until)
        stale = type(row)(**{f: getattr(row, f) for f in row.__dataclass_fields__})
        assert not await desk.store.record(stale)


async def test_fault_062_throttled_for_ten_minutes_keeps_order_and_calls_the_second_receiver():
    """429 for 10 min: Retry-After is honoured and the fallback has the page at 120 s."""
    first = Book("pd", answers=[(RETRY, 60.0)] * 10)
    second = Book("chat")
    config = config_of({"pager": first, "chat": second}, fallback="chat")
    async with Desk(config) as desk:
        desk.say("r1", Verdict.FAIL)
        await desk.pass_time(115)
        assert not second.pages
        await desk.pass_time(10)
        assert second.actions()[:1] == ["trigger"]
        assert len(first.pages) <= 3
        await desk.pass_time(600)
        assert first.actions()[:1] == ["trigger"]
        losses = [page for page in second.taken() if page.incident.rule == "fail"]
        about_r1 = [page for page in losses if page.incident.subject == "r1"]
        assert [page.action.value for page in about_r1].count("trigger") == 1


async def test_fault_063_a_refusal_for_good_goes_to_the_fallback_at_once_and_alerts():
    """PagerDuty 400: not retried, the second receiver has it, "pager config broken" is raised."""
    refusals = deque([Reply(400, b'{"status":"invalid event"}')] * 20)
    pd, second = FakePagerDuty(script=refusals), Book()
    async with pd.server() as server:
        config = config_of({"pager": pagerduty(server.base), "chat": second}, fallback="chat")
        async with Desk(config) as desk:
            desk.say("r1", Verdict.FAIL)
            await desk.pass_time(4)
            assert [page.incident.subject for page in second.taken()] == ["r1"]
            assert len(server.seen) == 1
            await desk.pass_time(8)
            subjects = [one.subject for one in desk.loop.snapshot.incidents]
            assert "coalmine.receiver.pager" in subjects
            told = [page.incident.subject for page in second.taken()]
            assert "coalmine.receiver.pager" in told


async def test_fault_064_errors_for_hours_are_retried_until_accepted_without_a_cap():
    """5xx for three hours: many more than a handful of tries, then it is accepted."""
    book = Book(answers=[RETRY] * 150)
    async with Desk(config_of({"pager": book})) as desk:
        desk.say("r1", Verdict.FAIL)
        for _ in range(900):
            await desk.pass_time(12, step=12.0)
            desk.say("r1", Verdict.FAIL)
        first = [page for page in book.taken() if page.incident.subject == "r1"]
        assert first[0].action == "trigger"
        assert len(book.pages) > 100


async def test_fault_065_a_resolve_follows_its_trigger():
    """The trigger is accepted late: the resolve waits for it and comes right after."""
    book = Book()
    async with Desk(config_of({"pager": book})) as desk:
        desk.say("r1", Verdict.FAIL)
        await desk.pass_time(3)
        desk.say("r1", Verdict.OK)
        await desk.pass_time(3)
        assert book.actions() == ["trigger", "resolve"]


async def test_fault_065_a_trigger_that_was_never_sent_is_recorded_and_not_sent_stale():
    """Over before its page went out: nobody is woken, both rows are recorded."""
    book = Book()
    async with Desk(config_of({"pager": book})) as desk:
        desk.say("r1", Verdict.FAIL)
        await desk.turn()
        desk.clock.move(0.5)
        desk.say("r1", Verdict.OK)
        await desk.pass_time(10)
        assert book.pages == []
        details = [row.detail for row in desk.store.rows.values()]
        assert len(details) == 2
        assert all(text.startswith("superseded: ") for text in details)


async def test_fault_066_all_receivers_down_is_critical_red_and_a_failing_heartbeat(caplog):
    """Nobody takes pages: log at CRITICAL, health red, and the outside watcher is told."""
    first, second = Book("a", answers=[RETRY] * 900), Book("b", answers=[RETRY] * 900)

    async def whole():
        return Proof(())

    async with Loopback(lambda _: Reply()) as watcher:
        config = config_of(
            {"pager": first, "chat": second},
            fallback="chat",
            heartbeats=(HeartbeatTarget("out", Secret.inline(f"{watcher.base}/uuid")),),
        )
        async with Desk(config, proof=whole) as desk:
            desk.say("r1", Verdict.FAIL)
            with caplog.at_level(logging.CRITICAL):
                await desk.pass_time(200)
            assert "all_receivers_down" in caplog.text
            assert "no receiver takes pages" in desk.loop.snapshot.troubles
            await desk.loop.heartbeats.beat(["out"])
            assert watcher.seen[-1].path == "/uuid/fail"
            assert b"no receiver takes pages" in watcher.seen[-1].body


async def test_fault_069_a_storm_of_5000_is_grouped_rate_capped_and_lost_to_nobody():
    """5,000 checks at one hop: one page that counts them all; the rest stays under the cap."""
    names = [f"c{i}" for i in range(5000)]
    clock = VirtualClock()
    pd = FakePagerDuty(clock.monotonic)
    subjects = [Subject(name, "canary", 3600.0, 60.0) for name in names]
    async with pd.server() as server:
        config = config_of({"pager": pagerduty(server.base)}, subjects)
        async with Desk(config, clock=clock) as desk:
            for i, name in enumerate(names):
                hop = {"hop": "gateway"} if i % 2 else {}
                desk.say(name, Verdict.FAIL, **hop)
            for _ in range(8):
                await desk.turn()
            await desk.pass_time(10)
            assert len(desk.loop.snapshot.incidents) == 5000
            carried = {
                member.fingerprint
                for row in desk.store.rows.values()
                for member in (row.page.incident, *row.page.members)
            }
            assert len(carried) == 5000
            assert len(pd.alerts) <= 12
            assert any("more" in alert.summary for alert in pd.alerts)


async def test_fault_070_a_flapping_target_pages_once():
    """Up and down all hour: one incident, marked flapping, and a bounded number of pages."""
    book = Book()
    async with Desk(config_of({"pager": book}, group_interval_s=600.0)) as desk:
        for i in range(360):
            desk.say("r1", Verdict.FAIL if i % 2 else Verdict.OK)
            await desk.pass_time(10, step=10.0)
        assert "flapping" in desk.loop.snapshot.incidents[0].title
        assert len(book.pages) <= 25
        late = [page for page in book.taken() if page.action == "trigger"]
        assert len(late) <= 4


async def test_fault_073_a_zombie_loop_sends_no_good_heartbeat():
    """Without a whole proof the endpoint gets `/fail` and what is missing, never a success."""
    answers = [Proof(("probing loop has not ticked",)), Proof(())]

    async def proof():
        return answers.pop(0)

    async with Loopback(lambda _: Reply()) as watcher:
        target = HeartbeatTarget("out", Secret.inline(f"{watcher.base}/uuid"))
        config = config_of({"pager": Book()}, heartbeats=(target,))
        async with Desk(config, proof=proof) as desk:
            await desk.loop._restore()
            await desk.loop.heartbeats.beat(["out"])
            await desk.loop.heartbeats.beat(["out"])
            assert [seen.path for seen in watcher.seen] == ["/uuid/fail", "/uuid"]
            assert b"probing loop" in watcher.seen[0].body


class BrokenStore(MemoryStore):
    """Fails on demand."""

    broken = False

    async def commit(self, change):
        self._check()
        await super().commit(change)

    async def lease(self, key, epoch, until):
        self._check()
        return await super().lease(key, epoch, until)

    async def record(self, row):
        self._check()
        return await super().record(row)

    def _check(self):
        if self.broken:
            raise StoreLostError("disk is gone")


async def test_when_the_store_fails_the_page_goes_out_and_is_recorded_later():
    """The episode is the highest known plus one, and the store catches up."""
    clock, book = VirtualClock(), Book()
    store = BrokenStore(clock)
    async with Desk(config_of({"pager": book}), store, clock) as desk:
        desk.say("r1", Verdict.FAIL)
        await desk.pass_time(4)
        desk.say("r1", Verdict.OK)
        await desk.pass_time(4)
        store.broken = True
        desk.say("r1", Verdict.FAIL)
        await desk.pass_time(4)
        assert [page.incident.episode for page in book.taken()] == [1, 1, 2]
        assert "the paging store fails" in desk.loop.snapshot.troubles
        store.broken = False
        await desk.pass_time(2)
        assert not await store.unfinished()
        assert max(store.highest.values()) == 2


@pytest.mark.parametrize("kind", ["webhook", "pagerduty"])
async def test_fault_061_recovered_while_the_answer_was_lost_still_resolves(kind):
    """The trigger was taken, its record was not written, the trouble is over: no alert stays."""
    clock = VirtualClock()
    service = Service(kind, clock)
    store = CrashingStore(clock, "answered, not recorded")
    async with service.fake.server() as server:
        config = config_of({"pager": service.factory(server.base)})
        async with Desk(config, store, clock) as desk:
            desk.say("r1", Verdict.FAIL)
            with pytest.raises(Crash):
                await desk.pass_time(10)
            desk.restart()
            desk.say("r1", Verdict.OK)
            await desk.pass_time(60)
            assert len(service.incidents()) == 1
            assert service.resolved()
            assert not desk.loop.sender.rows


@pytest.mark.parametrize("kind", ["webhook", "pagerduty"])
@pytest.mark.parametrize("point", POINTS)
async def test_fault_061_a_crash_around_the_resolve_leaves_no_alert_open(kind, point):
    """The same points on the way of a resolve."""
    clock = VirtualClock()
    service, store = Service(kind, clock), CrashingStore(clock, "")
    async with service.fake.server() as server:
        config = config_of({"pager": service.factory(server.base)})
        async with Desk(config, store, clock) as desk:
            desk.say("r1", Verdict.FAIL)
            await desk.pass_time(5)
            store.point = point
            desk.say("r1", Verdict.OK)
            with pytest.raises(Crash):
                await desk.pass_time(10)
            desk.restart()
            await desk.turn()
            desk.say("r1", Verdict.OK)
            await desk.pass_time(60)
            assert len(service.incidents()) == 1
            assert service.resolved()
            assert not desk.loop.sender.rows


async def test_a_trigger_owed_to_a_receiver_that_is_gone_goes_to_the_present_one():
    """Killed before sending, re-keyed meanwhile: the page is not lost with the old key."""
    new = Book("new")
    async with Desk(config_of({"pager": Book("old")})) as desk:
        desk.say("r1", Verdict.FAIL)
        await desk.turn()
        desk.config = config_of({"pager": new})
        desk.restart()
        await desk.pass_time(10)
        assert new.actions() == ["trigger"]


class Forgetful(Book):
    """A receiver that must be told again."""

    republish_every_s = 60.0


async def test_a_receiver_that_forgets_is_told_again_over_a_restart_and_after_the_resolve():
    """Every 60 s while firing, 15 min after the resolve, then never."""
    book = Forgetful()
    subject = Subject("r1", "canary", 3600.0, 60.0)
    async with Desk(config_of({"pager": book}, (subject,))) as desk:
        desk.say("r1", Verdict.FAIL)
        await desk.pass_time(185)
        assert book.actions() == ["trigger"] * 4
        desk.restart()
        await desk.pass_time(2)
        assert book.actions() == ["trigger"] * 5
        desk.say("r1", Verdict.OK)
        await desk.pass_time(1200, step=5.0)
        assert 14 <= book.actions().count("resolve") <= 16
        assert book.actions().count("trigger") == 5


async def test_paging_starts_from_memory_when_the_store_cannot_be_read():
    """The page goes out; when the store is back its episodes are taken over."""
    clock, book = VirtualClock(), Book()
    store = MemoryStore(clock)
    opened, failing = store.open_incidents, [True]

    async def broken():
        if failing[0]:
            raise StoreLostError("disk is gone")
        return await opened()

    store.open_incidents = broken
    async with Desk(config_of({"pager": book}), store, clock) as desk:
        desk.say("r1", Verdict.FAIL)
        await desk.pass_time(5)
        assert book.actions() == ["trigger"]
        assert "the paging store fails" in desk.loop.snapshot.troubles
        failing[0] = False
        desk.say("r1", Verdict.OK)
        await desk.pass_time(5)
        assert book.actions() == ["trigger", "resolve"]
        assert desk.loop.snapshot.troubles == ()
