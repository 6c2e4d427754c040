"""Rechecks of a route, driven by virtual time over a fake store."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import StoreBusyError
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.protocol import Reading
from selfcheck.canary.backoff import ReadBackoff
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import CanaryKey, Outcome
from selfcheck.canary.recheck.cycle import STEP_S, RecheckRules, Rechecks, recheck_check
from selfcheck.canary.recheck.memory import MemoryRechecks
from selfcheck.canary.recheck.model import RecheckState
from tests.fakes.route import SPEC, RouteRig
from tests.fakes.store import BY_ID, FakeBackend, FakeStore

pytestmark = pytest.mark.slow

HOUR, DAY = 3600.0, 86400.0
RULES = RecheckRules(every=60, per_minute=2.0, retention_s=30 * DAY)


class RecheckRig:
    """A route whose canaries have been sent and judged, and its rechecks."""

    def __init__(self, rules=RULES, **route):
        self.route = RouteRig(**route)
        self.clock, self.store = self.route.clock, self.route.store
        self.ledger = MemoryRechecks(self.route.ledger)
        self.rules, self.told = rules, []
        self.rechecks = self.made()

    def made(self, **changes):
        """The route's rechecks as a new service would make them; nothing is kept but the ledger."""
        rng = random.Random(5)
        judging = JudgingRules()
        return Rechecks(
            replace(self.route.spec, **changes), self.route.backend, self.ledger, self.clock, rng,
            judging, self.rules, ReadBackoff(judging, rng), self.told.append, 1, 1,
        )  # fmt: skip

    async def send(self, seconds=1000.0):
        """Canaries for so long, all judged."""
        await self.route.run(seconds)
        await self.route.run(120.0, inject=False)

    async def run(self, seconds):
        """Steps at the times that they ask for."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.clock.move(min(left, max(0.02, await self.rechecks.step())))
        await self.rechecks.step()
        await self.balanced()

    async def balanced(self):
        accounts = await self.ledger.accounts(SPEC.name)
        assert [one for one in accounts.values() if not one.balanced] == []
        return accounts

    async def states(self, seq=1):
        kept = await self.ledger.of_canary(CanaryKey(SPEC.name, 1, seq))
        return {one.age: one.state for one in kept}

    def losing(self, *seqs):
        """What was stored of these is gone, as after a botched compaction."""
        self.store.records = [one for one in self.store.records if one.canary.key.seq not in seqs]


async def test_seen_canaries_are_found_again_at_every_age():
    rig = RecheckRig()
    await rig.send()
    await rig.run(30 * DAY)
    assert await rig.states() == dict.fromkeys(("1h", "24h", "7d", "retention"), RecheckState.OK)
    # 100 canaries at 10 s: the first of the epoch is chosen, and one of each 60.
    accounts = await rig.balanced()
    assert {age: one.due for age, one in accounts.items()} == {
        "1h": 2, "24h": 2, "7d": 1, "retention": 1
    }  # fmt: skip
    assert rig.told[-1].check == recheck_check(SPEC.name)


async def test_nothing_is_told_before_something_was_due_and_then_what_has_not_begun():
    rig = RecheckRig()
    await rig.send()
    await rig.run(0.5 * HOUR)
    assert rig.told == []
    assert rig.rechecks.result is None
    await rig.run(HOUR)
    assert rig.rechecks.result.verdict is Verdict.OK
    assert "24h starting, first due in" in rig.rechecks.result.detail


async def test_a_loss_in_long_term_storage_fails_and_says_when_it_was_last_seen():
    rig = RecheckRig()
    await rig.send()
    await rig.run(2 * HOUR)
    seen = (await rig.ledger.of_canary(CanaryKey(SPEC.name, 1, 1)))[0].seen
    rig.losing(1)
    await rig.run(24 * HOUR)
    result = rig.rechecks.result
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.SILENT_LOSS)
    assert (
        f"24h after sending: 1 of 2 lost after having been seen, last at {seen:%Y-%m-%dT%H:%M:%SZ}"
        in result.detail
    )
    assert (await rig.route.count(Outcome.OK)) == (await rig.route.ledger.account(SPEC.name)).sent
    # Both access paths were asked before it was called lost.
    asked = rig.store.reads[-4:]
    assert {"by_id", "search"} <= {path for path, _ in asked}


@pytest.mark.parametrize("path", ["by_id", "search"])
@pytest.mark.parametrize(
    ("fault", "reason", "told"),
    [
        ("hidden", Reason.SILENT_LOSS, "1h after sending: path {} did not show"),
        ("broken_paths", Reason.READBACK, "could not be read by path {}"),
    ],
)
async def test_a_path_that_fails_for_what_is_old_is_told_though_another_shows_it(
    path, fault, reason, told
):
    """What is in memory is found by all, what went to long-term storage by one."""
    rig = RecheckRig(RecheckRules(every=6, per_minute=2.0, retention_s=30 * DAY))
    await rig.send(HOUR)
    setattr(rig.store.faults, fault, {path})
    await rig.run(HOUR)
    result = rig.rechecks.result
    assert (result.verdict, result.reason) == (Verdict.DEGRADED, reason)
    assert told.format(path) in result.detail
    rig.rechecks = rig.made()
    await rig.rechecks.step()
    assert rig.rechecks.result == result, "a restart forgets nothing"
    setattr(rig.store.faults, fault, set())
    await rig.send(2 * HOUR)
    await rig.run(2 * HOUR)
    assert rig.rechecks.result.verdict is Verdict.OK


async def test_an_outage_of_the_whole_store_is_none_of_a_path():
    rig = RecheckRig(RecheckRules(every=6, per_minute=2.0, retention_s=30 * DAY))
    await rig.send(HOUR)
    rig.store.faults.broken_paths = {"by_id", "search"}
    await rig.run(0.5 * HOUR)
    rig.store.faults.broken_paths = set()
    await rig.run(HOUR)
    assert rig.rechecks.result.verdict is Verdict.OK


async def test_old_data_that_can_be_read_now_and_then_only_is_told():
    """A gateway that restarts for ever: each recheck succeeds in the end, four reads in five fail."""
    rig = RecheckRig()
    dice = random.Random(5)
    asked = rig.route.backend.read

    async def read(question, *more):
        reading = await asked(question, *more)
        old_s = rig.clock.utc().timestamp() - question.canaries[0].stamp_ns / 1e9
        if old_s > 600 and dice.random() < 0.8:
            return Reading.broken(Reason.READBACK, "HTTP 500", reading.asked, 0.0)
        return reading

    rig.route.backend.read = read
    await rig.send(10 * HOUR)
    await rig.run(2 * HOUR)
    result = rig.rechecks.result
    assert (result.verdict, result.reason) == (Verdict.DEGRADED, Reason.READBACK)
    assert "could be read only after reads by each path had failed" in result.detail


async def test_old_data_of_which_each_first_read_fails_is_told():
    """A gateway that loads its index when asked: whoever comes first gets an error, always."""
    rig = RecheckRig()
    asked, known = rig.route.backend.read, set()

    async def read(question, path, *more):
        reading = await asked(question, path, *more)
        keys = {(path.name, canary.canary_id) for canary in question.canaries}
        old_s = rig.clock.utc().timestamp() - question.canaries[0].stamp_ns / 1e9
        if old_s > 600 and keys - known:
            known.update(keys)
            return Reading.broken(Reason.READBACK, "HTTP 504", reading.asked, 0.0)
        return reading

    rig.route.backend.read = read
    await rig.send(8 * HOUR)
    await rig.run(1.5 * HOUR)
    assert rig.rechecks.result.verdict is Verdict.DEGRADED
    assert "only after reads by each path had failed" in rig.rechecks.result.detail


async def test_a_change_of_pace_forgets_nothing():
    """Canaries that are chosen now and were due long ago say nothing, and push out nothing."""
    rig = RecheckRig(RecheckRules(every=60, per_minute=2.0, retention_s=30 * DAY))
    await rig.send()
    rig.store.records.clear()
    await rig.run(2.5 * HOUR)
    assert rig.rechecks.result.verdict is Verdict.FAIL
    rig.rules = replace(rig.rules, every=20)
    rig.rechecks = rig.made()
    await rig.run(10.0)
    assert (await rig.balanced())["1h"].by_state[RecheckState.UNKNOWN] > 0
    assert rig.rechecks.result.verdict is Verdict.FAIL


async def test_what_the_store_need_not_keep_is_no_loss_nor_was_it():
    """Told that the store keeps less, as the detail of the loss says."""
    rig = RecheckRig(replace(RULES, retention_s=None))
    await rig.send()
    rig.store.records.clear()
    await rig.run(2 * HOUR)
    assert rig.rechecks.result.verdict is Verdict.DEGRADED
    rig.rules = replace(RULES, retention_s=0.5 * HOUR)
    rig.rechecks = rig.made()
    await rig.run(2 * HOUR)
    assert rig.rechecks.result is None
    rig.rules = replace(RULES, retention_s=2 * HOUR)
    rig.rechecks = rig.made()
    await rig.run(STEP_S)
    assert rig.rechecks.result.verdict is Verdict.FAIL


async def test_after_a_change_of_parameters_what_was_sent_before_says_nothing():
    rig = RecheckRig(RecheckRules(every=6, per_minute=2.0, retention_s=30 * DAY))
    await rig.send(HOUR)
    rig.losing(*range(1, 999))
    await rig.run(HOUR)
    assert rig.rechecks.result.verdict is Verdict.FAIL
    rig.route = rig.route.restarted(sent_under="others")
    rig.rechecks = rig.made(sent_under="others")
    await rig.send(2 * HOUR)
    told = len(rig.told)
    await rig.run(HOUR)
    assert Verdict.FAIL not in {one.verdict for one in rig.told[told:]}
    assert rig.rechecks.result.verdict is Verdict.OK
    assert "24h starting, first due in" in rig.rechecks.result.detail


@pytest.mark.parametrize("every", [1, 2])
async def test_one_canary_without_an_answer_holds_up_no_others(every):
    rig = RecheckRig(RecheckRules(every=every, per_minute=60.0, retention_s=30 * DAY))
    await rig.send()
    (row,) = await rig.route.ledger.recent(SPEC.name, 1)
    await rig.route.ledger.settle([replace(row, outcome=Outcome.UNKNOWN, reason=Reason.MAYBE_SENT)])
    await rig.send(3 * HOUR)
    steps = 0
    end = rig.clock.monotonic() + 2 * HOUR
    while rig.clock.monotonic() < end:
        rig.clock.move(max(0.02, await rig.rechecks.step()))
        steps += 1
    assert steps < 2000
    assert (await rig.balanced())["1h"].by_state[RecheckState.OK] > 100


@pytest.mark.parametrize("every_s", [60.0, 61.0])
async def test_a_store_that_loses_half_of_each_hour_is_told_whatever_the_interval(every_s):
    """One canary an hour is looked for again, and not always that of the same minute."""
    rig = RecheckRig(spec=replace(SPEC, every_s=every_s))
    verdicts = []
    for _ in range(24):
        await rig.send(HOUR - 120.0)
        rig.store.records = [
            one for one in rig.store.records if one.canary.stamp_ns // 60_000_000_000 % 60 < 30
        ]
        await rig.run(60.0)
        verdicts += [rig.rechecks.result.verdict] if rig.rechecks.result else []
    assert verdicts[2:].count(Verdict.FAIL) > len(verdicts) / 2


async def test_as_at_first_more_is_asked_for_than_the_very_moment_of_a_stamp():
    """Query frontends cut the ends of a range to their step."""
    rig = RecheckRig()
    await rig.send()
    asked = rig.route.backend.read
    questions = []

    async def read(question, *more):
        questions.append(question)
        return await asked(question, *more)

    rig.route.backend.read = read
    await rig.run(HOUR)
    for one in questions:
        stamps = [canary.stamp_ns for canary in one.canaries]
        assert one.start_ns <= min(stamps) - 60 * 10**9
        assert one.end_ns >= max(stamps) + 60 * 10**9
    assert questions


async def test_mode_29_a_lost_canary_is_counted_once_and_not_told_again_at_the_next_age():
    rig = RecheckRig()
    await rig.send()
    rig.losing(1)
    await rig.run(2 * HOUR)
    assert rig.rechecks.result.verdict is Verdict.FAIL
    reads = len(rig.store.reads)
    await rig.run(10 * HOUR)
    assert len(rig.store.reads) == reads
    accounts = await rig.balanced()
    assert accounts["1h"].by_state[RecheckState.LOST] == 1
    await rig.run(15 * HOUR)
    accounts = await rig.balanced()
    assert accounts["24h"].by_state[RecheckState.LOST] == 1
    missed = [one for one in rig.rechecks._newest["24h"] if one.newly_missed]
    assert missed == []


async def test_mode_34_an_old_loss_leaves_the_verdict_once_newer_rechecks_are_ok():
    rig = RecheckRig()
    await rig.send(60.0)
    rig.losing(1)
    verdicts = []
    for _ in range(15):
        await rig.send(600.0)
        await rig.run(30.0)
        verdicts += [rig.rechecks.result.verdict] if rig.rechecks.result else []
    assert Verdict.FAIL in verdicts
    assert verdicts[-1] is Verdict.OK
    told = len(rig.told)
    await rig.run(24 * HOUR)
    assert (await rig.states())["24h"] is RecheckState.LOST
    assert [one.detail for one in rig.told[told:] if one.verdict is Verdict.FAIL] == []


async def test_what_comes_back_is_late():
    rig = RecheckRig()
    await rig.send()
    records = list(rig.store.records)
    rig.losing(1, 98)
    await rig.run(2 * HOUR)
    rig.store.records = records
    await rig.run(24 * HOUR)
    assert await rig.states() == {
        "1h": RecheckState.LOST, "24h": RecheckState.LATE, "7d": RecheckState.PLANNED
    }  # fmt: skip


async def test_without_a_stated_retention_an_absence_may_be_an_expiry():
    rig = RecheckRig(replace(RULES, retention_s=None))
    await rig.send()
    rig.losing(1, 98)
    await rig.run(2 * HOUR)
    assert rig.rechecks.result.verdict is Verdict.DEGRADED
    assert "retention" in rig.rechecks.result.detail


async def test_without_a_stated_retention_another_one_found_so_late_proves_the_loss():
    rig = RecheckRig(replace(RULES, retention_s=None))
    await rig.send()
    rig.losing(1)
    await rig.run(2 * HOUR)
    assert rig.rechecks.result.verdict is Verdict.FAIL


async def test_ages_beyond_the_retention_do_not_apply():
    rig = RecheckRig(replace(RULES, retention_s=2 * DAY))
    await rig.send()
    await rig.run(1.5 * DAY)
    rig.store.records.clear()
    await rig.run(8 * DAY)
    states = await rig.states()
    assert states["24h"] is RecheckState.OK
    assert states["7d"] is RecheckState.NOT_APPLICABLE
    assert rig.rechecks.result.verdict is not Verdict.FAIL


async def test_mode_08_a_read_outage_is_unknown_when_overdue_and_never_lost():
    rig = RecheckRig()
    await rig.send()
    rig.store.faults.read_error = Reason.AUTH
    await rig.run(1.6 * HOUR)
    assert set((await rig.states()).values()) == {RecheckState.PENDING}
    assert (rig.rechecks.result.verdict, rig.rechecks.result.reason) == (
        Verdict.BLIND, Reason.STARTING
    )  # fmt: skip
    await rig.run(1.0 * HOUR)
    assert (await rig.states())["1h"] is RecheckState.UNKNOWN
    assert (rig.rechecks.result.verdict, rig.rechecks.result.reason) == (
        Verdict.BLIND, Reason.AUTH
    )  # fmt: skip
    rig.store.faults.read_error = None
    await rig.run(24 * HOUR)
    assert (await rig.states())["24h"] is RecheckState.OK


async def test_a_read_error_before_the_bound_is_tried_again():
    rig = RecheckRig()
    await rig.send()
    rig.store.faults.broken_paths = {"by_id"}
    await rig.run(2 * HOUR)
    kept = (await rig.ledger.of_canary(CanaryKey(SPEC.name, 1, 1)))[0]
    assert (kept.state, kept.path) == (RecheckState.OK, "search")


async def test_an_absence_that_cannot_be_confirmed_is_no_loss():
    rig = RecheckRig()
    await rig.send()
    rig.losing(1)
    rig.store.faults.broken_paths = {"search"}
    await rig.run(3 * HOUR)
    assert (await rig.states())["1h"] is RecheckState.UNKNOWN


async def test_a_canary_that_one_path_shows_is_not_lost():
    rig = RecheckRig()
    await rig.send()
    rig.store.faults.hidden = {"by_id"}
    await rig.run(2 * HOUR)
    assert (await rig.states())["1h"] is RecheckState.OK


async def test_an_exhausted_budget_defers_and_is_made_up_for():
    rig = RecheckRig(replace(RULES, every=1, per_minute=0.6))
    one_by_one = (replace(BY_ID, batched=False),)
    rig.route.backend = FakeBackend(rig.store, paths=one_by_one)
    rig.rechecks = rig.made()
    await rig.send(2000.0)
    before = len(rig.store.reads)
    await rig.run(3500.0)
    accounts = await rig.balanced()
    assert accounts["1h"].by_state[RecheckState.DEFERRED] > 20
    assert rig.rechecks.result.verdict is Verdict.OK
    await rig.run(3600.0)
    accounts = await rig.balanced()
    # Of one route at most about 150 wait for an age: of those sent each 10 s, one in four.
    assert accounts["1h"].by_state[RecheckState.OK] == accounts["1h"].due == 51
    reads = [at for _, at in rig.store.reads[before:]]
    assert len(reads) == 51
    assert min(b - a for a, b in pairwise(reads[2:])) >= 99.9


async def test_mode_01_a_restart_changes_nothing_and_days_of_downtime_are_unknown():
    rig = RecheckRig()
    await rig.send()
    await rig.run(1.2 * HOUR)
    rig.rechecks = rig.made()
    await rig.run(0)
    assert rig.rechecks.result.verdict is Verdict.OK
    rig.clock.move(3 * DAY)
    rig.clock.reboot("boot-2")
    rig.rechecks = rig.made()
    await rig.run(HOUR)
    assert (await rig.states())["24h"] is RecheckState.UNKNOWN
    assert rig.rechecks.result.reason is Reason.STALE
    await rig.run(5 * DAY)
    assert (await rig.states())["7d"] is RecheckState.OK


async def test_mode_43_what_was_sent_under_other_parameters_does_not_apply():
    rig = RecheckRig()
    await rig.send()
    await rig.rechecks.step()
    rig.rechecks = rig.made(sent_under="under-2")
    rig.store.records.clear()
    await rig.run(2 * HOUR)
    kept = (await rig.ledger.of_canary(CanaryKey(SPEC.name, 1, 1)))[0]
    assert (kept.state, kept.reason) == (RecheckState.NOT_APPLICABLE, Reason.RECONFIGURED)
    assert rig.rechecks.result is None


@pytest.mark.parametrize("step_s", [-3 * HOUR, 3 * HOUR])
async def test_mode_37_a_wall_clock_step_calls_nothing_lost(step_s):
    rig = RecheckRig()
    await rig.send()
    await rig.run(0.3 * HOUR)
    rig.clock.step_wall(step_s)
    await rig.run(0.3 * HOUR)
    assert (await rig.states())["1h"] is RecheckState.PLANNED
    await rig.run(0.6 * HOUR)
    assert (await rig.states())["1h"] is RecheckState.OK


async def test_altered_content_is_a_failure_with_its_difference():
    rig = RecheckRig()
    await rig.send()
    rig.store.records = [
        replace(one, canary=replace(one.canary, filler="altered")) for one in rig.store.records
    ]
    await rig.run(2 * HOUR)
    kept = (await rig.ledger.of_canary(CanaryKey(SPEC.name, 1, 1)))[0]
    assert kept.state is RecheckState.ALTERED
    assert "body: sent" in kept.diff
    assert (rig.rechecks.result.verdict, rig.rechecks.result.reason) == (
        Verdict.FAIL, Reason.ALTERED
    )  # fmt: skip


async def test_a_ledger_that_does_not_answer_is_raised_and_made_up_for():
    rig = RecheckRig()
    await rig.send()
    settle, failed = rig.ledger.settle, []

    async def busy(changed, more):
        if not failed:
            failed.append(1)
            raise StoreBusyError("not durable")
        await settle(changed, more)

    rig.ledger.settle = busy
    await rig.run(0.6 * HOUR)
    with pytest.raises(StoreBusyError):
        await rig.run(0.4 * HOUR)
    await rig.run(0.2 * HOUR)
    assert (await rig.states())["1h"] is RecheckState.OK


async def test_a_slow_route_has_a_recheck_an_hour_at_least():
    spec = replace(SPEC, every_s=1800.0)
    rig = RecheckRig(spec=spec)
    await rig.send(6 * HOUR)
    await rig.run(2 * HOUR)
    assert (await rig.balanced())["1h"].due >= 6


FAULTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["none", "errors", "one path", "hidden", "cut", "restart", "reboot", "away"]
        ),
        st.floats(0.05, 12.0),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=8, deadline=None)
@given(FAULTS)
async def test_nothing_that_is_stored_is_ever_called_lost_and_the_account_balances(events):
    """Whatever the reads do, through restarts and absences; `run` checks the identity."""
    rig = RecheckRig()
    await rig.send(1200.0)
    for what, hours in events:
        faults = rig.store.faults
        faults.read_error = Reason.TIMEOUT if what == "errors" else None
        faults.broken_paths = {"by_id"} if what == "one path" else set()
        faults.hidden = {"search"} if what == "hidden" else set()
        faults.truncated = what == "cut"
        if what == "away":
            rig.clock.move(hours * HOUR)
        if what == "reboot":
            rig.clock.reboot(f"boot-{hours}")
        if what in {"restart", "reboot", "away"}:
            rig.rechecks = rig.made()
        await rig.run(hours * HOUR)
    for account in (await rig.balanced()).values():
        assert account.by_state[RecheckState.LOST] == 0
        assert account.by_state[RecheckState.ALTERED] == 0
    told = {one.verdict for one in rig.told}
    # What one path hides is not lost, and who asks by it is misled.
    hides = {Verdict.DEGRADED} if "hidden" in dict(events) else set()
    assert told <= {Verdict.OK, Verdict.BLIND} | hides


@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(1, 121)), st.floats(0.0, 25.0))
async def test_what_was_lost_in_the_store_is_found_out_at_the_next_age(gone, after_h):
    """Those that were chosen, every one of them, and no other."""
    rig = RecheckRig()
    await rig.send(1200.0)
    await rig.run(after_h * HOUR)
    rig.losing(*gone)
    settled = {
        one.canary.key.seq
        for seq in range(1, 122)
        for one in await rig.ledger.of_canary(CanaryKey(SPEC.name, 1, seq))
        if one.age == "24h" and one.state is RecheckState.OK
    }
    await rig.run(31 * HOUR)
    for seq in (1, 98):
        state = (await rig.states(seq))["24h"]
        expected = seq in gone and seq not in settled
        assert (state is RecheckState.LOST) == expected


def test_every_age_has_an_account_of_zeros_from_the_start():
    accounts = RecheckRig().rechecks.accounts
    assert [one.age for one in accounts] == ["1h", "24h", "7d", "retention"]
    assert {one.due for one in accounts} == {0}


def test_a_route_that_cannot_be_read_is_refused():
    rig = RecheckRig()
    backend = FakeBackend(FakeStore(rig.clock), paths=())
    with pytest.raises(ValueError, match="cannot be read"):
        Rechecks(
            SPEC, backend, rig.ledger, rig.clock, random.Random(1), JudgingRules(), RULES,
            ReadBackoff(JudgingRules(), random.Random(1)), rig.told.append, 1, 1,
        )  # fmt: skip
