"""Which canaries are asked for once more: one of each block, and no place of it for ever."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from selfcheck.canary.turns import is_picked, place_in


@given(st.integers(1, 500), st.integers(0, 10_000))
def test_of_each_block_one_is_picked_and_of_the_first_the_first(one_in, block):
    numbers = range(block * one_in, (block + 1) * one_in)
    assert sum(is_picked(number, one_in) for number in numbers) == 1
    assert is_picked(0, one_in)


@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 10_000))
def test_of_so_many_blocks_one_is_picked_and_always_one_that_was(one_in, of, number):
    if is_picked(number, one_in, of):
        assert is_picked(number, one_in)
        assert number // one_in % of == 0


@given(st.integers(2, 100))
def test_each_place_has_its_turn(one_in):
    """Whatever comes in step with numbers, or with the time of their sending, meets some."""
    places = Counter(place_in(block, one_in) for block in range(1000))
    assert len(places) == one_in
    assert max(places.values()) <= 1000 // one_in + 1
