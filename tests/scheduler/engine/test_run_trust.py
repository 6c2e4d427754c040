"""What a stalled loop may and may not change about a result, and how a stall is measured."""

import pytest

from core.reason import Reason
from core.result import Result
from core.verdict import Verdict
from scheduler.engine.lag import LagMeter
from scheduler.engine.run import settle
from tests.support.clock import VirtualClock

TIMED_OUT = Result.fail(Reason.TIMEOUT, "no answer")
WRONG = Result.fail(Reason.STATUS, "503")


@pytest.mark.parametrize(
    ("result", "lag_s", "over", "verdict"),
    [
        (TIMED_OUT, 0.0, False, Verdict.FAIL),
        (TIMED_OUT, 0.5, False, Verdict.FAIL),
        (TIMED_OUT, 0.51, False, Verdict.BLIND),
        (Result.degraded(Reason.SLOW, "4 s"), 2.0, False, Verdict.BLIND),
        (WRONG, 9.0, False, Verdict.FAIL),
        (Result.ok({}), 9.0, False, Verdict.OK),
        (Result.blind(Reason.HARNESS, "late"), 9.0, True, Verdict.BLIND),
    ],
)
def test_only_evidence_of_time_is_doubted_and_only_under_lag(result, lag_s, over, verdict):
    """With a deadline of 5 s, the limit is half a second."""
    settled = settle(result, lag_s, 5.0, over=over)
    assert settled.verdict is verdict
    doubted = settled is not result
    assert (
        (settled.reason is Reason.LAG)
        == doubted
        == (lag_s > 0.5 and result not in (WRONG, Result.ok({})))
    )


async def test_the_worst_lag_since_a_moment_is_told_a_stall_in_progress_included():
    """A run that ends in the same turn as the stall must not miss it."""
    clock = VirtualClock()
    meter = LagMeter(clock)
    start_s = clock.monotonic()
    for late_s in (0.0, 2.0, 0.5):
        clock.move(0.1 + late_s)
        await meter.beat()
    assert meter.since(start_s) == pytest.approx(2.0)
    assert meter.since(clock.monotonic() - 0.2) == pytest.approx(0.5)
    assert meter.since(clock.monotonic() + 0.01) == 0.0
    clock.move(4.1)
    assert meter.since(clock.monotonic()) == pytest.approx(4.0)
    assert meter.beats == 3
