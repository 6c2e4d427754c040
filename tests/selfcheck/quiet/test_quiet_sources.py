"""A source is quiet only when its route is proven and its backend was read."""

from hypothesis import given
from hypothesis import strategies as st

from core.reason import Reason
from core.result import Result
from core.verdict import Verdict
from selfcheck.backends.protocol import Newest
from selfcheck.quiet.gate import gated, group
from selfcheck.quiet.inventory import Fallen, storm
from selfcheck.quiet.model import Source
from selfcheck.quiet.watch import QuietWatch
from tests.support.clock import VirtualClock

SHOP = Source("shop", "loki", '{service="shop"}', 60.0, ("gw-logs",))


class Store:
    """A backend that knows one newest stamp, or why it cannot be read."""

    def __init__(self, answer: Newest):
        self.answer, self.asked = answer, []

    async def newest(self, selector: str, window_s: float, deadline_s: float) -> Newest:
        self.asked.append((selector, window_s, deadline_s))
        return self.answer


def seen(clock: VirtualClock, age_s: float) -> Newest:
    return Newest(True, int((clock.utc().timestamp() - age_s) * 1e9), Reason.OK, "")


NOTHING = Newest(True, None, Reason.OK, "")


def watch(clock, answer, gate=Verdict.OK, **given):
    store = Store(answer)
    return QuietWatch(
        SHOP, store, lambda routes: dict.fromkeys(routes, gate), clock, **given
    ), store


async def test_a_source_with_a_fresh_record_is_ok():
    clock = VirtualClock()
    watched, store = watch(clock, seen(clock, 5))
    result = await watched.step()
    assert result.verdict is Verdict.OK
    assert abs(result.facts["newest_age_s"] - 5) < 0.01
    assert store.asked == [('{service="shop"}', 3600.0, 10.0)]


async def test_a_source_older_than_its_limit_is_quiet():
    clock = VirtualClock()
    watched, _ = watch(clock, seen(clock, 61))
    result = await watched.step()
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.QUIET)


async def test_a_record_that_left_the_window_still_proves_when_it_was_last_seen():
    clock = VirtualClock()
    watched, store = watch(clock, seen(clock, 5))
    await watched.step()
    store.answer = NOTHING
    clock.move(120)
    result = await watched.step()
    assert result.reason is Reason.QUIET
    assert abs(result.facts["newest_age_s"] - 125) < 0.01


async def test_a_watch_that_moves_asks_anew_and_remembers_what_it_saw():
    clock = VirtualClock()
    before, old = watch(clock, seen(clock, 5), Verdict.BLIND)
    await before.step()
    clock.move(100)
    new = Store(NOTHING)
    moved = before.moved(new, lambda names: dict.fromkeys(names, Verdict.OK))
    await moved.step()
    assert (old.asked, len(new.asked), moved.last_ns) == ([], 1, before.last_ns)
    assert (await before.step()).verdict is Verdict.BLIND, "the old one is as it was"


async def test_mode_50_a_quiet_source_on_a_broken_route_is_blind_and_not_read():
    for gate in (Verdict.FAIL, Verdict.BLIND, Verdict.DEGRADED):
        clock = VirtualClock()
        watched, store = watch(clock, seen(clock, 900), gate)
        result = await watched.step()
        assert (result.verdict, result.reason) == (Verdict.BLIND, Reason.ROUTE)
        assert not store.asked


async def test_mode_50_a_route_that_breaks_during_the_read_bars_the_verdict():
    clock, verdicts = VirtualClock(), [Verdict.OK, Verdict.FAIL]
    watched = QuietWatch(
        SHOP, Store(seen(clock, 900)), lambda names: dict.fromkeys(names, verdicts.pop(0)), clock
    )
    assert (await watched.step()).reason is Reason.ROUTE


async def test_mode_52_a_source_that_never_reported_fails_after_its_grace():
    clock = VirtualClock()
    watched, _ = watch(clock, NOTHING, grace_s=300.0)
    early = await watched.step()
    clock.move(300)
    assert (early.verdict, early.reason) == (Verdict.BLIND, Reason.STARTING)
    late = await watched.step()
    assert (late.verdict, late.reason) == (Verdict.FAIL, Reason.NEVER_SEEN)


async def test_a_broken_read_is_blind_and_keeps_the_auth_reason():
    for given_, expected in ((Reason.AUTH, Reason.AUTH), (Reason.TIMEOUT, Reason.READBACK)):
        watched, _ = watch(VirtualClock(), Newest(False, None, given_, "no"))
        result = await watched.step()
        assert (result.verdict, result.reason) == (Verdict.BLIND, expected)


async def test_a_record_far_in_the_future_is_a_clock_fault_and_not_remembered():
    clock = VirtualClock()
    watched, store = watch(clock, seen(clock, -3600))
    result = await watched.step()
    assert (result.verdict, result.reason) == (Verdict.DEGRADED, Reason.CLOCK)
    store.answer = seen(clock, 100)
    assert (await watched.step()).reason is Reason.QUIET


async def test_what_was_seen_before_a_restart_counts():
    clock = VirtualClock()
    last = int((clock.utc().timestamp() - 500) * 1e9)
    watched, _ = watch(clock, NOTHING, last_ns=last)
    assert (await watched.step()).reason is Reason.QUIET


def members(quiet: int, of: int, blind: int = 0) -> dict[str, Result]:
    made = {f"host-{i:02}": Result.ok({}) for i in range(of)}
    made |= {f"host-{i:02}": Result.fail(Reason.QUIET, "") for i in range(quiet)}
    return made | {f"b-{i}": Result.blind(Reason.READBACK, "") for i in range(blind)}


def test_mode_53_three_of_forty_hosts_degrade_the_group_and_are_named():
    result = group(members(3, 40))
    assert result.verdict is Verdict.DEGRADED
    assert result.detail == "3 of 40 quiet: host-00, host-01, host-02"


def test_mode_53_a_quarter_or_a_critical_member_fails_the_group():
    assert group(members(10, 40)).verdict is Verdict.FAIL
    assert group(members(9, 40)).verdict is Verdict.DEGRADED
    assert group(members(1, 40), critical=["host-00"]).verdict is Verdict.FAIL


def test_an_unjudged_member_keeps_a_group_from_being_ok():
    assert group(members(0, 5, blind=1)).verdict is Verdict.BLIND
    assert group({}).verdict is Verdict.BLIND


def test_a_hundred_sources_that_fall_together_are_one_storm_with_its_region():
    fallen = [Fallen(f"s{i}", i * 0.1, {"region": "eu", "pod": str(i)}) for i in range(100)]
    found = storm(fallen, 500)
    assert len(found.sources) == 100
    assert found.common == "region=eu"


def test_sources_that_fall_hours_apart_are_no_storm():
    assert storm([Fallen(f"s{i}", i * 3600.0, {}) for i in range(30)], 500) is None
    assert storm([Fallen("one", 0.0, {})], 1) is None


@given(
    st.sampled_from(list(Verdict)),
    st.booleans(),
    st.one_of(st.none(), st.floats(-7200, 7200)),
    st.floats(0, 1000),
)
async def test_no_source_fails_without_an_ok_route_and_a_complete_read(gate, complete, age, waited):
    clock = VirtualClock()
    stamp = None if age is None else int((clock.utc().timestamp() - age) * 1e9)
    watched, _ = watch(clock, Newest(complete, stamp, Reason.READBACK, ""), gate)
    clock.move(waited)
    result = await watched.step()
    if result.verdict is Verdict.FAIL:
        assert gate is Verdict.OK
        assert complete
    if gate is not Verdict.OK or not complete:
        assert result.verdict is Verdict.BLIND


def test_a_source_that_is_not_judged_names_only_the_routes_that_are_not_ok():
    """The healthy route beside the broken one is not accused."""
    barred = gated({"gw-logs": Verdict.FAIL, "direct-logs": Verdict.OK})
    assert barred is not None
    assert barred.detail == "not judged: gw-logs fail"
    assert gated({}) is None
