"""Failure modes 8 to 19: the read path."""

import itertools
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime

import pytest

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.protocol import BACKENDS, AccessPath
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.looks import question_of
from selfcheck.canary.model import Outcome, Signal
from tests.fakes.route import CONTEXT, SPEC, RouteRig
from tests.fakes.store import (
    BY_ID,
    CACHED,
    COUNTS,
    ONE_BY_ONE,
    SEARCH,
    SIGNALS,
    Faults,
    never,
)
from tests.selfcheck.canary.modes.rigs import always, became, by_paths, warm
from tests.support.canaries import canary_of

# Hours of virtual time: seconds, unless the machine is busy.
pytestmark = pytest.mark.timeout(120)

HOUR_S = 3600.0
BATCHED_STORES = [(BY_ID, SEARCH), (ONE_BY_ONE, SEARCH), (SEARCH, ONE_BY_ONE)]


@pytest.mark.slow
@pytest.mark.parametrize("paths", BATCHED_STORES)
async def test_mode_08_an_hour_without_reads_is_blind_loses_nothing_and_is_judged_in_5_min(paths):
    """360 canaries outstanding against a row limit of 100: all judged in time, none ever lost."""
    rig = by_paths(*paths, row_limit=100)
    await rig.run(300)
    rig.faults.read_error = Reason.READBACK
    await rig.run(HOUR_S)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.BLIND, Reason.READBACK)
    assert await rig.count(Outcome.UNKNOWN) + await rig.count(Outcome.PENDING) >= 360
    rig.faults.read_error = None
    began = len(rig.store.reads)
    await rig.run(300)
    assert await rig.count(Outcome.UNKNOWN) == 0
    assert became(rig, Outcome.LOST) == 0
    assert rig.cycle.status().verdict is Verdict.OK
    assert rig.cycle.status().deadline_s < 120
    assert len(rig.store.reads) - began <= 12 * 5 + 24


@pytest.mark.slow
async def test_mode_08_a_store_read_by_id_only_has_its_verdict_back_in_5_min():
    """One read a canary: new ones go first, the backlog takes what is left of the budget."""
    rig = by_paths(ONE_BY_ONE, replace(ONE_BY_ONE, name="other"), row_limit=100)
    await rig.run(300)
    rig.faults.read_error = Reason.READBACK
    await rig.run(HOUR_S)
    rig.faults.read_error = None
    await rig.run(300)
    assert rig.cycle.status().verdict is Verdict.OK
    await rig.run(2 * HOUR_S)
    assert await rig.count(Outcome.UNKNOWN) == 0
    assert became(rig, Outcome.LOST) == 0


@pytest.mark.slow
async def test_mode_09_a_backlog_beyond_the_row_limit_loses_nothing():
    rig = by_paths(BY_ID, SEARCH, row_limit=100)
    for _ in range(5000):
        await rig.cycle.inject(CONTEXT)
        rig.clock.move(0.001)
    await rig.run(300, inject=False)
    assert became(rig, Outcome.LOST) == 0
    assert await rig.count(Outcome.OK) + await rig.count(Outcome.LATE) == 5000


async def test_mode_10_a_truncated_answer_only_ever_makes_unknown():
    rig = await warm()
    rig.faults.truncated = True
    await rig.run(200)
    assert await rig.count(Outcome.UNKNOWN) > 0
    assert became(rig, Outcome.LOST) == 0
    rig.faults.truncated = False
    await rig.run(120)
    assert await rig.count(Outcome.UNKNOWN) == 0


@pytest.mark.parametrize("written", ["seconds", "date"])
async def test_mode_11_throttled_reads_are_waited_for_and_lose_nothing(written):
    """Retry-After in both its forms; deadlines widen by the wait, reads stay within budget."""
    rig = await warm()
    rig.faults.read_error, rig.faults.retry_after = Reason.THROTTLED, "90"
    if written == "date":
        until = rig.clock.utc() + timedelta(seconds=90)
        rig.faults.retry_after = format_datetime(until, usegmt=True)
    await rig.cycle.inject(CONTEXT)
    before = (await rig.rows())[-1]
    rig.store.reads.clear()
    await rig.run(80)
    row = await rig.ledger.find(before.canary.canary_id)
    assert len(rig.store.reads) == 1
    assert row.deadline_s == pytest.approx(before.deadline_s + 90, abs=10)
    if written == "seconds":
        await rig.run(400)
        times = [at for _, at in rig.store.reads]
        assert all(b - a >= 90 for a, b in itertools.pairwise(times))
    rig.faults.read_error = rig.faults.retry_after = None
    await rig.run(240)
    assert became(rig, Outcome.LOST) == 0
    assert rig.cycle.status().verdict is Verdict.OK


@pytest.mark.parametrize("delay_s", [0.1, 40.0, 240.0])
async def test_mode_12_slow_visibility_is_learned_and_is_no_loss(delay_s):
    rig = RouteRig(faults=Faults(delay_s=delay_s))
    await rig.run(1200)
    rig.ledger.transitions.clear()
    await rig.run(1200)
    status = rig.cycle.status()
    assert became(rig, Outcome.LOST) == 0
    assert status.verdict is Verdict.OK
    assert status.delay_p50_s >= delay_s
    assert status.deadline_s >= status.delay_p99_s + 29


async def test_mode_13_an_answer_from_a_cache_that_is_old_is_stale_and_no_verdict_of_the_canary():
    """The canary is judged by the uncached read, the cache by what it hides of the same store."""
    rig = by_paths(BY_ID, SEARCH, CACHED, faults=Faults(delay_s=12.0, cached_s=600.0))
    await rig.run(120)
    paths = {path.name: path for path in rig.cycle.status().paths}
    assert (paths["search_cached"].verdict, paths["search_cached"].reason) == (
        Verdict.FAIL,
        Reason.STALE,
    )
    assert rig.cycle.status().verdict is Verdict.OK
    assert became(rig, Outcome.LOST) == 0
    stale_since = paths["search_cached"].since
    assert stale_since is not None
    rig.faults.cached_s = 0.0
    await rig.run(1000)
    cached = next(path for path in rig.cycle.status().paths if path.name == "search_cached")
    assert (cached.verdict, cached.reason) == (Verdict.OK, Reason.OK)
    assert cached.since > stale_since


async def test_mode_13_the_pair_is_asked_for_once_in_15_minutes():
    rig = by_paths(BY_ID, SEARCH, CACHED)
    await rig.run(HOUR_S)
    asked = [at for name, at in rig.store.reads if name == "search_cached"]
    # Before it is there and after it was seen by the uncached path.
    assert len(asked) == 2 * 4
    assert all(b - a >= 890 for a, b in itertools.pairwise(asked[::2]))


async def test_mode_13_a_cache_that_cannot_be_read_holds_back_no_other_read():
    rig = by_paths(BY_ID, SEARCH, CACHED)
    rig.faults.broken_paths = {"search_cached"}
    await rig.run(600)
    status = rig.cycle.status()
    assert status.verdict is Verdict.OK
    assert status.paths[-1].verdict is Verdict.BLIND


class Aligned:
    """A frontend that cuts both ends of a range down to whole minutes."""

    def __init__(self, backend):
        self.backend, self.declaration = backend, backend.declaration

    async def read(self, question, path, deadline_s):
        minute = 60 * 10**9
        cut = replace(
            question,
            start_ns=question.start_ns - question.start_ns % minute,
            end_ns=question.end_ns - question.end_ns % minute,
        )
        return await self.backend.read(cut, path, deadline_s)


async def test_mode_14_a_frontend_that_aligns_ranges_to_a_minute_hides_no_canary():
    rig = await warm()
    rig.cycle._backend = Aligned(rig.backend)
    await rig.run(900)
    assert became(rig, Outcome.LOST) == 0
    assert rig.cycle.status().delay_p99_s < 10


def test_mode_14_a_question_is_wider_than_the_stamps_it_is_about():
    canary = canary_of(Signal.LOGS, stamp_ns=10**18)
    asked = question_of(Signal.LOGS, [canary], 10**18, stamped=True)
    assert asked.start_ns <= canary.stamp_ns - 60 * 10**9
    assert asked.end_ns >= canary.stamp_ns + 60 * 10**9
    late = question_of(Signal.METRICS, [canary], 10**18 + 10**12, stamped=False)
    assert late.end_ns >= 10**18 + 10**12


async def test_mode_15_a_cutoff_of_fresh_data_is_the_paths_floor_and_no_delay():
    """Nothing is asked before the floor, the deadline lies above it, the excess alone is slow."""
    floor_s = 31.0
    cut = replace(SEARCH, floor_s=floor_s)
    rig = by_paths(cut, replace(cut, name="other"), faults=Faults(delay_s=30.0))
    await rig.run(900)
    first = (await rig.rows())[0]
    assert rig.store.reads[0][1] - first.sent.boot_s >= floor_s
    assert rig.cycle.status().deadline_s > floor_s + 30
    assert rig.cycle.status().verdict is Verdict.OK
    assert {one.verdict for one in rig.published} <= {Verdict.OK, Verdict.BLIND}
    assert became(rig, Outcome.LOST) == became(rig, Outcome.LATE) == 0


async def test_mode_16_old_samples_that_are_told_again_are_never_ok():
    """After the last canary that was stored no further one becomes ok, whatever is answered."""
    rig = await warm(spec=replace(SPEC, signal=Signal.METRICS))
    ok = await rig.count(Outcome.OK) + await rig.count(Outcome.PENDING)
    rig.faults.drop = always
    rig.faults.echo = True
    await rig.run(300)
    assert await rig.count(Outcome.OK) <= ok
    assert rig.cycle.status().verdict is Verdict.FAIL
    assert rig.cycle.status().reason is Reason.SILENT_LOSS


async def test_mode_17_a_range_without_its_first_and_last_point_misses_exactly_those():
    rig = await warm(spec=replace(SPEC, signal=Signal.METRICS))
    first = len(rig.store.sent) + 1
    ends = {first, first + 9}
    rig.faults.drop = lambda canary: canary.key.seq in ends
    await rig.run(100)
    rig.faults.drop = never
    await rig.run(120)
    lost = {row.canary.key.seq for row in await rig.rows() if row.outcome is Outcome.LOST}
    assert lost == ends


async def test_mode_18_search_ignores_canaries_while_by_id_works_and_the_reverse():
    rig = await warm()
    rig.faults.hidden = {"search"}
    await rig.run(600)
    paths = {path.name: path for path in rig.cycle.status().paths}
    assert told(rig, "path search does not show")
    assert (paths["search"].verdict, paths["search"].reason) == (Verdict.FAIL, Reason.SILENT_LOSS)
    assert paths["search"].since > paths["by_id"].since
    assert paths["by_id"].verdict is Verdict.OK
    assert paths["by_id"].delay_p50_s is not None
    rig.faults.hidden = {"by_id"}
    await rig.run(900)
    paths = {path.name: path for path in rig.cycle.status().paths}
    assert paths["by_id"].verdict is Verdict.FAIL
    assert became(rig, Outcome.LOST) == 0
    assert told(rig, "path by_id does not show")
    rig.faults.hidden = set()
    await rig.run(900)
    assert rig.cycle.status().verdict is Verdict.OK


def told(rig: RouteRig, words: str) -> bool:
    """Whether the route says that one of its paths does not show what is stored."""
    status = rig.cycle.status()
    return status.verdict is Verdict.DEGRADED and words in status.detail


async def test_mode_18_what_each_path_has_shown_outlives_a_restart():
    rig = await warm()
    rig.faults.hidden = {"by_id"}
    await rig.run(600)
    before = {path.name: path for path in rig.cycle.status().paths}
    after = rig.restarted()
    await after.cycle.load()
    known = {path.name: path for path in after.cycle.status().paths}
    assert known["by_id"].verdict is before["by_id"].verdict is Verdict.FAIL
    assert known["search"].verdict is Verdict.OK
    assert known["search"].delay_p50_s is not None
    assert known["by_id"].since <= rig.clock.utc()


async def test_mode_18_an_aggregate_that_misses_canaries_has_a_verdict_of_its_own():
    """A path that only counts is asked for every fifth canary, and never decides over one."""
    rig = by_paths(BY_ID, SEARCH, COUNTS)
    await rig.run(600)
    asked = [name for name, _ in rig.store.reads if name == "count"]
    assert len(asked) == pytest.approx(600 / 10 / 5, abs=1)
    counted = {path.name: path for path in rig.cycle.status().paths}["count"]
    assert (counted.verdict, counted.lost) == (Verdict.OK, 0)
    rig.faults.hidden = {"count"}
    await rig.run(600)
    counted = {path.name: path for path in rig.cycle.status().paths}["count"]
    assert counted.verdict is Verdict.FAIL
    assert told(rig, "path count does not show")
    assert became(rig, Outcome.LOST) == 0
    assert {row.empty_path for row in await rig.rows()} == {""}


async def test_mode_18_an_aggregate_that_still_counts_does_not_save_a_lost_canary():
    rig = by_paths(BY_ID, SEARCH, COUNTS)
    await rig.run(300)
    rig.faults.hidden = {"by_id", "search"}
    await rig.run(300)
    assert rig.cycle.status().verdict is Verdict.FAIL


async def test_mode_19_reads_that_are_cut_now_and_then_change_no_outcome():
    """Every look is a complete poll of its own: one that broke off leaves nothing behind."""
    rig = await warm()
    rig.faults.cut = lambda number: number % 3 == 0
    await rig.run(HOUR_S / 2)
    assert became(rig, Outcome.LOST) == 0
    status = rig.cycle.status()
    # A third of all answers is not well either.
    assert (status.verdict, status.reason) == (Verdict.DEGRADED, Reason.READBACK)
    assert {row.copies for row in await rig.rows() if row.outcome is Outcome.OK} == {1}


def test_mode_19_no_backend_is_read_by_a_tail():
    """Polling is the only way to ask: there is nothing that a proxy kills and a retry replays."""
    tails = [
        (kind, path.name)
        for kind in BACKENDS.entries
        for path in BACKENDS.load(kind).declaration.paths
        if "tail" in path.name or "stream" in path.name
    ]
    assert tails == []


def test_paths_that_are_only_watched_are_no_evidence():
    assert not CACHED.evidence
    assert not COUNTS.evidence
    assert AccessPath("x", 0.0, True, SIGNALS).evidence
    assert JudgingRules().cached_every == 900
