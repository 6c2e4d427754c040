"""A declared sampler that begins to drop everything is found however long it worked before."""

import random
from dataclasses import replace

import pytest

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import Outcome
from selfcheck.canary.policy import ExpectDrop, sampled
from tests.fakes.route import SPEC, RouteRig
from tests.fakes.store import Faults
from tests.selfcheck.canary.modes.rigs import always
from tests.selfcheck.canary.test_declared_loss import row

# Drops in a row that a working sampler shows less than once in a million canaries.
RUNS = {0.9: 132, 0.5: 20, 0.2: 9}


def history(ratio: float, run: int):
    """A thousand canaries of a sampler that works, then `run` that are missing; newest last."""
    kept = round(1 / (1 - ratio))
    worked = [Outcome.OK if n % kept == 0 else Outcome.POLICY_DROP for n in range(1000 - run)]
    if ratio < 0.5:
        dropped = round(1 / ratio)
        worked = [
            Outcome.POLICY_DROP if n % dropped == 1 else Outcome.OK for n in range(1000 - run)
        ]
    worked[-1] = Outcome.OK
    return [row(n, one) for n, one in enumerate([*worked, *[Outcome.POLICY_DROP] * run], 1)]


@pytest.mark.parametrize(("ratio", "run"), RUNS.items())
def test_a_run_that_chance_does_not_make_is_not_explained_by_a_good_history(ratio, run):
    newest = row(2000, Outcome.PENDING)
    assert sampled(newest, history(ratio, run - 1), ratio) == ""
    assert sampled(newest, history(ratio, run - 2), ratio)


def test_what_was_not_looked_for_is_neither_a_drop_nor_the_end_of_a_run():
    rows = history(0.5, 19)
    between = [row(1500 + n, Outcome.UNKNOWN) for n in range(50)]
    assert sampled(row(2000, Outcome.PENDING), [*rows, *between], 0.5) == ""
    arrived = row(1500, Outcome.LATE)
    assert sampled(row(2000, Outcome.PENDING), [*rows, arrived], 0.5)


def test_later_canaries_say_nothing_of_an_earlier_run():
    rows = history(0.5, 25)
    assert sampled(rows[990], rows, 0.5)


def test_an_outage_that_is_over_is_no_part_of_what_the_sampler_drops():
    worked, newest = history(0.5, 0), row(3000, Outcome.PENDING)
    gone = [row(1000 + n, Outcome.LOST) for n in range(1, 500)]
    since = [row(2000 + n, Outcome.OK) for n in range(3)]
    evidence = sampled(newest, worked[500:] + gone + since, 0.5)
    assert evidence == sampled(newest, worked[500:] + since, 0.5) != ""


@pytest.mark.parametrize(("ratio", "hours"), [(0.5, 0.4), (0.9, 1.5)])
async def test_a_sampler_that_works_again_after_a_total_loss_is_not_blamed_for_it(ratio, hours):
    rig = RouteRig(replace(SPEC, expect_drop=ExpectDrop(ratio, "")))
    gone = False
    rig.faults.drop = lambda one: gone or random.Random(one.canary_id).random() < ratio
    await rig.run(3 * 3600)
    gone = True
    await rig.run(hours * 3600)
    assert rig.cycle.status().verdict is Verdict.FAIL
    gone = False
    await rig.run(1200)
    lost = await rig.count(Outcome.LOST)
    for _ in range(30):
        await rig.run(60)
        assert rig.cycle.status().verdict is not Verdict.FAIL
    assert await rig.count(Outcome.LOST) - lost <= 1
    await rig.run(3600)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_sampler_that_drops_all_after_hours_of_health_is_told_in_minutes():
    rig = RouteRig(
        replace(SPEC, expect_drop=ExpectDrop(0.5, "")),
        faults=Faults(drop=lambda canary: canary.span_id[0] >= 128),
    )
    await rig.run(3 * 3600)
    assert rig.cycle.status().verdict is Verdict.OK
    assert await rig.count(Outcome.LOST) == 0
    rig.faults.drop = always
    # Twenty canaries in a row, two more of them lost, each 60 s after it was sent.
    await rig.run(22 * 10 + 180)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.FAIL, Reason.SILENT_LOSS)
