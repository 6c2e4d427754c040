"""Which parts of a route the healthy routes beside it cannot clear. Pure.

A route is a chain of parts: the way into its first hop, which belongs to that hop, then each hop,
and each stretch from a hop to the next one, which belongs to the hop it leaves.
Rule: docs/design.md, "Where a loss lies".
"""

from dataclasses import dataclass

from core.verdict import Verdict
from selfcheck.hops.evidence import Inputs, RouteEvidence

DOUBT = 0.05


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A hop, or with `to` the stretch from `hop` to the next one, or with `by` the way into it."""

    hop: str
    to: str = ""
    by: str = ""


def parts(route: RouteEvidence) -> tuple[Part, ...]:
    """The parts of a route in the order of the flow."""
    path = route.path
    entry = Part(route.entry, by=route.by or "unnamed")
    found = [
        part
        for hop, following in zip(path, (*path[1:], ""), strict=True)
        for part in ((Part(hop), Part(hop, following)) if following else (Part(hop),))
    ]
    return (entry, *found)


def proves(witness: RouteEvidence, lossy: RouteEvidence) -> bool:
    """Whether `witness` would have lost something too, had it shared the fault.

    Of what it sent since the fault showed, so many without a loss must be less likely than 5 % at
    the lossy route's rate. What it sent before proves nothing.
    """
    if witness.verdict is not Verdict.OK or witness.missed:
        return False
    passed = witness.passed_since(lossy.missed_from)
    return passed > 0 and (1.0 - lossy.rate) ** passed < DOUBT


def suspects(lossy: RouteEvidence, inputs: Inputs) -> tuple[Part, ...]:
    """The parts of `lossy` that no healthy route of the same signal clears, in flow order."""
    chain = list(parts(lossy))
    cleared: set[Part] = set()
    for witness in inputs.routes:
        if witness.name == lossy.name or witness.signal is not lossy.signal:
            continue
        if proves(witness, lossy):
            cleared |= set(_shared(chain, list(parts(witness))))
    return tuple(part for part in chain if part not in cleared)


def _shared(chain: list[Part], other: list[Part]) -> list[Part]:
    """What two routes have in common at their heads and at their tails."""
    head = _common(chain, other)
    tail = _common(chain[::-1], other[::-1])
    return chain[:head] + chain[len(chain) - tail :]


def _common(first: list[Part], second: list[Part]) -> int:
    same = 0
    for left, right in zip(first, second, strict=False):
        if left != right:
            break
        same += 1
    return same
