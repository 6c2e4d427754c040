"""Failure modes 27 to 38: what results mean."""

import random
from dataclasses import replace

import pytest

from coalmine.cli.report import exit_of
from coalmine.exits import Exit
from coalmine.wiring.picture import route_row
from coalmine.wiring.verified import Verified, route_report
from core.reason import Reason
from core.verdict import Verdict
from scheduler.export.catalogue import METRICS
from selfcheck.backends.protocol import BACKENDS, Dedupe
from selfcheck.canary.compare import same_record
from selfcheck.canary.looks import question_of
from selfcheck.canary.model import Outcome, Signal
from selfcheck.canary.verify import verify_route
from tests.dashboards.test_dashboards import (
    CASES,
)
from tests.dashboards.test_dashboards import (
    test_every_alert_fires_when_it_should_and_stays_quiet_otherwise as run_alert_cases,
)
from tests.fakes.route import CONTEXT, SPEC, RouteRig
from tests.fakes.store import FakeBackend, FakeStore, Faults, never
from tests.scheduler.export.test_exposition import samples
from tests.selfcheck.canary.modes.rigs import always, became, by_paths, row_of, warm
from tests.selfcheck.canary.test_canary_limits import SteppingClock
from tests.support.clock import VirtualClock
from tests.support.envelopes import board


async def test_mode_27_a_loss_and_a_duplicate_in_one_cycle_do_not_cancel():
    """As many copies as were sent, one of them missing and one twice: both are told."""
    rig = await warm()
    rig.faults.copies = 2
    rig.faults.drop = lambda canary: canary.key.seq % 2 == 0
    await rig.run(300)
    assert await rig.count(Outcome.LOST) >= 5
    assert [row for row in await rig.rows() if row.copies == 2]
    status = rig.cycle.status()
    assert (status.verdict, status.duplicates) == (Verdict.FAIL, "seen")


async def test_mode_28_a_late_canary_is_late_once():
    rig = await warm()
    rig.faults.delay_s = 300.0
    await rig.cycle.inject(CONTEXT)
    key = (await rig.rows())[-1].canary.key
    rig.faults.delay_s = 0.2
    await rig.run(600)
    row = next(row for row in await rig.rows() if row.canary.key == key)
    assert (row.outcome, row.copies) == (Outcome.LATE, 1)
    assert rig.ledger.transitions[SPEC.name, Outcome.LOST, Outcome.LATE] == 1
    assert became(rig, Outcome.LATE) == became(rig, Outcome.LOST) == 1


async def test_mode_29_a_lost_canary_is_counted_once():
    rig = await warm()
    rig.faults.drop = always
    await rig.cycle.inject(CONTEXT)
    rig.faults.drop = never
    lost = (await rig.rows())[-1].canary.canary_id
    await rig.run(1800)
    assert rig.ledger.transitions[SPEC.name, Outcome.PENDING, Outcome.LOST] == 1
    told = [e for e in rig.published if e.facts.get("outcome") == "lost"]
    assert len(told) == 1
    assert (await row_of(rig, lost)).outcome is Outcome.LOST


async def test_mode_30_late_arrivals_enter_the_learned_deadline():
    """What was late is in the distribution, also when it had been called lost before."""
    rig = await warm()
    before = rig.cycle.status()
    rig.faults.delay_s = 100.0
    await rig.run(900)
    after = rig.cycle.status()
    assert after.deadline_s >= 200 > before.deadline_s
    assert after.delay_p99_s >= 100
    late = [row for row in await rig.rows() if row.outcome is Outcome.LATE]
    assert late
    assert all(row.delay_s >= 100 for row in late if row.reason is Reason.LATE)


@pytest.mark.parametrize("first", ["by_id", "search"])
async def test_mode_30_a_late_arrival_counts_by_whichever_path_it_is_found(first):
    rig = await warm()
    rig.faults.delay_s = 90.0
    await rig.cycle.inject(CONTEXT)
    one = (await rig.rows())[-1].canary.canary_id
    rig.faults.delay_s = 0.2
    await rig.run(70)
    assert (await row_of(rig, one)).outcome is Outcome.LOST
    rig.faults.hidden = {first}
    await rig.run(300)
    found = await row_of(rig, one)
    assert found.outcome is Outcome.LATE
    assert found.delay_s >= 90


async def test_mode_30_what_our_own_outage_made_late_says_nothing_of_the_route():
    """Nobody looked in time: no delay is kept, so that later deadlines stay what they were."""
    rig = await warm()
    before = rig.cycle.status().deadline_s
    rig.faults.read_error = Reason.READBACK
    await rig.run(600)
    rig.faults.read_error = None
    await rig.run(120)
    unread = [row for row in await rig.rows() if row.reason is Reason.READBACK]
    assert len(unread) > 20
    assert {row.outcome for row in unread} == {Outcome.LATE}
    assert {row.delay_s for row in unread} == {None}
    assert rig.cycle.status().deadline_s == pytest.approx(before, abs=5)


async def test_mode_31_nothing_verified_is_blind():
    rig = RouteRig()
    await rig.cycle.read()
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.BLIND, Reason.STARTING)


@pytest.mark.parametrize("faults", [Faults(drop=always), Faults(read_error=Reason.READBACK)])
async def test_mode_31_a_run_that_verified_nothing_never_exits_with_0(faults):
    rig = RouteRig(faults=faults, clock=SteppingClock())
    found = await verify_route(rig.cycle, rig.clock, 3, 300.0)
    report = route_report(SPEC.name, "logs", "", found, 3)
    assert exit_of(Verified((), (report,), interrupted=False), strict=False) is Exit.NOT_PROVEN
    assert exit_of(Verified((), (), interrupted=False), strict=False) is Exit.NOT_PROVEN


def test_mode_32_every_counter_is_there_at_zero_from_the_start():
    """For each configured route and each outcome, before the first canary."""
    names = {spec.name for spec in METRICS}
    assert {"coalmine_canary_sent_total", "coalmine_canary_state"} <= names
    lines = [route_row(RouteRig(replace(SPEC, name=one)).cycle.status(), "", None) for one in "ab"]
    shown = board(VirtualClock(), routes=tuple(lines))
    assert samples(shown, "coalmine_canary_sent_total") == {("a", "logs"): 0, ("b", "logs"): 0}
    states = samples(shown, "coalmine_canary_state")
    wanted = {(name, "logs", str(outcome)) for name in ("a", "b") for outcome in Outcome}
    assert wanted <= set(states)
    assert set(states.values()) == {0}


@pytest.mark.stack
def test_mode_33_the_alert_rules_fire_on_total_loss_a_dead_tester_and_nan(tmp_path):
    """Prometheus's own rule tests; none of the four cases may be taken out of them."""
    cases = CASES.read_text()
    for case in (
        "total silence fires",
        "Coalmine dies in service",
        "each symptom fires its own rule",
        "a figure that is NaN does not silence the rule of total loss",
    ):
        assert case in cases
    run_alert_cases(tmp_path)


async def test_mode_34_an_incident_that_is_over_does_not_come_back():
    """Six hours after an outage of ten minutes there was no second failure."""
    rig = await warm()
    rig.faults.drop = always
    await rig.run(600)
    rig.faults.drop = never
    await rig.run(120)
    assert rig.cycle.status().verdict is not Verdict.FAIL
    rig.published.clear()
    await rig.run(6 * 3600)
    assert Verdict.FAIL not in {one.verdict for one in rig.published}
    assert rig.published[-1].verdict is Verdict.OK


@pytest.mark.parametrize("seed", range(5))
async def test_mode_34_looks_at_other_moments_lead_to_the_same_outcomes(seed):
    """No chance decides over an outcome: only over when it is looked for."""
    rig = RouteRig(rng=random.Random(seed))
    rig.faults.drop = lambda canary: canary.key.seq % 7 == 0
    await rig.run(900, inject=True)
    await rig.run(120, inject=False)
    outcomes = {row.canary.key.seq: row.outcome for row in await rig.rows()}
    wanted = {seq: Outcome.OK if seq % 7 else Outcome.LOST for seq in outcomes}
    assert outcomes == wanted


OURS = [
    Reason.LAG,
    Reason.INTERNAL,
    Reason.RESOLVER,
    Reason.DESCRIPTORS,
    Reason.EGRESS,
]


@pytest.mark.parametrize("reason", OURS)
async def test_mode_35_a_fault_of_our_own_is_blind_with_its_reason_and_never_fail(reason):
    rig = await warm()
    rig.faults.read_error = reason
    await rig.run(300)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.BLIND, reason)
    assert became(rig, Outcome.LOST) == 0
    assert Verdict.FAIL not in {one.verdict for one in rig.published}


@pytest.mark.parametrize("kind", list(Dedupe))
async def test_mode_36_a_store_that_collapses_copies_never_says_none(kind):
    """seen, none or not observable: as the adapter declares what the store does."""
    clock = VirtualClock()
    store = FakeStore(clock, Faults(copies=2))
    rig = RouteRig(clock=clock, store=store, backend=FakeBackend(store, dedupe=kind))
    await rig.run(200)
    wanted = "not_observable" if kind is Dedupe.COLLAPSES else "seen"
    assert rig.cycle.status().duplicates == wanted
    rig.faults.copies = 1
    single = by_paths(*FakeBackend.declaration.paths)
    single.cycle._backend = FakeBackend(single.store, dedupe=kind)
    await single.run(200)
    wanted = "none" if kind is Dedupe.KEEPS else "not_observable"
    assert single.cycle.status().duplicates == wanted


def test_mode_36_every_backend_says_what_becomes_of_copies():
    for kind in BACKENDS.entries:
        said = BACKENDS.load(kind).declaration
        assert said.dedupe_note, kind


async def test_mode_37_a_wall_clock_step_and_a_new_boot_lose_nothing():
    rig = await warm()
    rig.clock.step_wall(-3600)
    await rig.run(120)
    rig.clock.step_wall(86400)
    await rig.run(120)
    assert became(rig, Outcome.LOST) == 0
    rig.faults.delay_s = 30.0
    await rig.cycle.inject(CONTEXT)
    rig.clock.reboot("boot-2")
    rig.clock.step_wall(86400)
    # Boot time begins again: what the store holds stays visible.
    rig.store.records = [replace(r, visible_s=min(r.visible_s, 30.0)) for r in rig.store.records]
    after = rig.restarted()
    await after.run(300)
    assert became(after, Outcome.LOST) == 0
    assert await after.count(Outcome.PENDING) <= 5


DAY_S = 86400.0


@pytest.mark.parametrize(
    ("skew_s", "words"),
    [(-60.0, "60 s behind"), (60.0, "60 s ahead of"), (-900.0, "15 min behind"),
     (900.0, "15 min ahead of"), (-2 * DAY_S, "2 d behind")],
)  # fmt: skip
async def test_mode_37_a_clock_that_is_off_is_told_as_skew_beside_what_looks_like_loss(
    skew_s, words
):
    """The store hides what it took; its clock is named, and no outcome is another for it."""
    plain, skewed = await warm(), await warm()
    skewed.faults.skew_s = skewed.faults.taker_skew_s = skew_s
    for rig in (plain, skewed):
        rig.faults.drop = always
        await rig.run(300)
    outcomes = [[(r.outcome, r.reason) for r in await rig.rows()] for rig in (plain, skewed)]
    assert outcomes[0] == outcomes[1]
    was, status = plain.cycle.status(), skewed.cycle.status()
    assert (status.verdict, status.reason) == (was.verdict, was.reason)
    told = (
        f"the clock of backend {SPEC.backend} is {words} ours",
        f"the clock of what takes the canaries is {words} ours",
    )
    assert status.clocks == told
    assert status.detail == f"{was.detail}; {'; '.join(told)}"
    assert route_row(status, "", None).evidence == told
    assert skewed.published[-1].detail.endswith(told[1])


@pytest.mark.parametrize("skew_s", [-2 * DAY_S, 60.0, -9.0])
async def test_mode_37_a_clock_that_is_off_harms_no_route_that_is_ok(skew_s):
    rig = await warm()
    rig.faults.skew_s = rig.faults.taker_skew_s = skew_s
    await rig.run(300)
    status = rig.cycle.status()
    assert (status.verdict, status.clocks) == (Verdict.OK, ())
    assert "clock" not in status.detail


@pytest.mark.parametrize("step_s", [-60.0, 60.0, 1.0, -1.0])
@pytest.mark.parametrize("signal", list(Signal))
async def test_mode_37_a_step_of_a_minute_or_a_leap_second_loses_nothing(step_s, signal):
    rig = await warm(spec=replace(SPEC, signal=signal))
    await rig.cycle.inject(CONTEXT)
    rig.clock.step_wall(step_s)
    await rig.run(300)
    assert became(rig, Outcome.LOST) == 0
    assert rig.cycle.status().verdict is Verdict.OK


async def test_mode_37_a_suspended_tester_loses_nothing():
    """Everything stops for two hours, us included, and goes on."""
    rig = await warm()
    await rig.cycle.inject(CONTEXT)
    rig.clock.move(7200)
    await rig.run(120)
    assert became(rig, Outcome.LOST) == 0
    assert rig.cycle.status().verdict is Verdict.OK


async def test_mode_37_records_stamped_in_the_future_are_found_and_prove_only_themselves():
    """Our clock was ahead by ten minutes, then it was set right."""
    rig = await warm()
    rig.clock.step_wall(600)
    await rig.run(60)
    rig.clock.step_wall(-600)
    await rig.run(600)
    assert became(rig, Outcome.LOST) == 0
    assert await rig.count(Outcome.OK) >= 90


@pytest.mark.parametrize("unit_ns", [1, 1_000, 1_000_000, 1_000_000_000])
async def test_mode_38_a_stamp_that_is_cut_to_the_declared_precision_is_no_alteration(unit_ns):
    class Cutting(FakeBackend):
        async def read(self, question, path, deadline_s):
            reading = await super().read(question, path, deadline_s)
            cut = [replace(s, stamp_ns=s.stamp_ns // unit_ns * unit_ns) for s in reading.sightings]
            return replace(reading, sightings=tuple(cut))

    clock = VirtualClock()
    store = FakeStore(clock)
    rig = RouteRig(clock=clock, store=store, backend=Cutting(store, precision_ns=unit_ns))
    clock.step_wall(0.123456)
    await rig.run(200)
    assert rig.cycle.status().verdict is Verdict.OK
    assert became(rig, Outcome.ALTERED) == became(rig, Outcome.LOST) == 0


async def test_mode_38_a_stamp_cut_beyond_the_declared_precision_is_not_our_canary():
    class Cutting(FakeBackend):
        async def read(self, question, path, deadline_s):
            reading = await super().read(question, path, deadline_s)
            cut = [replace(s, stamp_ns=s.stamp_ns - 10**9) for s in reading.sightings]
            return replace(reading, sightings=tuple(cut))

    clock = VirtualClock()
    store = FakeStore(clock)
    rig = RouteRig(clock=clock, store=store, backend=Cutting(store, precision_ns=1_000_000))
    await rig.run(200)
    assert await rig.count(Outcome.OK) == 0
    assert rig.cycle.status().verdict is Verdict.BLIND


@pytest.mark.parametrize("kind", sorted(BACKENDS.entries))
def test_mode_38_every_backend_declares_the_precision_of_its_stamps(kind):
    assert 1 <= BACKENDS.load(kind).declaration.precision_ns <= 10**9


async def test_mode_38_stamps_and_ids_survive_without_a_float():
    """A nanosecond more or less is another record: nothing rounds on the way to the judge."""
    rig = await warm()
    first = rig.store.sent[0]
    assert isinstance(first.stamp_ns, int)
    off = replace(first, stamp_ns=first.stamp_ns + 1)
    (shown,) = rig.store.shown(question_of(SPEC.signal, [first], 0, stamped=True))
    assert same_record(first, shown, 1)
    assert not same_record(off, shown, 1)
    assert float(first.stamp_ns) == float(off.stamp_ns)
