"""Grouping, inhibition, ack and mute, reload and the text of pages, end to end in memory."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import instant
from core.errors import CoalmineError
from core.verdict import Verdict
from paging import wording
from paging.config import Subject
from paging.store import Action
from tests.paging.desk import Book, Desk, config_of, run_of
from tests.support.clock import VirtualClock

FAIL, OK, BLIND = Verdict.FAIL, Verdict.OK, Verdict.BLIND


async def test_incidents_at_one_hop_share_a_page_that_resolves_with_the_last():
    """Three routes through one gateway: one page names all; no early resolve."""
    book = Book()
    async with Desk(config_of({"pager": book})) as desk:
        for name in ("r1", "r2", "r3"):
            desk.say(name, FAIL, hop="gateway", finding="lost between gateway and loki, 5 of 6")
        await desk.pass_time(4)
        assert book.actions() == ["trigger"]
        (page,) = book.taken()
        assert [one.subject for one in page.members] == ["r2", "r3"]
        assert "also r2, r3" in page.incident.summary
        assert "lost between gateway and loki, 5 of 6" in page.incident.summary
        desk.say("r1", OK)
        desk.say("r2", OK)
        await desk.pass_time(4)
        assert book.actions() == ["trigger"]
        desk.say("r3", OK)
        await desk.pass_time(4)
        assert book.actions() == ["trigger", "resolve"]


async def test_a_hop_that_is_located_within_the_group_wait_still_gives_one_page():
    """Fired without a hop, located a moment later: the unsent pages become one."""
    book = Book()
    async with Desk(config_of({"pager": book}, group_wait_s=5.0)) as desk:
        for name in ("r1", "r2", "r3"):
            desk.say(name, FAIL)
        await desk.turn()
        desk.clock.move(1)
        for name in ("r1", "r2", "r3"):
            desk.say(name, FAIL, hop="gateway")
        await desk.pass_time(10)
        assert book.actions() == ["trigger"]
        assert len(book.taken()[0].members) == 2


async def test_a_page_that_is_located_after_it_went_out_takes_in_what_waits_at_that_hop():
    """The second route tells where the fault is, and by that where the first one's is: one page."""
    book = Book()
    async with Desk(config_of({"pager": book}, group_wait_s=5.0, group_interval_s=5.0)) as desk:
        desk.say("r1", FAIL)
        await desk.pass_time(7)
        desk.say("r2", FAIL, hop="gateway")
        await desk.turn()
        desk.clock.move(1)
        desk.say("r1", FAIL, hop="gateway")
        await desk.pass_time(20)
        assert book.actions() == ["trigger", "update"]
        first, update = book.taken()
        assert (first.incident.hop, update.incident.hop) == ("", "gateway")
        assert [one.subject for one in update.members] == ["r2"]
        desk.say("r1", OK)
        await desk.pass_time(4)
        desk.say("r2", OK)
        await desk.pass_time(4)
        assert book.actions()[-1] == "resolve"
        assert len({page.dedup_key for page in book.taken()}) == 1


async def test_a_later_member_updates_the_page_and_opens_none():
    """A route that joins after the page went out: an update, not a second incident."""
    book = Book()
    async with Desk(config_of({"pager": book}, group_interval_s=5.0)) as desk:
        desk.say("r1", FAIL, hop="gateway")
        await desk.pass_time(4)
        desk.say("r2", FAIL, hop="gateway")
        await desk.pass_time(10)
        assert book.actions() == ["trigger", "update"]
        assert len({page.dedup_key for page in book.taken()}) == 1


async def test_what_is_left_after_a_failure_keeps_no_page_of_the_failure_open():
    """Both routes lose no more but lost much: the page is resolved, one warning says the rest."""
    book = Book()
    async with Desk(config_of({"pager": book})) as desk:
        for name in ("r1", "r2"):
            desk.say(name, FAIL, hop="gateway")
        await desk.pass_time(4)
        desk.say("r2", Verdict.DEGRADED, hop="gateway")
        await desk.pass_time(4)
        desk.say("r1", Verdict.DEGRADED, hop="gateway")
        await desk.pass_time(4)
        assert book.actions() == ["trigger", "resolve"]
        for _ in range(8):
            for name in ("r1", "r2"):
                desk.say(name, Verdict.DEGRADED, hop="gateway")
            await desk.pass_time(10)
        assert book.actions() == ["trigger", "resolve", "trigger"]
        last = book.taken()[-1]
        assert (last.incident.rule, len(last.members)) == ("degraded", 1)
        for name in ("r1", "r2"):
            desk.say(name, OK)
        await desk.pass_time(200)
        assert book.actions() == ["trigger", "resolve", "trigger", "resolve"]


async def test_a_broken_route_carries_its_quiet_sources_and_releases_them_when_it_works_again():
    """One page while the route is broken; the source that stays quiet then has its own."""
    book = Book()
    shop = Subject("source:shop", "source", every_s=10.0, deadline_s=60.0)
    async with Desk(config_of({"pager": book}, ("r1", shop))) as desk:
        desk.say("r1", FAIL, hop="gateway")
        await desk.turn()
        desk.queue.publish(run_of(desk.clock, "source:shop", FAIL, "source", routes="r1,r2"))
        await desk.pass_time(5)
        assert book.actions() == ["trigger"]
        assert [one.subject for one in book.taken()[0].members] == ["source:shop"]
        desk.say("r1", OK)
        await desk.pass_time(70)
        titles = [page.incident.title for page in book.taken() if page.action == "trigger"]
        assert titles[-1] == "source shop quiet"


def action(desk, kind, key, until=None):
    act = Action(f"{kind}-{key}", kind, key, "ann", "seen", until, instant(desk.clock))
    desk.store.append_action(act)


async def test_an_ack_is_told_and_stops_reminders_but_hides_nothing():
    """Acked: no reminder; expired: reminded again."""
    book = Book()
    async with Desk(config_of({"pager": book}, repeat_s=100.0)) as desk:
        desk.say("r1", FAIL)
        await desk.pass_time(4)
        action(desk, "ack", book.taken()[0].dedup_key)
        await desk.pass_time(4)
        assert book.actions() == ["trigger", "acknowledge"]
        (incident,) = desk.loop.snapshot.incidents
        assert incident.acked_by == "ann"
        assert await desk.store.actions() == []


async def test_a_muted_incident_is_not_told_until_the_mute_ends():
    """Muted before its page went out: silent, then paged, without a fallback for lateness."""
    book, second = Book(), Book("second")
    config = config_of({"pager": book, "chat": second}, fallback="chat", group_wait_s=5.0)
    async with Desk(config) as desk:
        desk.say("r1", FAIL)
        await desk.turn()
        (incident,) = desk.loop.snapshot.incidents
        until = desk.clock.utc() + timedelta(seconds=90)
        action(desk, "mute", incident.dedup_key("test"), until)
        for _ in range(8):
            await desk.pass_time(10)
            desk.say("r1", FAIL)
        assert book.pages == []
        await desk.pass_time(20)
        assert book.actions()[0] == "trigger"
        assert second.pages == []


async def test_a_removed_receiver_retires_until_its_incidents_resolve():
    """Triggered under the old receiver: the resolve goes there, then it is closed."""
    old, new = Book("old"), Book("new")
    async with Desk(config_of({"pager": old})) as desk:
        desk.say("r1", FAIL)
        await desk.pass_time(4)
        await desk.loop.apply(config_of({"chat": new}), 2)
        assert desk.loop._roster.retiring() == ("pager#fp-old",)
        assert not old.closed
        desk.say("r1", OK)
        await desk.pass_time(4)
        assert old.actions() == ["trigger", "resolve"]
        assert new.pages == []
        assert old.closed


async def test_after_a_restart_without_the_old_receiver_the_incident_is_listed_as_unresolvable():
    """The key it was triggered under is gone: said, not silently dropped."""
    old = Book("old")
    async with Desk(config_of({"pager": old})) as desk:
        desk.say("r1", FAIL)
        await desk.pass_time(4)
        desk.config = config_of({"pager": Book("rekeyed")})
        desk.restart()
        await desk.turn()
        desk.say("r1", OK)
        await desk.pass_time(4)
        assert list(desk.loop.snapshot.unresolvable.values()) == ["pager"]


async def test_a_reload_that_cannot_build_a_receiver_changes_nothing():
    """Refused as a whole."""
    book = Book()

    def broken(parts):
        raise CoalmineError("secret file is missing")

    async with Desk(config_of({"pager": book})) as desk:
        with pytest.raises(CoalmineError):
            await desk.loop.apply(replace(desk.config, receivers={"pager": broken}), 2)
        desk.say("r1", FAIL)
        await desk.pass_time(4)
        assert book.actions() == ["trigger"]


async def test_a_restart_continues_episodes_and_reminds_nobody_anew():
    """One incident per episode over a restart; the next episode counts on."""
    book = Book()
    async with Desk(config_of({"pager": book})) as desk:
        desk.say("r1", FAIL)
        await desk.pass_time(4)
        desk.restart()
        await desk.pass_time(10)
        desk.say("r1", FAIL)
        await desk.pass_time(4)
        assert book.actions() == ["trigger"]
        desk.say("r1", OK)
        await desk.pass_time(4)
        desk.restart()
        desk.say("r1", FAIL)
        await desk.pass_time(4)
        assert [page.incident.episode for page in book.taken()] == [1, 1, 2]


async def test_a_defect_in_the_store_does_not_cost_the_page():
    """An exception that is not a StoreError fails the turn; the change is kept and tried again."""
    book = Book()
    async with Desk(config_of({"pager": book})) as desk:
        await desk.turn()
        commit, failures = desk.store.commit, [RuntimeError("defect")]

        async def flaky(change):
            if failures:
                raise failures.pop()
            await commit(change)

        desk.store.commit = flaky
        desk.say("r1", FAIL)
        with pytest.raises(RuntimeError):
            await desk.turn()
        await desk.pass_time(4)
        assert book.actions() == ["trigger"]


@given(st.text(max_size=3000), st.text(max_size=200), st.text(max_size=2000))
def test_input_38_a_summary_is_one_safe_line_of_at_most_1024_characters(finding, hop, evidence):
    """Any text: bounded, no control characters, encodable."""
    facts = {"finding": finding, "evidence_1": evidence, "loss_cost": "1.20 EUR"}
    text = wording.summary_of(facts, "detail", hop, instant(VirtualClock()))
    assert len(text) <= 1024
    assert not any(ord(char) < 32 for char in text)
    text.encode("utf-8")


async def test_a_receiver_whose_secret_vanishes_holds_up_nobody_else():
    """deliver() raises for one receiver: its page falls back, other pages go out."""
    first, second = Book("a", answers=[CoalmineError("secret file is missing")] * 400), Book("b")
    config = config_of({"pager": first, "chat": second}, fallback="chat", fallback_after_s=20.0)
    async with Desk(config) as desk:
        desk.say("r1", FAIL)
        await desk.pass_time(30)
        assert second.actions()[0] == "trigger"
        assert not first.taken()


async def test_a_store_defect_while_sending_is_tried_again():
    """lease() raises what it must not: the row waits and then goes out."""
    book = Book()
    async with Desk(config_of({"pager": book})) as desk:
        lease, failures = desk.store.lease, [RuntimeError("defect")]

        async def flaky(*given):
            if failures:
                raise failures.pop()
            return await lease(*given)

        desk.store.lease = flaky
        desk.say("r1", FAIL)
        await desk.pass_time(12)
        assert book.actions() == ["trigger"]


async def test_a_row_that_another_epoch_finished_is_dropped():
    """Two controllers for a moment: the second one sends nothing twice."""
    book = Book()
    async with Desk(config_of({"pager": book})) as desk:
        desk.say("r1", FAIL)
        await desk.turn()
        desk.restart()
        await desk.turn()
        old = desk._old[-1]
        await desk.pass_time(4)
        await old.turn()
        await old.sender.idle()
        assert book.actions() == ["trigger"]
        assert not old.sender.rows
