"""How the conformance suite writes to a store and asks it, the same for every row."""

import asyncio
import itertools
import time

from selfcheck.backends.protocol import AccessPath, Backend, Reading
from selfcheck.canary.model import Canary, Signal
from selfcheck.injectors.protocol import INJECTORS
from tests.contracts.backends.case import Case
from tests.support.canaries import question_of

_ROUTES = itertools.count(1)
SECOND_NS = 10**9


def fresh_route() -> str:
    """A route that no test before has used: real stores live for the whole session."""
    return f"route-{time.time_ns()}-{next(_ROUTES)}"


def pairs(case: Case) -> list[tuple[Signal, AccessPath]]:
    """Each signal with each path whose answers are evidence."""
    said = case.backend().declaration
    return [(s, p) for s in sorted(said.signals) for p in said.paths_for(s)]


def watched(case: Case) -> list[tuple[Signal, AccessPath]]:
    """Each signal with each path that is asked for its own sake."""
    said = case.backend().declaration
    return [(s, p) for s in sorted(said.signals) for p in said.judged_only(s)]


def stamped(case: Case, signal: Signal) -> bool:
    """Whether what the case writes keeps the stamps of its canaries."""
    return signal not in INJECTORS.load(case.inject).unstamped


async def until_seen(
    backend: Backend, path: AccessPath, *canaries: Canary, within_s: float = 10.0
) -> Reading:
    """The first complete reading that shows all `canaries`. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while True:
            reading = await backend.read(question_of(*canaries), path, 5.0)
            assert reading.complete, reading.detail
            if len({s.canary_id for s in reading.sightings}) == len(canaries):
                return reading
