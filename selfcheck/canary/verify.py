"""A route run a few times to judgement, for `coalmine verify`: CI, and around an upgrade."""

from dataclasses import dataclass

from core.clock import Clock
from probes.protocol import RunContext
from selfcheck.canary.accounting import violation
from selfcheck.canary.cycle import RouteCycle
from selfcheck.canary.model import LedgerRow, Outcome
from selfcheck.canary.route import RouteStatus


@dataclass(frozen=True, slots=True)
class RouteVerification:
    """rows: the canaries of this run, in sending order; those in time-out are still `pending`.

    status: the route at the end, with its account, access paths and deadline.
    imbalance: a violated accounting identity in words, "" when it holds.
    """

    rows: tuple[LedgerRow, ...]
    status: RouteStatus
    imbalance: str

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Outcomes in sending order."""
        return tuple(row.outcome for row in self.rows)


async def verify_route(
    cycle: RouteCycle, clock: Clock, cycles: int, timeout_s: float
) -> RouteVerification:
    """Send `cycles` canaries at the route's pace and read until all are judged or time is up.

    Raises what `inject` and `read` raise: then nothing is verified.
    """
    end = clock.monotonic() + timeout_s
    context = RunContext(check=cycle.spec.name, deadline_s=timeout_s, traceparent="")
    sent, next_s = 0, clock.monotonic()
    while clock.monotonic() < end:
        if sent < cycles and clock.monotonic() >= next_s:
            next_s = clock.monotonic() + cycle.spec.every_s
            sent += 1
            await cycle.inject(context)
        wait = await cycle.read()
        if sent == cycles and not cycle.status().pending:
            break
        moments = [wait, end - clock.monotonic()]
        moments += [next_s - clock.monotonic()] if sent < cycles else []
        await clock.sleep(max(0.001, min(moments)))
    return await _verification(cycle, cycles)


async def _verification(cycle: RouteCycle, cycles: int) -> RouteVerification:
    await cycle.audit()
    status = cycle.status()
    broken = violation(status.account) if status.account else "the ledger was never read"
    return RouteVerification(await cycle.sent(cycles), status, broken)
