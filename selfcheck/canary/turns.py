"""Whose read comes next when there are more canaries to look for than reads. Pure."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_turn(first: Iterable[T], then: Iterable[T], taken: int, every: int) -> Iterator[T]:
    """All of both, each in its own order: what comes `first`, but each `every`-th from `then`.

    taken: how many were served before, so that `then` gets its share of ones and twos as well.
    """
    ahead, behind = deque(first), deque(then)
    while ahead or behind:
        taken += 1
        share = behind and (not ahead or taken % every == 0)
        yield behind.popleft() if share else ahead.popleft()
