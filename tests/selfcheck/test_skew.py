"""Another clock is known by the Date of its answers, within their second and their way."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import instant
from core.outbound.protocol import Response
from selfcheck.access import AccessOptions
from selfcheck.backends.http import StoreClient, retry_after_s
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors.otlp_http import OtlpHttpInjector, OtlpHttpOptions
from selfcheck.skew import SkewWatch, http_date, skew_s, told
from tests.fakes.loopback import Loopback, Reply
from tests.support.canaries import canary_of
from tests.support.clock import VirtualClock
from tests.support.parts import real_parts

DAY_S = 86400.0
ENDLESS = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"


def dated(moment: datetime, **more: str) -> Response:
    """An answer made at `moment` by the clock of whoever made it."""
    date = format_datetime(moment.replace(microsecond=0), usegmt=True)
    return Response(200, (("Date", date), *more.items()), b"", (), 0.0)


def answered(clock: VirtualClock, off_s: float, there_s: float = 0.1, back_s: float = 0.1):
    """What an answer says that a clock `off_s` ahead of ours dated on its way."""
    asked = instant(clock)
    clock.move(there_s)
    response = dated(clock.utc() + timedelta(seconds=off_s))
    clock.move(back_s)
    return skew_s(response, asked, instant(clock))


@given(st.floats(-1e6, 1e6), st.floats(0, 60), st.floats(0, 60), st.floats(0, 1))
def test_never_more_is_told_than_there_is_and_little_less(off_s, there_s, back_s, begun_s):
    clock = VirtualClock()
    clock.move(begun_s)
    found = answered(clock, off_s, there_s, back_s)
    assert found is not None
    assert abs(found) <= abs(off_s) + 1e-3
    assert found * off_s >= 0
    assert abs(off_s - found) <= there_s + back_s + 1 + 1e-3


@given(st.floats(0, 300))
def test_clocks_that_agree_never_differ_however_long_an_answer_takes(takes_s):
    assert answered(VirtualClock(), 0.0, takes_s / 2, takes_s / 2) == 0


@pytest.mark.parametrize(
    "value",
    ["", "soon", ENDLESS, "Sat, 21 Nov 2026 03:12:44 -0000", "Mon, 01 Jan 2026 0:0:0 +9999999"],
)
def test_a_date_that_cannot_be_read_says_nothing_and_breaks_nothing(value):
    clock = VirtualClock()
    assert http_date(value) is None
    response = Response(200, (("date", value),), b"", (), 0.0)
    assert skew_s(response, instant(clock), instant(clock)) is None
    assert retry_after_s(value, clock.utc()) is None


def test_an_answer_out_of_a_cache_is_not_trusted_and_one_without_a_date_says_nothing():
    clock = VirtualClock()
    now = instant(clock)
    old = clock.utc() - timedelta(hours=1)
    assert skew_s(dated(old, Age="3600"), now, now) is None
    assert skew_s(Response(200, (), b"", (), 0.0), now, now) is None
    assert skew_s(dated(old), now, now) == -3599


def test_the_newest_answer_counts_for_ten_minutes_or_until_our_own_clock_is_set():
    clock = VirtualClock()
    watch = SkewWatch(clock)
    assert watch.skew_s is None
    watch.heard(dated(clock.utc() + timedelta(minutes=5)), instant(clock))
    assert watch.skew_s == 300
    watch.heard(dated(clock.utc() + timedelta(hours=5), Age="1"), instant(clock))
    assert watch.skew_s == 300
    clock.move(601)
    assert watch.skew_s is None
    watch.heard(dated(clock.utc()), instant(clock))
    assert watch.skew_s == 0
    clock.step_wall(-3600)
    assert watch.skew_s is None


def test_our_own_clock_set_while_an_answer_was_on_its_way_is_no_skew_of_theirs():
    clock = VirtualClock()
    asked = instant(clock)
    response = dated(clock.utc())
    clock.step_wall(3600)
    assert skew_s(response, asked, instant(clock)) is None


@pytest.mark.parametrize(
    ("found_s", "words"),
    [(None, ""), (0.0, ""), (9.9, ""), (-9.9, ""), (-2 * DAY_S, "2 d behind"), (60.0, "60 s ahead of"),
     (900.0, "15 min ahead of"), (1 - 2 * DAY_S, "2 d behind"), (-7300.0, "2 h behind")],
)  # fmt: skip
def test_a_skew_is_told_from_ten_seconds_on(found_s, words):
    assert told("loki", found_s) == (f"the clock of loki is {words} ours" if words else "")


async def test_a_store_and_a_receiver_are_known_by_their_answers_refusals_among_them(tmp_path):
    """Over real sockets, with the service's own client."""
    headers = {"Date": format_datetime(datetime.now(UTC) - timedelta(days=2), usegmt=True)}
    async with real_parts(tmp_path) as parts, Loopback(lambda _: Reply(400, b"", headers)) as far:
        client = StoreClient.of(far.base, AccessOptions(), parts)
        assert client.skew.skew_s is None
        await client.fetch("/", {}, 5.0)
        assert client.skew.skew_s == pytest.approx(-2 * DAY_S, abs=3)
        inject = OtlpHttpInjector.build(OtlpHttpOptions(url=far.base), parts, None)
        assert inject.skew_s is None
        receipt = await inject.send(canary_of(Signal.LOGS), 5.0)
        assert receipt.sent is Sent.REJECTED
        assert inject.skew_s == pytest.approx(-2 * DAY_S, abs=3)
