"""When canaries say they were made: samples of one series apart, and none newer than its record."""

from dataclasses import replace

import pytest

from selfcheck.canary.model import Outcome, Signal
from selfcheck.canary.report import unix_ns
from tests.fakes.route import CONTEXT, SPEC, RouteRig

_SECOND_NS = 10**9


@pytest.mark.parametrize("stamped", [True, False])
async def test_two_samples_within_a_second_are_apart_only_where_we_stamp_them(stamped):
    """A record that a scraper or an SDK stamps would else be older than its own canary: lost."""
    rig = RouteRig(replace(SPEC, signal=Signal.METRICS, every_s=1.0, stamped=stamped))
    for _ in range(3):
        await rig.cycle.inject(CONTEXT)
    now_ns = unix_ns(rig.clock.utc())
    stamps = [row.canary.stamp_ns for row in rig.cycle.rows()]
    first = now_ns - now_ns % _SECOND_NS
    step = _SECOND_NS if stamped else 0
    assert stamps == [first, first + step, first + 2 * step]
    assert {row.outcome for row in rig.cycle.rows()} == {Outcome.PENDING}
