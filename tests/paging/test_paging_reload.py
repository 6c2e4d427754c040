"""A reload amid paging's own turns: whole, and no late word opens an incident."""

import asyncio
from dataclasses import replace

from core.verdict import Verdict
from tests.paging.desk import Book, Desk, config_of


async def test_a_reload_during_a_slow_commit_neither_breaks_nor_doubles_it():
    book = Book()
    async with Desk(config_of({"book": book}, group_wait_s=0.0)) as desk:
        await desk.turn()
        committing, go_on = asyncio.Event(), asyncio.Event()
        commit, changes = desk.store.commit, []

        async def slow(change):
            committing.set()
            changes.append(change)
            await go_on.wait()
            await commit(change)

        desk.store.commit = slow
        desk.say("r1", Verdict.FAIL)
        turn = asyncio.create_task(desk.loop.turn())
        await committing.wait()
        reload = asyncio.create_task(desk.loop.apply(desk.config, 2))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(turn, reload)
        await desk.pass_time(5)
        rows = [row.key for change in changes for row in change.outbox]
        assert len(rows) == len(set(rows))
        assert book.actions() == ["trigger"]


async def test_the_last_result_of_a_removed_check_opens_no_incident():
    book = Book()
    config = config_of({"book": book}, group_wait_s=0.0)
    async with Desk(config) as desk:
        await desk.pass_time(2)
        desk.say("r1", Verdict.OK)
        left = {name: one for name, one in config.subjects.items() if name != "r1"}
        await desk.loop.apply(replace(config, subjects=left), 2)
        for _ in range(60):
            desk.say("r2", Verdict.OK)
            desk.say("r3", Verdict.OK)
            await desk.pass_time(20, step=20.0)
        assert book.pages == []
