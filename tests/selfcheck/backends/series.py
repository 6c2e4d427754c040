"""Canaries of metrics, and questions for them, as the tests of the PromQL stores need them."""

import asyncio
import dataclasses
import itertools
import time

from selfcheck.backends.protocol import AccessPath, Backend, Question, Reading
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import Canary, CanaryKey, Signal
from tests.support.canaries import INSTANCE, SERVICE

SECOND_NS = 10**9
_ROUTES = itertools.count(1)


def fresh_route() -> str:
    """A route that no test before has used."""
    return f"promql-{time.time_ns()}-{next(_ROUTES)}"


def held_canary(route: str, seq: int, epoch: int = 7, age_s: int = 60) -> Canary:
    """A canary of `age_s` ago whose sample somebody else stamps."""
    stamp = time.time_ns() - age_s * SECOND_NS
    key = CanaryKey(route, epoch, seq)
    return make_canary(INSTANCE, "tests", key, seq, Signal.METRICS, stamp, SERVICE, stamped=False)


def scraped(canary: Canary, after_ms: int) -> Canary:
    """The canary's sample as a scraper stores it, so much later."""
    return dataclasses.replace(canary, stamp_ns=canary.stamp_ns + after_ms * 10**6)


def held_question(*canaries: Canary) -> Question:
    """As the route's cycle asks for samples that others stamp: until now."""
    start = min(canary.stamp_ns for canary in canaries)
    route = canaries[0].key.route
    return Question(Signal.METRICS, route, canaries, start, time.time_ns(), stamped=False)


async def until(backend: Backend, path: AccessPath, question: Question, count: int) -> Reading:
    """The first complete reading with so many sightings."""
    async with asyncio.timeout(15):
        while True:
            reading = await backend.read(question, path, 5.0)
            assert reading.complete, reading.detail
            if len(reading.sightings) >= count:
                return reading
