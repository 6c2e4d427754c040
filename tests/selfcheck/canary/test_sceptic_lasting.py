"""What goes on for hours is told for hours, and what is over, or never was, is not."""

import random
from dataclasses import replace

import pytest

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import Signal
from selfcheck.canary.policy import ExpectDrop
from selfcheck.canary.route import RouteStatus
from tests.fakes.route import SPEC, RouteRig
from tests.fakes.store import BY_ID, CACHED, ONE_BY_ONE, SEARCH, FakeBackend, FakeStore
from tests.selfcheck.canary.modes.rigs import warm
from tests.selfcheck.canary.test_sceptic_paths import HOUR_S, Doubling, Odd, bursts, odd
from tests.selfcheck.canary.test_sceptic_routes import MINUTE_S, moody, verdicts
from tests.support.clock import VirtualClock


@pytest.mark.parametrize("who", [{"search"}, {"by_id", "search"}])
async def test_a_store_that_asks_half_of_its_readers_to_wait_is_told(who):
    """It gives no answer, however politely; that costs no canary."""
    rig, backend = await odd()
    dice = random.Random(3)
    backend.fails, backend.wait_s = lambda path: path in who and dice.random() < 0.5, 2.0
    await rig.run(HOUR_S / 2)
    assert Verdict.OK not in await verdicts(rig, 2 * HOUR_S)
    assert "of its last 100 reads, at" in rig.cycle.status().detail


@pytest.mark.parametrize("what", ["hides", "fails"])
async def test_a_search_that_never_answers_is_told_though_we_restart_every_two_minutes(what):
    rig, backend = await odd()
    setattr(backend, what, lambda path, *_: path == "search")
    told = []
    for _ in range(30):
        rig = rig.restarted()
        told += await verdicts(rig, 2 * MINUTE_S)
    assert Verdict.OK not in told[len(told) // 4 :]
    setattr(backend, what, getattr(Odd, what))
    for _ in range(5):
        rig = rig.restarted()
        await rig.run(2 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("after_s", [60.0, 300.0])
async def test_copies_that_are_stored_minutes_later_are_told(after_s):
    """A spool that is sent once more, a sender whose time-out is long."""
    clock = VirtualClock()
    store = Doubling(clock)
    rig = await warm(clock=clock, store=store)
    store.after_s = after_s
    await rig.run(HOUR_S)
    assert set(await verdicts(rig, HOUR_S)) == {Verdict.DEGRADED}
    assert rig.cycle.status().reason is Reason.DUPLICATED


async def test_a_few_that_come_after_any_deadline_are_told_of_the_hour():
    """Lost at first, late in the end: they leave the losses, and not the hour."""
    rig = await moody()
    dice = random.Random(5)
    rig.mood = lambda _number: setattr(
        rig.faults, "delay_s", dice.uniform(960, 1500) if dice.random() < 0.05 else 0.2
    )
    await rig.run(HOUR_S)
    assert Verdict.OK not in await verdicts(rig, 2 * HOUR_S)


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.99])
async def test_a_sampled_route_is_well_again_as_soon_as_others(ratio):
    dice = random.Random(5)
    rig = RouteRig(replace(SPEC, expect_drop=ExpectDrop(ratio, "")))
    rig.faults.drop = lambda _canary: dice.random() < ratio
    await rig.run(3 * HOUR_S)
    rig.faults.reject = Reason.INJECT
    await rig.run(5 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.FAIL
    rig.faults.reject = None
    await rig.run(5 * MINUTE_S)
    assert rig.cycle.status().verdict is not Verdict.FAIL


@pytest.mark.parametrize("every_s", [10.0, 60.0, 300.0])
async def test_what_a_path_did_does_not_linger_for_days_where_canaries_are_rare(every_s):
    rig = RouteRig(replace(SPEC, every_s=every_s))
    await rig.run(40 * every_s)
    for _ in range(3):
        rig.faults.hidden = {"search"}
        await rig.run(10 * every_s + 2 * MINUTE_S)
        rig.faults.hidden = set()
        await rig.run(20 * every_s)
    await rig.run(max(2 * HOUR_S, 60 * every_s))
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("paths", [(ONE_BY_ONE,), (ONE_BY_ONE, SEARCH)])
@pytest.mark.parametrize(("every_s", "least_s", "most_s"), [(5.0, 0.2, 0.3), (10.0, 3.0, 7.0)])
async def test_that_our_reads_wait_for_their_turn_makes_no_route_slow(
    paths, every_s, least_s, most_s
):
    clock, dice = VirtualClock(), random.Random(9)
    store = FakeStore(clock)
    backend = FakeBackend(store, paths=paths)
    rig = await moody(
        spec=replace(SPEC, every_s=every_s, target_s=8.0), clock=clock, store=store, backend=backend
    )
    rig.mood = lambda _number: setattr(rig.faults, "delay_s", dice.uniform(least_s, most_s))
    assert set(await verdicts(rig, 2 * HOUR_S)) == {Verdict.OK}


async def test_reads_that_wait_for_their_turn_hide_no_slowness():
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = FakeBackend(store, paths=(replace(BY_ID, batched=False),))
    rig = await moody(spec=replace(SPEC, target_s=8.0), clock=clock, store=store, backend=backend)
    rig.mood = lambda number: setattr(rig.faults, "delay_s", 15.0 if number % 5 == 0 else 4.0)
    await rig.run(HOUR_S / 2)
    assert set(await verdicts(rig, HOUR_S)) == {Verdict.DEGRADED}


async def test_outages_of_reading_that_come_back_outlive_restarts():
    rig, backend = await odd()
    began_s, down = rig.clock.monotonic(), bursts(4, 40.0, 600.0)
    backend.fails = lambda _path: down(rig.clock.monotonic() - began_s)
    await rig.run(HOUR_S)
    told = []
    for _ in range(7):
        rig = rig.restarted()
        told += await verdicts(rig, 25 * MINUTE_S)
    assert told.count(Verdict.OK) < len(told) / 5


@pytest.mark.parametrize("share", [1.0, 0.3])
async def test_slower_than_stated_is_told_of_a_route_that_sends_often(share):
    rig = await moody(spec=replace(SPEC, every_s=5.0, target_s=8.0))
    dice = random.Random(2)
    rig.mood = lambda _number: setattr(
        rig.faults, "delay_s", dice.uniform(9, 11) if dice.random() < share else 0.2
    )
    await rig.run(HOUR_S / 2)
    assert set(await verdicts(rig, HOUR_S)) == {Verdict.DEGRADED}
    assert rig.cycle.status().reason is Reason.SLOW


@pytest.mark.parametrize("delay_s", [0.2, 5.0])
async def test_restarts_make_no_route_slow(delay_s):
    """What nobody looked for while we were down took no longer for that."""
    rig = RouteRig(replace(SPEC, target_s=8.0))
    rig.faults.delay_s = delay_s
    await rig.run(20 * MINUTE_S)
    told = []
    for _ in range(12):
        await rig.run(5 * MINUTE_S)
        rig.clock.move(20.0)
        rig = rig.restarted()
        told += await verdicts(rig, 5 * MINUTE_S)
    assert told.count(Verdict.OK) > 0.9 * len(told)


async def with_a_cache(delay_s: float, cached_s: float = 0.0, changes=None) -> RouteStatus:
    """A route over a store with a cached search too, after an hour."""
    clock = VirtualClock()
    store = FakeStore(clock)
    store.faults.delay_s, store.faults.cached_s = delay_s, cached_s
    backend = Odd(store, paths=(BY_ID, SEARCH, CACHED))
    if changes is not None:
        backend.changes = changes
    rig = RouteRig(clock=clock, store=store, backend=backend)
    await rig.run(HOUR_S)
    return rig.cycle.status()


@pytest.mark.parametrize("delay_s", [0.2, 5.0, 20.0])
async def test_a_cache_that_is_stale_is_told_of_its_path_however_fast_the_store_is(delay_s):
    cached = (await with_a_cache(delay_s, cached_s=600.0)).paths[-1]
    assert (cached.verdict, cached.reason) == (Verdict.FAIL, Reason.STALE)


async def test_a_cache_that_shows_what_was_not_sent_is_told_of_its_path():
    def changed(path, one):
        return replace(one, body="other") if path == CACHED.name else one

    cached = (await with_a_cache(5.0, changes=changed)).paths[-1]
    assert (cached.verdict, cached.reason) == (Verdict.FAIL, Reason.ALTERED)


async def test_a_cache_that_nobody_could_test_is_not_ok():
    """What is there at once leaves no old answer that it could repeat."""
    status = await with_a_cache(0.0)
    assert status.verdict is Verdict.OK
    assert status.paths[-1].verdict is Verdict.BLIND


@pytest.mark.parametrize(
    "change", [{"attributes": {}}, {"attributes": {"hop": "a"}}, {"body": None}, {"fields": {}}]
)
@pytest.mark.parametrize("who", [{"search"}, {"by_id", "search"}])
@pytest.mark.parametrize("restarts", [False, True])
async def test_records_that_lost_a_part_as_a_whole_are_altered(restarts, who, change):
    """Some paths never show it; this one did."""
    rig, backend = await odd(lambda _path, one: replace(one, fields={"severity_text": "INFO"}))
    if restarts:
        rig = rig.restarted()
    backend.changes = lambda path, one: (
        replace(one, **change)
        if path in who and random.Random(one.canary_id).random() < 0.2
        else one
    )
    await rig.run(HOUR_S / 2)
    assert Verdict.OK not in await verdicts(rig, 2 * HOUR_S)


@pytest.mark.parametrize("labels", [{}, {"service_name": "of the stream"}])
def bare(_path, one):
    return replace(one, attributes={}, body=None)


async def test_a_path_that_never_shows_a_part_is_not_asked_for_it():
    rig, _ = await odd(bare)
    assert set(await verdicts(rig, HOUR_S)) == {Verdict.OK}


async def test_a_part_that_all_records_lose_is_missed_for_a_week():
    """Exporters change: what nobody has shown for so long was given up."""
    rig, backend = await odd()
    rig = rig.restarted(every_s=600.0)
    await rig.run(6 * HOUR_S)
    backend.changes = bare
    rig = rig.restarted()
    await rig.run(2 * HOUR_S)
    for _ in range(6):
        assert set(await verdicts(rig, HOUR_S)) == {Verdict.FAIL}
        assert rig.cycle.status().reason is Reason.ALTERED
        await rig.run(23 * HOUR_S)
    await rig.run(36 * HOUR_S)
    assert set(await verdicts(rig, HOUR_S)) == {Verdict.OK}


@pytest.mark.parametrize("every_s", [5.0, 10.0, 30.0])
async def test_what_only_the_second_path_finds_stretches_no_deadline(every_s):
    """When it is first asked tells nothing of how long a canary took."""
    rig = RouteRig(replace(SPEC, every_s=every_s))
    await rig.run(HOUR_S / 2)
    backend = Odd(rig.store, paths=(BY_ID, SEARCH))
    rig.backend = backend
    rig = rig.restarted()
    backend.hides = lambda path, one: (
        path == "by_id" and random.Random(one.canary_id).random() < 0.2
    )
    await rig.run(3 * HOUR_S)
    status = rig.cycle.status()
    assert status.verdict is not Verdict.OK
    assert status.deadline_s <= 100.0


async def test_samples_that_lost_their_values_are_altered():
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = Odd(store, paths=(BY_ID, SEARCH))
    spec = replace(SPEC, signal=Signal.METRICS)
    rig = RouteRig(spec, clock=clock, store=store, backend=backend)
    await rig.run(HOUR_S / 2)
    backend.changes = lambda _path, one: (
        replace(one, value=None) if random.Random(one.canary_id).random() < 0.2 else one
    )
    await rig.run(HOUR_S / 2)
    assert Verdict.OK not in await verdicts(rig, HOUR_S)
