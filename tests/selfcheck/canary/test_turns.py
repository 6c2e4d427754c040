"""Neither of two queues is served alone while there is something in the other."""

from hypothesis import given
from hypothesis import strategies as st

from selfcheck.canary.turns import in_turn

FIRST = st.lists(st.integers(0, 99), max_size=30)
THEN = st.lists(st.integers(100, 199), max_size=30)


@given(FIRST, THEN, st.integers(0, 10**9), st.integers(2, 8))
def test_all_are_served_each_queue_in_its_order(first, then, taken, every):
    served = list(in_turn(first, then, taken, every))
    assert [one for one in served if one < 100] == first
    assert [one for one in served if one >= 100] == then


@given(FIRST, THEN, st.integers(0, 10**9), st.integers(2, 8))
def test_the_second_queue_has_its_share_and_no_more(first, then, taken, every):
    served = list(in_turn(first, then, taken, every))
    both = min(
        len(served) - len(rest)
        for rest in (
            _after_last(served, lambda one: one < 100),
            _after_last(served, lambda one: one >= 100),
        )
    )
    share = sum(one >= 100 for one in served[:both])
    assert share == (taken + both) // every - taken // every


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 10**6), st.integers(2, 8))
def test_served_one_at_a_time_the_share_is_the_same(first, then, taken, every):
    """A budget that yields one read a step must not give each of them to the first queue."""
    firsts = [next(in_turn([0], [1], taken + step, every)) for step in range(first + then)]
    assert sum(firsts) == (taken + first + then) // every - taken // every


def _after_last(served, matches):
    last = max((at for at, one in enumerate(served) if matches(one)), default=-1)
    return served[last + 1 :]
