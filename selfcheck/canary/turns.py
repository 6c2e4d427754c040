"""Whose turn it is: which canary is asked for once more, and whose read comes next. Pure."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
# A prime near the golden ratio in thousandths: the places of any few blocks in a row lie well
# apart, and each has its turn.
_GOLDEN, _WHOLE = 617, 1000


def place_in(block: int, size: int) -> int:
    """Which of the `size` places of a block is picked: another in each, to keep step with nothing.

    A column of a database will do for `block`.
    """
    return block * _GOLDEN % _WHOLE * size // _WHOLE


def is_picked(number: int, one_in: int, one_block_in: int = 1) -> bool:
    """Whether `number` is picked: 0 is, and one of each block of `one_in`, where the block is."""
    block, place = divmod(number, one_in)
    return block % one_block_in == 0 and place == place_in(block, one_in)


def in_turn(first: Iterable[T], then: Iterable[T], taken: int, every: int) -> Iterator[T]:
    """All of both, each in its own order: what comes `first`, but each `every`-th from `then`.

    taken: how many were served before, so that `then` gets its share of ones and twos as well.
    """
    ahead, behind = deque(first), deque(then)
    while ahead or behind:
        taken += 1
        share = behind and (not ahead or taken % every == 0)
        yield behind.popleft() if share else ahead.popleft()
