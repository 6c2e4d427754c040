"""`kill -9` of the service while hops lose, delay, double and refuse: `benchmarks.kill_loop`, small.

The loop itself asserts: after each kill the identity holds in the ledger's file, no row is gone and
every canary that reached a hop is in it; at the end no outcome contradicts the store.
"""

import pytest

from benchmarks import kill_loop

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(420)]


def test_fault_014_twenty_kills_under_loss_delay_doubles_and_refusals_leave_nothing_out():
    told = list(kill_loop.killed(kills=20, canaries=200))
    print("\n".join(told))
    kills, canaries = (int(line.split()[0]) for line in told[:2])
    assert kills >= 20
    assert canaries >= 200
