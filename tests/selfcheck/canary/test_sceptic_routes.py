"""A route that is broken now and then, or only for some who ask, is not told to be ok."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.protocol import AccessPath, Dedupe, Question, Reading
from selfcheck.backends.sightings import Record, sightings
from selfcheck.canary.backoff import StoreBackoff
from selfcheck.canary.compare import difference
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import Canary, Outcome, Signal
from selfcheck.canary.policy import ExpectDrop
from tests.fakes.route import SPEC, RouteRig, side_by_side
from tests.fakes.store import FakeBackend, FakeStore, never
from tests.selfcheck.canary.modes.rigs import WARM_S, always, warm
from tests.support.canaries import canary_of
from tests.support.clock import VirtualClock

MINUTE_S = 60.0
# Nobody is told `ok` for longer than this, once something is wrong.
TOLD_S = 4 * MINUTE_S


class Moody(RouteRig):
    """A rig whose faults may change before each canary: `mood` is told its number."""

    mood: Callable[[int], None] = staticmethod(lambda _number: None)

    async def inject(self) -> None:
        self.mood(len(self.store.sent) + 1)
        await super().inject()


class Replicas(FakeBackend):
    """Answers with a replica that holds nothing where `dead` says so of the number of a read."""

    dead: Callable[[int], bool] = staticmethod(never)
    absent_fails = False

    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        reading = await super().read(question, path, deadline_s)
        if self.dead(len(self.store.reads)):
            return replace(reading, sightings=())
        if self.absent_fails and reading.complete and not reading.sightings:
            told = "HTTP 504 upstream timed out"
            return Reading.broken(Reason.READBACK, told, reading.asked, 0.0)
        return reading


async def moody(**given) -> Moody:
    rig = Moody(**given)
    await rig.run(WARM_S)
    assert rig.cycle.status().verdict is Verdict.OK, rig.cycle.status()
    return rig


@pytest.mark.parametrize("every_s", [10.0, 60.0])
async def test_routes_that_cannot_be_read_keep_no_other_of_their_store_from_being_read(every_s):
    """One table or index is broken: whoever asks for what is in it gets no answer, others do."""

    class Broken(FakeBackend):
        async def read(self, question, path, deadline_s):
            reading = await super().read(question, path, deadline_s)
            told = Reading.broken(Reason.READBACK, "HTTP 500", reading.asked, 0.0)
            return told if question.route.startswith("broken") else reading

    clock = VirtualClock()
    store, shared = FakeStore(clock), StoreBackoff(JudgingRules(), random.Random(1))
    rigs = [
        RouteRig(
            replace(SPEC, name=name, every_s=every_s if name == "healthy" else 10.0),
            clock=clock, store=store, backend=Broken(store), rng=random.Random(name),
            backoff=shared,
        )
        for name in ("broken-1", "broken-2", "broken-3", "healthy")
    ]  # fmt: skip
    await side_by_side(rigs, 10 * MINUTE_S)
    for _ in range(60):
        await side_by_side(rigs, MINUTE_S)
        told = [rig.cycle.status().verdict for rig in rigs]
        assert told == [Verdict.BLIND] * 3 + [Verdict.OK]


async def replicated() -> tuple[RouteRig, Replicas]:
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = Replicas(store)
    return await warm(clock=clock, store=store, backend=backend), backend


async def verdicts(rig: RouteRig, seconds: float) -> list[Verdict]:
    """The verdict at every tenth second of so many."""
    told = []
    for _ in range(int(seconds // 10)):
        await rig.run(10)
        told.append(rig.cycle.status().verdict)
    return told


def numbered(every: int) -> Callable[[Canary], bool]:
    return lambda canary: canary.key.seq % every == 0


async def test_one_in_six_refused_for_good_is_degraded_though_five_of_the_last_six_are_ok():
    rig = await moody()
    rig.mood = lambda number: setattr(
        rig.faults, "reject", Reason.INJECT if number % 6 == 0 else None
    )
    await rig.run(TOLD_S)
    assert set(await verdicts(rig, 10 * MINUTE_S)) == {Verdict.DEGRADED}
    status = rig.cycle.status()
    assert status.reason is Reason.INJECT
    assert "refused within the hour, at" in status.detail
    assert "separate times" in status.detail


async def test_one_outage_at_injection_that_is_over_does_not_linger():
    rig = await moody()
    rig.faults.reject = Reason.INJECT
    await rig.run(2 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.FAIL
    rig.faults.reject = None
    await rig.run(2 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("delay_s", [0.2, 20.0, 100.0])
async def test_every_other_one_lost_is_a_failure_however_late_a_loss_is_known(delay_s):
    """What arrived is judged long before what did not: it must not hide it meanwhile."""
    rig = await warm()
    rig.faults.delay_s = delay_s
    await rig.run(30 * MINUTE_S)
    rig.faults.drop = numbered(2)
    await rig.run(rig.cycle.status().deadline_s + MINUTE_S)
    assert set(await verdicts(rig, 30 * MINUTE_S)) == {Verdict.FAIL}
    rig.faults.drop = never
    await rig.run(rig.cycle.status().deadline_s + MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.DEGRADED
    await rig.run(65 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("phase_s", [0.0, 30.0])
async def test_an_outage_that_comes_back_is_told_though_it_fills_whole_minutes(phase_s):
    rig = await moody()
    rig.mood = lambda _number: setattr(
        rig.faults,
        "reject",
        Reason.INJECT if (rig.clock.monotonic() - phase_s) % 1200 < 120 else None,
    )
    await rig.run(60 * MINUTE_S)
    assert Verdict.OK not in await verdicts(rig, 120 * MINUTE_S)


async def test_a_few_lost_and_a_few_refused_are_added_up():
    rig = await moody()
    rig.mood = lambda number: setattr(
        rig.faults, "reject", Reason.INJECT if number % 110 == 50 else None
    )
    rig.faults.drop = lambda canary: canary.key.seq % 110 == 0
    await rig.run(60 * MINUTE_S)
    told = await verdicts(rig, 120 * MINUTE_S)
    assert told.count(Verdict.OK) < len(told) / 10


async def test_one_in_six_altered_is_degraded_though_five_of_the_last_six_are_ok():
    rig = await warm()
    rig.faults.alter = numbered(6)
    await rig.run(TOLD_S)
    assert set(await verdicts(rig, 10 * MINUTE_S)) == {Verdict.DEGRADED}
    assert rig.cycle.status().reason is Reason.ALTERED


@pytest.mark.parametrize("every_s", [60.0, 300.0, 3600.0])
@pytest.mark.parametrize("what", ["drop", "alter"])
async def test_one_in_seven_is_told_however_rarely_a_route_sends(every_s, what):
    """An hour holds a dozen canaries of such a route, or a single one."""
    rig = RouteRig(replace(SPEC, every_s=every_s))
    await rig.run(35 * every_s)
    assert rig.cycle.status().verdict is Verdict.OK
    setattr(rig.faults, what, numbered(7))
    await rig.run(30 * every_s)
    for _ in range(30):
        await rig.run(every_s)
        assert rig.cycle.status().verdict is Verdict.DEGRADED
    setattr(rig.faults, what, never)
    await rig.run(70 * every_s)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("every_s", [60.0, 300.0])
async def test_one_in_six_refused_is_told_however_rarely_a_route_sends(every_s):
    rig = Moody(replace(SPEC, every_s=every_s))
    await rig.run(35 * every_s)
    rig.mood = lambda number: setattr(
        rig.faults, "reject", Reason.INJECT if number % 6 == 0 else None
    )
    await rig.run(30 * every_s)
    for _ in range(30):
        await rig.run(every_s)
        assert rig.cycle.status().verdict is Verdict.DEGRADED


async def test_half_of_them_gone_with_their_connections_is_not_hidden_by_the_other_half():
    """Nobody knows whether they were taken: they are never lost, but neither is all well."""
    rig = await moody()
    rig.mood = lambda number: setattr(rig.faults, "maybe", number % 2 == 0)
    await rig.run(TOLD_S)
    assert Verdict.OK not in await verdicts(rig, 10 * MINUTE_S)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.BLIND, Reason.MAYBE_SENT)
    assert "could not be told" in status.detail
    rig.mood = lambda _number: setattr(rig.faults, "maybe", False)
    await rig.run(TOLD_S)
    assert await rig.count(Outcome.LOST) == 0


async def test_a_store_that_only_answers_of_what_it_has_hides_no_loss():
    """Whatever is not there ends in a time-out, as it does behind many a query frontend."""
    rig, backend = await replicated()
    backend.absent_fails, rig.faults.drop = True, numbered(2)
    await rig.run(TOLD_S)
    assert Verdict.OK not in await verdicts(rig, 10 * MINUTE_S)


async def test_a_replica_without_the_data_is_noticed_though_each_canary_is_found_in_the_end():
    rig, backend = await replicated()
    dice = random.Random(3)
    backend.dead = lambda _number: dice.random() < 0.5
    await rig.run(10 * MINUTE_S)
    told = await verdicts(rig, 10 * MINUTE_S)
    assert Verdict.OK not in told
    assert "path by_id asked again, d" in rig.cycle.status().detail
    backend.dead = never
    await rig.run(60 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK


async def test_a_search_that_is_refused_for_good_is_not_hidden_by_reads_by_id():
    """Whoever looks for a record by what it says gets an error, for ever."""
    rig = await warm()
    rig.faults.broken_paths = {"search"}
    await rig.run(TOLD_S)
    assert set(await verdicts(rig, 10 * MINUTE_S)) == {Verdict.DEGRADED}
    status = rig.cycle.status()
    assert status.reason is Reason.READBACK
    assert status.detail == ("path search could not be read the last 6 times, while others were")
    rig.faults.broken_paths = set()
    await rig.run(TOLD_S)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("seed", range(5))
async def test_every_other_read_that_fails_is_told_though_a_later_one_finds_every_canary(seed):
    """Whoever looks something up gets an error every other time."""
    rig = await warm()
    dice = random.Random(seed)
    rig.faults.cut = lambda _number: dice.random() < 0.5
    await rig.run(15 * MINUTE_S)
    told = await verdicts(rig, 30 * MINUTE_S)
    assert told.count(Verdict.OK) < len(told) / 10
    rig.faults.cut = never
    await rig.run(60 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK


async def test_one_long_outage_of_the_read_side_does_not_linger():
    rig = await warm()
    rig.faults.cut = lambda _number: True
    await rig.run(20 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.BLIND
    rig.faults.cut = never
    await rig.run(5 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("every", [6, 10])
async def test_stored_with_an_answer_that_breaks_off_now_and_then_is_degraded(every):
    """Five of the last six were taken, and the sixth arrived: its sender holds it for lost."""
    rig = await moody()
    rig.faults.lost_answer = True
    rig.mood = lambda number: setattr(rig.faults, "maybe", number % every == 0)
    await rig.run(every * MINUTE_S)
    assert set(await verdicts(rig, 10 * MINUTE_S)) == {Verdict.DEGRADED}
    status = rig.cycle.status()
    assert status.reason is Reason.INJECT
    assert "stored though their sender was told otherwise" in status.detail


@pytest.mark.parametrize("seed", range(5))
async def test_a_read_that_fails_now_and_then_wakes_nobody(seed):
    rig = await warm()
    dice = random.Random(seed)
    rig.faults.cut = lambda _number: dice.random() < 0.03
    assert set(await verdicts(rig, 60 * MINUTE_S)) == {Verdict.OK}


async def test_a_store_that_was_down_is_called_unreliable_once_it_was_so_three_times():
    """It is told while it lasts; one that comes back within the hour again and again is no other.

    Whoever looks something up between two outages will not know that there will be a third.
    """
    rig = await warm()
    told = []
    for _ in range(4):
        rig.faults.read_error = Reason.READBACK
        await rig.run(5 * MINUTE_S)
        assert rig.cycle.status().verdict is Verdict.BLIND
        rig.faults.read_error = None
        await rig.run(15 * MINUTE_S)
        told.append(rig.cycle.status().verdict)
    assert told == [Verdict.OK, Verdict.OK, Verdict.DEGRADED, Verdict.DEGRADED]
    assert rig.cycle.status().detail == (
        "path by_id could not be read 3 separate times within the hour"
    )
    await rig.run(60 * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.OK


async def test_an_endpoint_that_never_answers_is_not_ok_though_it_keeps_everything():
    """Whoever sends to it gives up, and drops its records or sends them again."""
    rig = await warm()
    rig.faults.maybe = rig.faults.silent = rig.faults.lost_answer = True
    await rig.run(TOLD_S)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.DEGRADED, Reason.INJECT)
    assert status.detail == "6 of the last 6 stored, though taken without an answer"


async def test_answers_that_break_off_are_not_ok_though_everything_is_kept():
    """Whoever sends to it cannot know that, and sends again or drops its records."""
    rig = await warm()
    rig.faults.maybe = rig.faults.lost_answer = True
    await rig.run(TOLD_S)
    assert set(await verdicts(rig, 10 * MINUTE_S)) == {Verdict.DEGRADED}
    status = rig.cycle.status()
    assert status.reason is Reason.INJECT
    assert status.detail == "6 of the last 6 stored, though the answer broke off: no answer"
    rig.faults.maybe = False
    await rig.run(TOLD_S)
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize(("ratio", "minutes"), [(0.5, 8), (0.9, 30)])
async def test_a_declared_sampler_does_not_hide_the_loss_of_everything(ratio, minutes):
    dice = random.Random(5)
    rig = RouteRig(replace(SPEC, expect_drop=ExpectDrop(ratio, "")))
    rig.faults.drop = lambda _canary: dice.random() < ratio
    await rig.run(60 * MINUTE_S)
    assert await rig.count(Outcome.LOST) == 0
    assert rig.cycle.status().verdict is Verdict.OK
    rig.faults.drop = always
    await rig.run(minutes * MINUTE_S)
    assert rig.cycle.status().verdict is Verdict.FAIL


def test_an_altered_copy_beside_an_intact_one_is_altered():
    canary = canary_of(Signal.LOGS)

    def stored(changes: Iterable[tuple[str, str]]) -> Record:
        attributes = {**canary.attributes, **dict(changes)}
        return Record(canary.canary_id, canary.stamp_ns, canary.body, None, attributes)

    records = [stored([]), stored([("coalmine.seq", "999")])]
    seen = sightings(records, [canary], Dedupe.KEEPS)
    assert {one.copies for one in seen} == {2}
    assert "coalmine.seq" in difference(canary, seen)
