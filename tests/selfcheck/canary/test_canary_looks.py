"""Every read that looked for a canary is in its row, without a commit of its own."""

from core.reason import Reason
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import Look, Outcome
from tests.fakes.route import CONTEXT, RouteRig
from tests.fakes.store import never
from tests.selfcheck.canary.modes.rigs import always, row_of, warm
from tests.support.clock import VirtualClock


class CountingLedger(MemoryLedger):
    """Counts how often a row was settled."""

    def __init__(self, *given):
        super().__init__(*given)
        self.settled = 0

    async def settle(self, rows):
        self.settled += len(rows)
        await super().settle(rows)


async def test_the_life_of_a_canary_is_told_look_by_look():
    rig = await warm()
    rig.faults.drop = always
    await rig.cycle.inject(CONTEXT)
    one = (await rig.rows())[-1].canary.canary_id
    rig.faults.drop = never
    await rig.run(60)
    row = await row_of(rig, one)
    assert row.outcome is Outcome.LOST
    assert [look.at_s for look in row.looks] == sorted(look.at_s for look in row.looks)
    assert row.looks[0].at_s < 5
    assert all(look.complete and not look.seen for look in row.looks)
    assert {look.path for look in row.looks} == {"by_id", "search"}
    assert row.looks[-1].at_s >= row.deadline_s + rig.rules.confirm_after


async def test_a_look_that_failed_says_why():
    rig = await warm()
    rig.faults.read_error = Reason.AUTH
    await rig.cycle.inject(CONTEXT)
    one = (await rig.rows())[-1].canary.canary_id
    await rig.run(40)
    rig.faults.read_error = None
    await rig.run(60)
    row = await row_of(rig, one)
    first, last = row.looks[0], row.looks[-1]
    assert (first.complete, first.seen, first.reason, first.detail) == (
        False,
        False,
        Reason.AUTH,
        "injected",
    )
    assert (last.complete, last.seen, last.reason) == (True, True, Reason.OK)


async def test_looks_cost_no_commit_of_their_own():
    """A canary that is looked for several times and arrives is settled once."""
    clock = VirtualClock()
    rig = RouteRig(clock=clock, ledger=CountingLedger("0a1b2c3d", clock))
    rig.faults.delay_s = 12.0
    await rig.cycle.inject(CONTEXT)
    await rig.run(60, inject=False)
    (row,) = await rig.rows()
    assert row.outcome is Outcome.OK
    assert len(row.looks) >= 4
    assert rig.ledger.settled == 1


async def test_of_many_looks_the_first_and_the_last_are_kept():
    rig = await warm()
    rig.faults.maybe = True
    await rig.cycle.inject(CONTEXT)
    one = (await rig.rows())[-1]
    rig.faults.maybe = False
    for n in range(100):
        look = Look(float(n), "by_id", True, False, Reason.OK, "")
        rig.cycle._book.looked(one.canary.key, look)
    await rig.run(120)
    looks = (await row_of(rig, one.canary.canary_id)).looks
    assert len(looks) <= 40
    assert [look.at_s for look in looks[:20]] == [float(n) for n in range(20)]


async def test_looks_go_on_after_a_restart():
    rig = await warm()
    rig.faults.drop = always
    await rig.cycle.inject(CONTEXT)
    one = (await rig.rows())[-1].canary.canary_id
    await rig.run(60)
    before = (await row_of(rig, one)).looks
    # What was under way turns up late.
    lost = (await row_of(rig, one)).canary
    rig.faults.drop = never
    rig.store.keep(lost)
    after = rig.restarted()
    await after.run(120)
    row = await row_of(after, one)
    assert row.outcome is Outcome.LATE
    assert row.looks[: len(before)] == before
    assert row.looks[-1].seen
