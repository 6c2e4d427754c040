"""The hop balance adds nothing twice, hides nothing, and is blind where it cannot see."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from selfcheck.hops.balance import edge_balance, hop_balance
from selfcheck.hops.increase import Ring, Window
from selfcheck.hops.protocol import Direction, Meter
from selfcheck.hops.queue import queues, slope_interval
from tests.selfcheck.hops import scrapes as s


def test_a_hop_that_passes_everything_on_has_no_loss():
    row = hop_balance("gateway", s.LOGS, s.steady({s.RECEIVED: 100, s.SENT: 100, s.QUEUE: 0}))
    assert (row.came_in, row.went_out, row.stored, row.loss) == (500, 500, 0, 0)
    assert not row.unread
    assert not row.lossy


def test_what_a_filter_removed_on_purpose_is_no_loss():
    row = hop_balance("gateway", s.LOGS, s.steady({s.RECEIVED: 100, s.SENT: 60, s.FILTERED: 40}))
    assert row.loss == 0
    assert row.intended_by == {"filter/drop": 200}
    assert row.evidence == ("filter/drop removed 200 on purpose, as its counter says",)


def test_a_filter_counter_that_first_appears_within_the_window_counts_from_zero():
    before = [s.scrape(10.0 * i, {s.RECEIVED: 10.0, s.SENT: 10.0}) for i in range(3)]
    after = [
        s.scrape(30 + 10.0 * i, {s.RECEIVED: 60.0, s.SENT: 10.0, s.FILTERED: 50.0})
        for i in range(3)
    ]
    row = hop_balance("gateway", s.LOGS, Window((*before, *after)))
    assert row.intended_by == {"filter/drop": 50}
    assert row.loss == 0


def test_a_series_that_first_appears_without_a_known_start_is_only_a_baseline():
    first = [s.scrape(10.0 * i, {s.RECEIVED: 10.0}, started=None) for i in range(3)]
    then = [
        s.scrape(30 + 10.0 * i, {s.RECEIVED: 10.0, s.SENT: 900.0}, started=None) for i in range(3)
    ]
    assert Window((*first, *then)).increase(s.SENT).amount == 0


def test_a_missing_series_makes_the_row_blind_and_is_never_zero():
    row = hop_balance("gateway", s.LOGS, s.steady({s.RECEIVED: 100}))
    assert row.went_out is None
    assert row.loss is None
    assert row.unread == ("no exporter counts items of this signal",)


def test_three_scrapes_are_too_few_for_a_row():
    row = hop_balance("gateway", s.LOGS, s.steady({s.RECEIVED: 100, s.SENT: 1}, scrapes=3))
    assert row.loss is None
    assert row.unread == ("3 of 4 scrapes",)


def test_an_unread_newest_scrape_makes_the_row_blind():
    good = s.steady({s.RECEIVED: 100, s.SENT: 100}).scrapes
    bad = s.scrape(60, {}, unread=("metrics of gateway: timeout",), reachable=False)
    row = hop_balance("gateway", s.LOGS, Window((*good, bad)))
    assert row.came_in is None
    assert row.unread == ("metrics of gateway: timeout",)


def test_one_failed_scrape_in_the_middle_costs_nothing():
    good = s.steady({s.RECEIVED: 100, s.SENT: 90}, scrapes=8).scrapes
    holed = (*good[:3], replace(good[3], meters={}, unread=("timeout",)), *good[4:])
    assert hop_balance("gateway", s.LOGS, Window(holed)).loss == 70


def test_a_restart_counts_from_zero_and_widens_the_error():
    old = [
        s.scrape(10.0 * i, {s.RECEIVED: 1000.0 + 100 * i, s.SENT: 1000.0 + 100 * i})
        for i in range(3)
    ]
    new = [
        s.scrape(30 + 10.0 * i, {s.RECEIVED: 100.0 * i, s.SENT: 100.0 * i}, started=1025.0)
        for i in range(3)
    ]
    steady = hop_balance("gateway", s.LOGS, s.steady({s.RECEIVED: 100, s.SENT: 100}))
    row = hop_balance("gateway", s.LOGS, Window((*old, *new)))
    assert row.came_in == 400
    assert row.loss == 0
    assert row.error > steady.error
    assert "restarted 1 times in the window" in row.evidence


def test_a_restart_is_seen_even_when_the_counter_is_already_higher():
    window = Window((s.scrape(0, {s.SENT: 5.0}), s.scrape(10, {s.SENT: 9.0}, started=1008.0)))
    assert window.increase(s.SENT).amount == 9


def test_a_queue_that_moved_leaves_the_loss_unknown():
    row = hop_balance(
        "gateway", s.LOGS, s.steady({s.RECEIVED: 100, s.SENT: 0, s.QUEUE: 3, s.CAPACITY: 100})
    )
    assert row.loss is None
    assert "the sending queue moved: its unit is not known" in row.unread


def test_a_full_queue_that_refuses_its_sender_is_not_counted_as_two_losses():
    meters = {s.RECEIVED: 0, s.REFUSED: 50, s.SENT: 0, s.NOT_QUEUED: 50}
    row = hop_balance("gateway", s.LOGS, s.steady(meters))
    assert row.refused == 250
    assert row.dropped == 250
    assert row.loss == 0


def test_two_exporters_without_a_word_which_leads_on_are_blind():
    other = Meter("exporter", "debug", Direction.OUT, s.LOGS)
    row = hop_balance("gateway", s.LOGS, s.steady({s.RECEIVED: 100, s.SENT: 100, other: 100}))
    assert row.loss is None
    assert row.unread == ("exporters debug, otlp_http: name those that lead on under `exporters:`",)


def test_an_edge_sums_over_all_instances_behind_it():
    out = hop_balance("agent", s.LOGS, s.steady({s.RECEIVED: 100, s.SENT: 100}, hop="agent"))
    one = hop_balance("gw-1", s.LOGS, s.steady({s.RECEIVED: 50, s.SENT: 50}))
    two = hop_balance("gw-2", s.LOGS, s.steady({s.RECEIVED: 20, s.SENT: 20}))
    edge = edge_balance(out, [one, two])
    assert (edge.went_out, edge.came_in, edge.loss) == (500, 350, 150)


def test_one_unread_instance_makes_the_edge_blind():
    out = hop_balance("agent", s.LOGS, s.steady({s.RECEIVED: 100, s.SENT: 100}, hop="agent"))
    one = hop_balance("gw-1", s.LOGS, s.steady({s.RECEIVED: 50, s.SENT: 50}))
    blind = hop_balance("gw-2", s.LOGS, Window(()))
    edge = edge_balance(out, [one, blind])
    assert edge.loss is None
    assert edge.unread == ("gw-2: never scraped",)


def test_more_arriving_than_left_is_told_as_duplication():
    out = hop_balance("agent", s.LOGS, s.steady({s.RECEIVED: 100, s.SENT: 100}, 40, hop="agent"))
    more = hop_balance("gateway", s.LOGS, s.steady({s.RECEIVED: 200, s.SENT: 200}, 40))
    edge = edge_balance(out, [more])
    assert edge.loss == -3900
    assert "duplication" in edge.evidence[0]


def test_time_to_full_is_a_range_around_the_true_value():
    window = s.steady({s.QUEUE: 2, s.CAPACITY: 1000, s.SENT: 0}, scrapes=20)
    (queue,) = queues(window, s.LOGS)
    low, high = queue.full_in_s
    assert queue.held
    assert low <= (1000 - 38) / 0.2 <= high
    assert queue.loss_in_s(30.0) == 30.0


def test_an_exporter_that_stopped_is_held_after_two_silent_scrapes_however_much_it_sent_before():
    def scrape(i):
        stalled = max(0, i - 20)
        return s.scrape(
            10.0 * i, {s.SENT: 100.0 * (i - stalled), s.QUEUE: float(stalled), s.CAPACITY: 50.0}
        )

    one = queues(Window(tuple(map(scrape, range(22)))), s.LOGS)
    two = queues(Window(tuple(map(scrape, range(23)))), s.LOGS)
    assert not one[0].held
    assert two[0].held


def test_a_queue_that_drains_is_not_held():
    sizes = [5, 4, 3, 2, 1, 1]
    made = [
        s.scrape(10.0 * i, {s.SENT: 10.0 * i, s.QUEUE: float(size)}) for i, size in enumerate(sizes)
    ]
    assert not queues(Window(tuple(made)), s.LOGS)[0].held


def test_a_ring_forgets_what_is_old_and_starts_anew_with_our_boot():
    ring = Ring(span_s=60.0)
    for i in range(20):
        ring.add(s.scrape(10.0 * i, {s.SENT: float(i)}))
    assert len(ring.window(1e9).scrapes) == 7
    assert len(ring.window(30.0).scrapes) == 4
    later = s.scrape(300, {s.SENT: 1.0})
    ring.add(replace(later, at=replace(later.at, boot_id="boot-2", boot_s=1.0)))
    assert len(ring.window(1e9).scrapes) == 1


def test_a_queue_without_a_trend_has_no_forecast():
    sizes = [5, 7, 4, 6, 5, 7, 4, 6, 5, 7, 4, 6]
    points = [(10.0 * i, float(v)) for i, v in enumerate(sizes)]
    low, high = slope_interval(points)
    assert low <= 0 <= high


def test_nine_points_are_too_few_for_a_forecast():
    assert slope_interval([(float(i), float(i)) for i in range(9)]) is None


def test_a_queue_without_capacity_has_no_fill():
    (queue,) = queues(s.steady({s.QUEUE: 2}), s.LOGS)
    assert queue.fill is None
    assert queue.full_in_s is None


@given(
    st.lists(st.integers(0, 1000), min_size=4, max_size=30),
    st.sets(st.integers(1, 28), max_size=3),
)
def test_an_increase_over_restarts_never_exceeds_what_was_counted(steps, restarts):
    """Restart or not, nothing is invented, and what a restart hid stays within the error."""
    value, total, started, made = 0, 0, 0.0, []
    for index, step in enumerate(steps):
        if index in restarts:
            value, started = 0, 1000.0 + 10 * index - 5
        value += step
        total += step if index else 0
        made.append(s.scrape(10.0 * index, {s.SENT: float(value)}, started=started))
    assert Window(tuple(made)).increase(s.SENT).amount == total
