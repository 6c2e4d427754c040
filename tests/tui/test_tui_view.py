"""The pure part of the terminal: a scene in, rows of text out."""

import json
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.verdict import Verdict, worst
from scheduler.api.app import board_json
from tests.support import boards
from tests.support.boards import AT, BLIND, DEGRADED, FAIL, OK, replace
from tests.support.clock import VirtualClock
from tui.actions import ACTIONS, Situation, key_sheet, why_not
from tui.feed import BACKOFF_CAP_S, Feed
from tui.view.ages import age, delay, number, span
from tui.view.cost import CostView
from tui.view.filters import Filter
from tui.view.glyphs import ASCII, UNICODE, choose
from tui.view.heading import heading
from tui.view.layout import Layout
from tui.view.menu import MenuKey, menu_line
from tui.view.moment import FROZEN_STALE_AFTER_S, STALE_AFTER_S, Lost, Moment, counts
from tui.view.page import Choice, Scene, in_order
from tui.view.pipeline import PipelineView
from tui.view.rows import fit
from tui.view.strip import aged, folded, strip_text
from tui.view.triage import TriageView
from tui.view.trust import trust_lines


def moment(board=None, elapsed_s=0.0, **changes):
    value = Moment(boards.burning() if board is None else board, elapsed_s, AT, None)
    return replace(value, **changes)


def scene(board=None, width=100, height=36, glyphs=UNICODE, choice=None, **changes):
    return Scene(moment(board, **changes), Layout(width, height), glyphs, choice or Choice())


def body(view, of):
    return [row.draw().plain for row in view.page(of).body]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (-3, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"),
     (86399, "23h"), (86400, "1d"), (86400 * 400, "400d")],
)  # fmt: skip
def test_an_age_is_its_largest_whole_unit(seconds, shown):
    """Rounded down, so that nothing looks older or fresher by a unit."""
    assert age(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59, "59s"), (107, "1m47s"), (10260, "2h51m"), (273600, "3d4h")],
)
def test_a_span_has_two_units(seconds, shown):
    """What is counted down needs more than one."""
    assert span(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (0.0004, "0.4ms"), (0.02, "20ms"), (0.1, "0.1s"), (1.24, "1.2s"), (38.4, "38s")],
)
def test_a_delay_keeps_the_digits_that_matter(seconds, shown):
    """Milliseconds below a tenth of a second."""
    assert delay(seconds) == shown


def test_what_could_not_be_counted_is_no_zero():
    """None is a dash."""
    assert (number(None), number(0), number(12040)) == ("–", "0", "12,040")


CELLS = st.lists(st.sampled_from([OK, DEGRADED, FAIL, BLIND, None]), max_size=60)


@given(CELLS, st.integers(1, 40))
def test_folding_a_strip_keeps_its_worst_and_its_width(strip, cells):
    """No minute is lost, none is counted twice where there are fewer cells than minutes."""
    out = folded(strip, cells)
    assert len(out) == cells
    known = [verdict for verdict in strip if verdict is not None]
    if known:
        assert worst(one for one in out if one is not None) is worst(known)
    else:
        assert set(out) <= {None}


@given(CELLS, st.floats(0, 7200))
def test_a_strip_that_ages_gains_unknown_minutes_and_keeps_its_length(strip, elapsed_s):
    """The right edge is now, whether anything was read or not."""
    out = aged(strip, elapsed_s)
    assert len(out) == len(strip)
    gone = min(len(strip), int(elapsed_s // 60))
    assert out == strip[gone:] + [None] * gone


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_what_is_not_known_is_never_a_low_bar(glyphs):
    """A missing minute, a blind one and an ok one look different."""
    shown = strip_text([OK, None, BLIND], 3, glyphs).plain
    assert len(set(shown)) == 3
    assert shown[1] == " "


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_every_state_has_a_glyph_of_its_own_one_cell_wide(glyphs):
    """The screen reads without colour."""
    shown = [*glyphs.verdicts.values(), glyphs.stale]
    assert len(set(shown)) == 5
    assert {cell_len(one) for one in (*shown, glyphs.acked, glyphs.muted, glyphs.offline)} == {1}


@pytest.mark.parametrize(
    ("option", "encoding", "term", "plain"),
    [("auto", "UTF-8", "xterm-256color", False), ("auto", "utf8", "linux", True),
     ("auto", "ANSI_X3.4-1968", "xterm", True), ("unicode", "ascii", "linux", False),
     ("ascii", "utf-8", "xterm", True)],
)  # fmt: skip
def test_the_symbol_set_follows_locale_and_terminal(option, encoding, term, plain):
    """`auto` decides, a named set is obeyed."""
    assert choose(option, encoding, term).plain is plain


@given(st.text(max_size=80), st.integers(1, 60))
def test_fitted_text_never_exceeds_its_width(text, width):
    """Cells are counted, not characters."""
    for glyphs in (UNICODE, ASCII):
        assert cell_len(fit(glyphs.text(text), width, glyphs)) <= width


@pytest.mark.parametrize("width", [60, 80, 99, 100, 120, 200])
@pytest.mark.parametrize("view", [TriageView(), PipelineView()], ids=lambda view: view.name)
def test_every_line_of_a_page_is_as_wide_as_the_screen(view, width):
    """Frames close at any width."""
    now = scene(width=width, height=24)
    page = view.page(now)
    lines = [*page.head, *(row.draw() for row in page.body), *page.foot]
    assert {line.cell_len for line in lines} == {width}


def test_rows_of_the_three_sections_stand_by_severity_then_age():
    """Critical first; the oldest of a severity first; what ends soon on top of its section."""
    rows = (
        boards.incident("warn-old", DEGRADED, 99), boards.incident("crit-new", FAIL, 2),
        boards.incident("crit-old", FAIL, 9),
        boards.incident("muted-long", FAIL, 9, muted_by="leo", muted_until=AT + timedelta(hours=2)),
        boards.incident("muted-soon", DEGRADED, 1, muted_by="leo",
                        muted_until=AT + timedelta(minutes=9)),
        boards.incident("cannot-see", BLIND, 500),
    )  # fmt: skip
    order = TriageView().page(scene(boards.board(incidents=rows))).order
    names = [key.split(":")[1] for key in order]
    assert names == ["crit-old", "crit-new", "warn-old", "cannot-see", "muted-soon", "muted-long"]


def test_a_resolved_incident_is_not_open():
    """It is neither listed nor counted."""
    gone = boards.incident("gone", state="resolved")
    now = scene(boards.board(incidents=(gone,)))
    assert counts(now.moment).open == 0
    assert not any("gone" in line for line in body(TriageView(), now))


def group(*members, leader=None, **choice):
    lead = boards.incident("logs-gw", members=tuple(one.subject for one in members))
    rows = (replace(lead, **(leader or {})), *members)
    return scene(boards.board(incidents=rows), choice=Choice(**choice))


def keys(of):
    return [row.key.split(":")[1] for row in TriageView().page(of).body if row.key]


MEMBERS = (boards.incident("metrics-gw", minutes=3), boards.incident("traces-gw", minutes=2))


def test_one_page_is_one_row_and_says_what_it_carries():
    """A dead gateway is one thing to do; the sums stay those of the board."""
    now = group(*MEMBERS)
    assert keys(now) == ["logs-gw"]
    assert "logs-gw +2 · " in body(TriageView(), now)[0]
    assert "NEEDS YOU (1)" in TriageView().page(now).head[0].plain
    assert counts(now.moment).open == 3
    told = TriageView().detail(now, "prod-eu:logs-gw:1")[1]
    assert [line.split(":")[0] for line in told[told.index("CARRIES") + 1 :][:2]] == [
        "metrics-gw", "traces-gw",
    ]  # fmt: skip


def test_a_filter_finds_a_member_by_its_own_words():
    """Whoever looks for a row gets the row."""
    assert keys(group(*MEMBERS, filter=Filter("traces"))) == ["logs-gw", "traces-gw"]


@pytest.mark.parametrize(
    ("member", "leader"),
    [
        ({}, {"acked_by": "ana"}), ({}, {"muted_by": "leo"}), ({}, {"severity": "warning"}),
        ({}, {"verdict": BLIND}), ({}, {"state": "resolved"}), ({"members": ("cart",)}, {}),
    ],
    ids=["acked", "muted", "less severe", "blind", "resolved", "leads others"],
)  # fmt: skip
def test_no_row_is_folded_under_one_that_needs_less(member, leader):
    """What nobody has acked, and what is worse than its leader, keeps a row of its own."""
    assert "metrics-gw" in keys(group(replace(MEMBERS[0], **member), leader=leader))


def test_a_member_whose_ack_is_on_its_way_stays_folded():
    """No row jumps out for the second between two acks of one key."""
    pending = frozenset({MEMBERS[0].key})
    assert keys(group(MEMBERS[0], leader={"acked_by": "ana"}, pending=pending)) == ["logs-gw"]


def test_an_incident_that_only_shares_a_members_subject_is_not_folded():
    """A page names subjects; which of two incidents of one it carries cannot be told."""
    other = replace(MEMBERS[0], key="prod-eu:other:1", rule="blind", verdict=BLIND)
    now = group(MEMBERS[0])
    board = replace(now.moment.board, incidents=(*now.moment.board.incidents, other))
    assert keys(scene(board)) == ["logs-gw", "metrics-gw", "other"]


def test_one_finding_is_told_once_and_is_that_of_the_route():
    """The incident's words are as old as its last change; the route's finding is of now."""
    now = scene()
    key = "prod-eu:logs-gw:1"
    panel = [line.plain for line in TriageView().panel(now, key, 9)]
    left, right = panel[1][:50], panel[1][50:]
    assert "lost between gateway and loki" in left
    assert "send ● 20ms ▸ gateway" in right
    assert "sent 120 = ok 112 + lost 6 + pending 2" in panel[2][50:]
    assert sum("lost between" in line for line in panel) == 1
    assert not any("found 4 at 30" in line for line in panel)
    told = TriageView().detail(now, key)[1]
    assert "as told: 6 of 10 lost after the gateway" in told


def test_an_incident_without_a_route_tells_its_own_words():
    """A check has no finding on the board."""
    panel = [line.plain for line in TriageView().panel(scene(), "prod-eu:checkout:1", 9)]
    assert "login step over 10 s" in panel[1]
    assert "found 4 at 30" in panel[2]


def test_prices_say_where_they_were_measured_and_unpriced_is_no_zero():
    """Every figure with its interval and grade, none cut."""
    now = scene(width=120)
    heads = CostView().page(now).head[1].plain.split()
    assert heads[1:-1] == ["METER", "BOOK", "GRADE", "AT", "PER", "GB", "HOUR", "TO", "DATE",
                           "NEXT", "MONTH", "IN"]  # fmt: skip
    priced, _, unpriced = body(CostView(), now)
    assert priced.split()[1:] == ["logs.ingest", "google-cloud", "V", "M4", "0.500", "8.60",
                                  "4240", "4190", "-", "4386", "-", "4560", "USD", "│"]  # fmt: skip
    assert unpriced.split()[3:] == ["–"] * 5 + ["unpriced", "–", "│"]
    panel = "\n".join(
        line.plain for line in CostView().panel(now, "logs.ingest logs google-cloud", 9)
    )
    assert "490 h of this month were not measured: modelled" in panel


@given(st.integers(60, 160), st.text("0123456789.", min_size=1, max_size=14))
def test_a_figure_is_shown_whole_or_not_at_all(width, figure):
    """Columns give way, digits do not."""
    row = boards.cost("logs.ingest", to_date=figure, likely=figure, low="1", high="2")
    now = scene(boards.board(costs=(row,)), width=width, height=24)
    page = CostView().page(now)
    assert {line.cell_len for line in (*page.head, *(row.draw() for row in page.body))} == {width}
    words = page.body[0].draw().plain.split()
    assert words[words.index("-") :][:3] == ["-", figure, "-"]
    assert (words.count(figure) >= 2) is ("TO DATE" in page.head[1].plain)


def test_the_key_sheet_names_the_command_that_shows_the_same():
    """Whoever has no terminal gets the page as text."""
    twins = {action.id: action.twin for action in ACTIONS}
    assert (twins["pipeline"], twins["checks"], twins["cost"]) == (
        "coalmine routes", "coalmine checks", "coalmine cost",
    )  # fmt: skip


def test_checks_that_are_blind_without_an_incident_are_told():
    """Before its alert is due a blind check must not look fine."""
    now = scene(boards.board(checks=(boards.check("a"), boards.check("b", BLIND))))
    assert any("1 blind without an incident: b" in line for line in body(TriageView(), now))
    assert any("1 of 2 checks are blind" in line for line in body(TriageView(), now))


@given(st.lists(st.text("abcdef", min_size=1, max_size=2), unique=True),
       st.lists(st.text("abcdef", min_size=1, max_size=2), unique=True))  # fmt: skip
def test_a_held_order_moves_nothing_and_loses_nothing(keys, held):
    """Rows that were there keep their order, new ones follow, gone ones go."""
    out = in_order(keys, held)
    assert sorted(out) == sorted(keys)
    stayed = [key for key in held if key in keys]
    assert out[: len(stayed)] == stayed
    assert in_order(keys, None) == keys


@pytest.mark.parametrize(
    ("text", "passes"),
    [("", True), ("sev:crit", True), ("sev:warn", False), ("route:LOGS gateway", True),
     ("route:metrics", True), ("hop:tempo", False), ("nothing-like-it", False), ("a:b", False)],
)  # fmt: skip
def test_every_word_of_a_filter_must_match(text, passes):
    """Named words look at their field, others at all."""
    fields = TriageView().fields(scene(), "prod-eu:logs-gw:1")
    assert Filter(text).matches(fields) is passes


STATES = {
    "healthy": boards.board(), "burning": boards.burning(), "storm": boards.storm(60),
    "first start": boards.first_start(),
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_the_screens_counts_are_those_of_the_json(state):
    """`coalmine status --json` and the first line count the same board alike."""
    data = json.loads(board_json(STATES[state]))
    sums = counts(moment(STATES[state]))
    for name, shown in (
        ("checks", sums.checks),
        ("routes", sums.routes),
        ("sources", sums.sources),
    ):
        assert {v.value: n for v, n in shown.items()} == Counter(
            row["verdict"] for row in data[name]
        )
    still = [row for row in data["incidents"] if row["state"] != "resolved"]
    assert sums.open == len(still)
    assert sums.acked == sum(bool(row["acked_by"]) for row in still)
    assert sums.muted == sum(bool(row["muted_by"]) for row in still)
    line = heading("triage", moment(STATES[state]), Layout(120, 36), UNICODE)[0].plain
    for verdict, count in sums.checks.items():
        assert f"{UNICODE.verdicts[verdict]}{count}" in line


@pytest.mark.parametrize("width", [8, 12, 20, 30, 59, 60, 72, 80, 100, 140])
def test_no_width_cuts_a_sum(width):
    """The first line wraps or drops words, never digits."""
    big = boards.board(
        checks=tuple(boards.check(f"c{n}", FAIL if n % 7 else OK) for n in range(1000))
    )
    lines = heading("triage", moment(big), Layout(width, 24), UNICODE)
    text = " ".join(line.plain for line in lines)
    assert "▲857" in text
    assert "●143" in text
    assert "0 open" in text
    assert max(line.cell_len for line in lines) <= width


def stopped(board):
    return replace(board, troubles=(boards.TroubleLine("STOPPED", "no tick", 180.0, None),))


STALE = {
    "lost": {"lost": Lost(3.0, "refused", 2.0)},
    "overdue": {"elapsed_s": STALE_AFTER_S + 0.1},
    "stopped": {"board": stopped(boards.board())},
    "frozen long ago": {"frozen": AT, "elapsed_s": FROZEN_STALE_AFTER_S + 1},
}


@pytest.mark.parametrize("why", STALE)
def test_an_old_board_never_counts_as_ok(why):
    """Every sum says blind, every glyph says stale."""
    now = moment(**{"board": boards.board(), **STALE[why]})
    assert now.stale
    for shown in (counts(now).checks, counts(now).routes, counts(now).sources):
        assert set(shown) == {Verdict.BLIND}
    rows = body(PipelineView(), Scene(now, Layout(100, 36), UNICODE))
    assert not any("●" in row for row in rows)
    assert (
        "no incidents in the last board"
        in body(TriageView(), Scene(now, Layout(100, 36), UNICODE))[0]
    )


def test_a_fresh_board_is_not_stale():
    """Up to the limit, and while it is frozen on purpose."""
    assert not moment(elapsed_s=STALE_AFTER_S).stale
    assert not moment(elapsed_s=60.0, frozen=AT).stale


def test_the_four_kinds_of_trouble_stand_apart_and_in_order():
    """Worst first, two lines, the rest counted."""
    lines = tuple(
        boards.TroubleLine(word, f"text of {word}", 60.0, 30.0)
        for word in ("EXPORT", "BLIND", "STOPPED")
    )
    now = moment(boards.board(troubles=lines), lost=Lost(107.0, "refused", 8.0))
    assert [line.word for line in now.troubles()] == ["OFFLINE", "STOPPED", "BLIND", "EXPORT"]
    shown = [line.plain for line in trust_lines(now, Layout(120, 36), UNICODE)]
    assert shown[0].startswith(" ✖ OFFLINE refused 1m47s, next 8s")
    assert shown[1].startswith(" ✖ STOPPED text of STOPPED 1m0s")
    assert shown[1].endswith("+2")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 160])
def test_the_trust_line_keeps_word_and_time_at_any_width(width):
    """The reason gives way first."""
    now = moment(boards.board(), lost=Lost(107.0, "x" * 300, 8.0))
    for glyphs in (UNICODE, ASCII):
        lines = trust_lines(now, Layout(width, 36), glyphs)
        assert "OFFLINE" in lines[0].plain
        assert "1m47s" in lines[0].plain
        assert max(line.cell_len for line in lines) <= width


def test_a_blind_backend_leaves_the_rest_as_good_as_before():
    """A finding is no reason to grey the screen."""
    now = moment()
    assert not now.stale
    assert counts(now).checks[OK] == 6


def test_nothing_known_of_our_own_parts_is_said():
    """No vitals is not all well."""
    line = trust_lines(moment(boards.board(vitals=())), Layout(100, 36), UNICODE)[0].plain
    assert "nothing is known of the parts" in line


def test_skewed_clocks_are_shown_and_ages_are_marked():
    """From two seconds on."""
    now = scene(skew_s=4.2)
    assert "clock +4s" in heading("triage", now.moment, now.layout, UNICODE)[0].plain
    assert "14m*" in body(TriageView(), now)[0]
    assert not moment(skew_s=1.9).mark


def test_ages_go_on_between_two_reads():
    """From the board's own age and the time since."""
    assert " 4s " in body(TriageView(), scene())[0]
    assert " 7s " in body(TriageView(), scene(elapsed_s=3.0))[0]


def test_loss_stands_in_the_cell_of_the_hop_that_it_did_not_reach():
    """Columns follow the flow; a hop that is not on the route is blank."""
    now = scene()
    head = PipelineView().page(now).head[1].plain
    rows = body(PipelineView(), now)
    assert head.index("AGENT") < head.index("GATEWAY") < head.index("STORE") < head.index("READ")
    lossy = next(row for row in rows if "logs-gw" in row)
    assert lossy[head.index("STORE") :].startswith("▲ 60 %")
    assert lossy[head.index("AGENT") :][:7].strip() == ""


def test_hops_beyond_the_width_are_folded_into_their_worst():
    """No hop vanishes, least of all a failing one."""
    hops = "send a b c d e f store read"
    row = boards.route("long", FAIL, hops=hops)
    cells = tuple(replace(cell, verdict=FAIL if cell.hop == "f" else OK) for cell in row.hops)
    now = scene(boards.board(routes=(replace(row, hops=cells),)), width=80, height=24)
    head = PipelineView().page(now).head[1].plain
    assert body(PipelineView(), now)[0][head.index("MORE") :].startswith("▲ ")


def test_a_figure_that_could_not_be_read_is_a_dash():
    """Never 0."""
    line = next(row for row in body(PipelineView(), scene()) if "loki logs" in row)
    assert line.split("loki logs")[1].split()[:5] == ["4,812", "–", "–", "0", "–"]


def test_the_menu_greys_and_never_hides_the_way_out():
    """The last two keys stand at any width."""
    keys = [MenuKey(str(n), f"Key {n}", "off" if n == 1 else "") for n in range(9)]
    for width in (30, 60, 200):
        line = menu_line(keys, width)
        assert line.plain.rstrip().endswith("7 Key 7  8 Key 8")
        assert line.cell_len <= width


@pytest.mark.parametrize("action", [action for action in ACTIONS if action.id in {"ack", "mute", "undo"}],
                         ids=lambda action: action.id)  # fmt: skip
def test_every_write_has_a_guard_with_a_reason(action):
    """Read-only first, then offline, then what is missing."""
    free = Situation(readonly=False, offline=False, has_row=True, own_actions=1, story=True)
    assert why_not(action, "triage", free) == ""
    assert "read-only" in why_not(action, "triage", replace(free, readonly=True))
    assert "offline" in why_not(action, "triage", replace(free, offline=True))
    assert "not on this screen" in why_not(action, "pipeline", free)


def test_every_key_means_one_thing():
    """One verb, one letter, on every screen; the sheet names all."""
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))
    assert all(action.what in key_sheet() for action in ACTIONS)


def test_retries_back_off_to_half_a_minute_and_come_back_at_once():
    """2, 4, 8, 16, 30, 30 s; one good read ends it."""
    clock = VirtualClock()
    feed = Feed(clock)
    waits = []
    for _ in range(6):
        feed.begin()
        feed.failed("gone")
        waits.append(feed.moment().lost.retry_in_s)
        clock.move(waits[-1])
        assert feed.due()
    assert waits == [2, 4, 8, 16, BACKOFF_CAP_S, BACKOFF_CAP_S]
    assert feed.moment().lost.for_s == sum(waits)
    feed.begin()
    feed.took(boards.board(at=clock.utc()))
    assert feed.moment().lost is None
    clock.move(2.0)
    assert feed.due()


def test_a_read_that_hangs_is_not_doubled_and_shows_after_five_seconds():
    """No second read while the first is out; the board is old by itself."""
    clock = VirtualClock()
    feed = Feed(clock)
    feed.begin()
    feed.took(boards.board())
    clock.move(2.0)
    feed.begin()
    clock.move(3.1)
    assert not feed.due()
    assert feed.moment().stale
    assert feed.moment().offline.for_s == pytest.approx(5.1)


def test_a_board_that_stands_still_is_old_however_often_it_is_read():
    """Its own time is what counts, not ours of reading it."""
    clock = VirtualClock()
    feed = Feed(clock)
    for _ in range(5):
        feed.begin()
        feed.took(boards.board())
        clock.move(2.0)
    assert feed.moment().elapsed_s == 10.0
    assert feed.moment().stale


def test_the_terminal_never_imports_the_database_layer():
    """Half a second of start, and none of its business."""
    code = "import sys, tui.app, tui.client; sys.exit(bool({'sqlmodel','sqlalchemy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
