"""The account that is shown belongs to the rows, between audits too; the identity is checked."""

import asyncio
from dataclasses import replace

from selfcheck.canary.model import Outcome
from tests.fakes.route import SPEC, RouteRig


def test_the_account_keeps_up_with_the_rows_between_audits():
    async def run():
        rig = RouteRig()
        for _ in range(60):
            await rig.run(SPEC.every_s / 7)
            status = rig.cycle.status()
            assert status.account == await rig.ledger.account(SPEC.name)
            assert status.account.by_outcome[Outcome.PENDING] == status.pending
        assert status.account.sent > 5

    asyncio.run(run())


def test_a_row_that_the_ledger_lost_is_found_by_the_audit():
    async def run():
        rig = RouteRig()
        await rig.run(5 * SPEC.every_s)
        key = next(iter(rig.ledger._rows))
        del rig.ledger._rows[key]
        await rig.cycle.audit()
        assert not rig.cycle.status().account.balanced

    asyncio.run(run())


def test_an_audit_that_overlaps_a_commit_does_not_count_it_twice():
    async def run():
        rig = RouteRig()
        await rig.run(3 * SPEC.every_s)
        book, real = rig.cycle._book, rig.ledger.account
        row = (await rig.rows())[-1]

        async def late(name):
            snapshot = await real(name)
            if not overlapped:
                overlapped.append(row)
                changed = replace(row, outcome=Outcome.LATE)
                await book.settle([(book.get(row.canary.key), changed)])
            return snapshot

        overlapped = []
        rig.ledger.account = late
        assert await book.audit() is False
        assert book.account == await real(SPEC.name)
        assert await book.audit() is True
        assert book.account == await real(SPEC.name)

    asyncio.run(run())
