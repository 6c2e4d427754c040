"""What a path did of late, as bits, says the same as a list of its answers would."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from selfcheck.canary.lately import Lately

SIZE, LEAST, SEPARATE = 20, 4, 3


@given(st.lists(st.booleans(), max_size=80), st.integers(1, SIZE))
def test_bits_say_what_a_list_would(answers, few):
    lately, often = Lately(SIZE, least=LEAST), False
    for count, bad in enumerate(answers, 1):
        lately.add(bad, SEPARATE)
        known = answers[max(0, count - SIZE) : count]
        times = sum(1 for one, _ in groupby(known) if one)
        assert (lately.count, lately.times) == (sum(known), times)
        assert lately.newest(few) == sum(known[-few:])
        # Once it is often it stays so until half as many are left, or a single time.
        often = times >= (2 if often else SEPARATE) and sum(known) >= (LEAST / (1 + often))
        assert lately.often is often


@given(st.integers(0, (1 << SIZE) - 1))
def test_what_was_kept_is_often_when_it_would_have_become_so(bits):
    lately = Lately(SIZE, least=LEAST)
    lately.recall(bits, SEPARATE)
    assert lately.often is (lately.times >= SEPARATE and lately.count >= LEAST)
