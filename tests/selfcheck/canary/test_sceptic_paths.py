"""A store that shows something else, or less, to some who ask is not told to be ok."""

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from core.clock import instant
from core.reason import Reason
from core.verdict import Verdict
from probes.protocol import RunContext
from selfcheck.backends.protocol import AccessPath, Question, Reading
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import Canary, Receipt, Sent, Sighting
from selfcheck.canary.tally import Answer, PathTally
from tests.fakes.route import SPEC, RouteRig
from tests.fakes.store import BY_ID, SEARCH, FakeBackend, FakeInjector, FakeStore
from tests.selfcheck.canary.modes.rigs import WARM_S, warm
from tests.selfcheck.canary.test_sceptic_routes import MINUTE_S, moody, numbered, verdicts
from tests.support.clock import VirtualClock

HOUR_S = 60 * MINUTE_S


def shown(_path: str, sighting: Sighting) -> Sighting:
    return sighting


class Odd(FakeBackend):
    """Each path may hide, change or refuse what the store holds; `fails` and `hides` by path.

    wait_s: what whoever is refused is asked to wait.
    """

    hides: Callable[[str, Sighting], bool] = staticmethod(lambda _path, _one: False)
    fails: Callable[[str], bool] = staticmethod(lambda _path: False)
    wait_s: float | None = None
    changes: Callable[[str, Sighting], Sighting] = staticmethod(shown)

    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        reading = await super().read(question, path, deadline_s)
        if self.fails(path.name):
            return Reading.broken(Reason.READBACK, "HTTP 504", reading.asked, 0.0, self.wait_s)
        left = [one for one in reading.sightings if not self.hides(path.name, one)]
        return replace(reading, sightings=tuple(self.changes(path.name, one) for one in left))


async def odd(changes: Callable[[str, Sighting], Sighting] = shown) -> tuple[RouteRig, Odd]:
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = Odd(store, paths=(BY_ID, SEARCH))
    backend.changes = changes
    rig = RouteRig(SPEC, clock=clock, store=store, backend=backend)
    await rig.run(WARM_S)
    assert rig.cycle.status().verdict is Verdict.OK
    return rig, backend


def by_chance(share: float) -> Callable[[str, Sighting], bool]:
    """Canaries that `search` does not show, always the same."""
    return lambda path, one: path == "search" and random.Random(one.canary_id).random() < share


class Doubling(FakeStore):
    """What is kept is stored once more `after_s` later, as by a sender that timed out."""

    after_s = 0.0

    def keep(self, canary: Canary) -> None:
        super().keep(canary)
        if self.after_s:
            newest = self.records[-1]
            self.records.append(replace(newest, visible_s=newest.visible_s + self.after_s))


@pytest.mark.parametrize("after_s", [0.01, 5.0, 20.0])
async def test_a_second_copy_that_comes_later_is_a_duplicate_too(after_s):
    clock = VirtualClock()
    store = Doubling(clock)
    rig = await warm(clock=clock, store=store)
    store.after_s = after_s
    await rig.run(10 * MINUTE_S)
    assert set(await verdicts(rig, 30 * MINUTE_S)) == {Verdict.DEGRADED}
    status = rig.cycle.status()
    assert (status.reason, status.duplicates) == (Reason.DUPLICATED, "seen")


async def test_one_in_seventy_stored_twice_is_told_of_the_hour():
    rig = await moody()
    rig.mood = lambda number: setattr(rig.faults, "copies", 1 + (number % 70 == 0))
    await rig.run(HOUR_S)
    assert set(await verdicts(rig, HOUR_S)) == {Verdict.DEGRADED}
    rig.mood = lambda _number: setattr(rig.faults, "copies", 1)
    await rig.run(HOUR_S)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("change", [{"body": "gone"}, {"stamp_ns": 5}])
async def test_a_search_that_shows_something_else_than_what_was_sent_is_told(change):
    rig, backend = await odd()
    backend.changes = lambda path, one: replace(one, **change) if path == "search" else one
    await rig.run(10 * MINUTE_S)
    assert set(await verdicts(rig, 30 * MINUTE_S)) == {Verdict.DEGRADED}
    status = rig.cycle.status()
    assert "path search shows 6 of the last 6 canaries otherwise than they were sent" in (
        status.detail
    )
    search = next(path for path in status.paths if path.name == "search")
    assert (search.verdict, search.reason) == (Verdict.FAIL, Reason.ALTERED)
    backend.changes = shown
    await rig.run(10 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("share", [0.1, 0.2])
async def test_a_search_that_misses_some_for_good_is_told_nearly_always(share):
    rig, backend = await odd()
    backend.hides = by_chance(share)
    await rig.run(HOUR_S)
    told = await verdicts(rig, 4 * HOUR_S)
    assert told.count(Verdict.OK) < len(told) / 8
    backend.hides = Odd.hides
    await rig.run(HOUR_S)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("surely", [True, False])
def test_what_may_not_have_been_there_yet_was_denied_for_the_moment_only(surely):
    """A slow spell, in which canaries come late, does not linger as a path that denies."""
    clock = VirtualClock()
    tally = PathTally.empty("by_id", JudgingRules(), evidence=True)
    for _ in range(10):
        tally.add(Answer.DENIED, instant(clock), surely=surely)
        tally.add(Answer.OK, instant(clock))
    assert tally.denies() == "does not show 3 of the last 6 canaries"
    for _ in range(6):
        tally.add(Answer.OK, instant(clock))
    assert ("10 separate times" in tally.denies()) is surely
    assert bool(tally.denies()) is surely


async def test_one_long_outage_of_a_search_does_not_linger():
    rig, backend = await odd()
    backend.hides = lambda path, _one: path == "search"
    await rig.run(30 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.DEGRADED
    backend.hides = Odd.hides
    await rig.run(5 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK


async def test_a_search_that_is_refused_every_other_time_is_told_most_of_the_time():
    rig, backend = await odd()
    dice = random.Random(3)
    backend.fails = lambda path: path == "search" and dice.random() < 0.5
    await rig.run(20 * MINUTE_S)
    told = await verdicts(rig, 4 * HOUR_S)
    assert told.count(Verdict.OK) < len(told) / 5


class Raising(FakeInjector):
    """Each sixth send ends with an error of its own: nothing is stored, and no receipt written."""

    sends = 0

    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        self.sends += 1
        if self.sends % 6 == 0:
            raise RuntimeError("broke")
        return await super().send(canary, deadline_s)


async def test_a_canary_without_a_receipt_counts_where_nobody_was_killed():
    rig = await moody()
    rig.cycle._injector = Raising(rig.store)
    plain = rig.cycle.inject

    async def inject(context: RunContext) -> None:
        with contextlib.suppress(RuntimeError):
            await plain(context)

    rig.cycle.inject = inject  # type: ignore[method-assign]
    await rig.run(10 * MINUTE_S)
    assert set(await verdicts(rig, 30 * MINUTE_S)) == {Verdict.DEGRADED}


class SlowToAnswer(FakeInjector):
    """Keeps a canary at once, and answers 9.5 s later."""

    slow = False

    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        receipt = await super().send(canary, deadline_s)
        self.store.clock.move(9.5 if self.slow else 0.05)
        return receipt


async def test_where_slow_is_stated_no_slowness_becomes_usual():
    rig = RouteRig(replace(SPEC, target_s=8.0))
    injector = rig.cycle._injector = SlowToAnswer(rig.store)
    await rig.run(HOUR_S)
    assert rig.cycle.status().verdict is Verdict.OK
    injector.slow = True
    await rig.run(10 * MINUTE_S)
    assert set(await verdicts(rig, HOUR_S)) == {Verdict.DEGRADED}
    assert rig.cycle.status().reason is Reason.SLOW


async def test_most_first_tries_refused_for_good_are_told():
    rig = await moody()
    rig.faults.tries = 2
    rig.mood = lambda number: setattr(
        rig.faults, "first_try", None if number % 3 == 0 else Sent.REJECTED
    )
    await rig.run(10 * MINUTE_S)
    assert Verdict.OK not in await verdicts(rig, 30 * MINUTE_S)


async def test_one_in_sixteen_lost_is_told_of_a_route_that_sends_rarely():
    rig = RouteRig(replace(SPEC, every_s=300.0))
    await rig.run(35 * 300.0)
    rig.faults.drop = numbered(16)
    await rig.run(60 * 300.0)
    told = await verdicts(rig, 12 * HOUR_S)
    assert told.count(Verdict.OK) < len(told) / 20


async def test_edits_that_leave_canaries_behind_leave_a_healthy_route_ok():
    rig = await warm()
    rig.faults.delay_s = 15.0
    await rig.run(20 * MINUTE_S)
    for number in range(5):
        await rig.run(5.0)
        rig.store.records.clear()
        rig = rig.restarted(sent_under=f"under-{number + 2}")
        await rig.run(8 * MINUTE_S)
    await rig.run(5 * MINUTE_S)
    assert set(await verdicts(rig, 30 * MINUTE_S)) == {Verdict.OK}


def bursts(seed: int, on_s: float, off_s: float) -> Callable[[float], bool]:
    """Whether a moment lies in one of the bursts of `on_s`, about `off_s` apart at random."""
    dice, at_s, known = random.Random(seed), 0.0, []
    while at_s < 5 * HOUR_S:
        at_s += dice.uniform(0.5, 1.5) * off_s
        known.append((at_s, at_s + on_s))
        at_s += on_s
    return lambda now_s: any(begin <= now_s < end for begin, end in known)


BURSTS = [(20.0, 40.0), (28.0, 112.0), (45.0, 180.0)]


@pytest.mark.parametrize("who", [{"search"}, {"by_id"}, {"by_id", "search"}])
@pytest.mark.parametrize(("on_s", "off_s"), BURSTS)
async def test_bursts_in_which_a_path_denies_are_told(on_s, off_s, who):
    rig, backend = await odd()
    began_s, bad = rig.clock.monotonic(), bursts(4, on_s, off_s)
    backend.hides = lambda path, _one: path in who and bad(rig.clock.monotonic() - began_s)
    await rig.run(HOUR_S / 2)
    told = await verdicts(rig, 3 * HOUR_S)
    assert told.count(Verdict.OK) < len(told) / 10


@pytest.mark.parametrize(("on_s", "off_s"), BURSTS)
async def test_bursts_in_which_a_path_is_refused_are_told(on_s, off_s):
    rig, backend = await odd()
    began_s, bad = rig.clock.monotonic(), bursts(4, on_s, off_s)
    backend.fails = lambda path: path == "search" and bad(rig.clock.monotonic() - began_s)
    await rig.run(HOUR_S / 2)
    told = await verdicts(rig, 3 * HOUR_S)
    assert told.count(Verdict.OK) < len(told) / 10
    assert rig.cycle.status().reason is Reason.READBACK


async def test_a_read_side_that_flaps_is_told():
    rig, backend = await odd()
    began_s = rig.clock.monotonic()
    backend.fails = lambda _path: (rig.clock.monotonic() - began_s) % 120 < 45
    await rig.run(HOUR_S / 2)
    assert Verdict.OK not in await verdicts(rig, HOUR_S)


async def test_one_in_ten_slower_than_the_route_may_be_is_told():
    rig = await moody(spec=replace(SPEC, target_s=8.0))
    rig.mood = lambda number: setattr(rig.faults, "delay_s", 15.0 if number % 10 == 0 else 0.2)
    await rig.run(HOUR_S / 2)
    assert set(await verdicts(rig, HOUR_S)) == {Verdict.DEGRADED}
    status = rig.cycle.status()
    assert status.reason is Reason.SLOW
    assert "slower than 8 s within the hour" in status.detail


async def test_what_is_seen_between_two_looks_is_not_slow_for_that():
    """Looks lie up to a quarter of a minute apart; one is made when a canary becomes slow."""
    rig = await moody(spec=replace(SPEC, target_s=8.0))
    rig.mood = lambda number: setattr(rig.faults, "delay_s", 7.9 if number % 10 == 0 else 0.2)
    await rig.run(HOUR_S / 2)
    assert set(await verdicts(rig, HOUR_S)) == {Verdict.OK}


@pytest.mark.parametrize("what", ["denied", "gone", "refused"])
async def test_what_paths_did_outlives_restarts(what):
    """A deployment every quarter of an hour is no excuse for a store that answers badly."""
    rig, backend = await odd()
    began_s, bad = rig.clock.monotonic(), bursts(4, 20.0, 60.0)
    share = by_chance(0.2)
    if what == "denied":
        backend.hides = share
    elif what == "gone":
        backend.hides = lambda path, _one: bad(rig.clock.monotonic() - began_s)
    else:
        backend.fails = lambda path: path == "search" and bad(rig.clock.monotonic() - began_s)
    await rig.run(HOUR_S)
    told = []
    for _ in range(12):
        rig = rig.restarted()
        told += await verdicts(rig, 15 * MINUTE_S)
    assert told.count(Verdict.OK) < len(told) / 10
    backend.hides, backend.fails = Odd.hides, Odd.fails
    await rig.run(HOUR_S)
    rig = rig.restarted()
    await rig.run(10 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK
