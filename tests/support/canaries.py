"""Canaries and questions for tests, made by the product's own maker."""

import time

from selfcheck.backends.protocol import Question
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import Canary, CanaryKey, Signal

INSTANCE = "ab12cd34"
SERVICE = "coalmine-canary"


def canary_of(
    signal: Signal,
    seq: int = 1,
    route: str = "r1",
    stamp_ns: int | None = None,
    instance: str = INSTANCE,
    epoch: int = 7,
    service: str = SERVICE,
) -> Canary:
    """A canary stamped now, or at `stamp_ns`."""
    stamp = time.time_ns() if stamp_ns is None else stamp_ns
    return make_canary(instance, "tests", CanaryKey(route, epoch, seq), seq, signal, stamp, service)


def question_of(*canaries: Canary) -> Question:
    """The question for `canaries` of one route, over the span of their stamps and 1 s around."""
    stamps = [canary.stamp_ns for canary in canaries]
    first = canaries[0]
    return Question(
        first.signal, first.key.route, canaries, min(stamps) - 10**9, max(stamps) + 10**9
    )
