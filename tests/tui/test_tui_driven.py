"""The terminal under keys, slow and failing models, hostile text and changing sizes."""

import threading
from dataclasses import fields, is_dataclass, replace

import pytest

from core.errors import StoreError
from tests.support import boards
from tests.support.boards import AT, board, burning, incident, timedelta


async def test_an_ack_is_done_only_when_it_was_folded_in(terminal):
    """Stored is pending; in force is what the paging loop says."""
    async with terminal(burning()) as t:
        t.model.folded = False
        await t.press("a")
        request = t.model.acted[0]
        assert (request.kind, request.subject, request.author) == (
            "ack",
            "prod-eu:logs-gw:1",
            "ana",
        )
        assert request.until == AT + timedelta(hours=4)
        assert "ack is stored" in t.text
        assert "… ▲ CRIT" in t.text
        t.model.folded = True
        await t.later(2.0)
        assert "ack is in force: prod-eu:logs-gw:1" in t.text
        assert "… ▲ CRIT" not in t.text


async def test_a_slow_write_is_pending_and_blocks_nothing(terminal):
    """While the model hangs in a write, keys and reads go on."""
    async with terminal(burning()) as t:
        t.model.gate = threading.Event()
        await t.pilot.press("a")
        await t.pilot.pause()
        assert "… ▲ CRIT" in t.text
        await t.pilot.press("2")
        await t.pilot.pause()
        assert "ROUTES" in t.text
        assert not t.model.acted
        t.model.gate.set()
        await t.settle()
        assert [request.kind for request in t.model.acted] == ["ack"]


@pytest.mark.parametrize("error", [StoreError("database is locked"), ValueError("a bug of ours")])
async def test_a_failed_ack_says_so_and_leaves_nothing_pending(terminal, error):
    """What could not be stored is not shown as done, whatever the model raises."""
    async with terminal(burning()) as t:
        t.model.refused = error
        await t.press("a")
        assert "ack FAILED" in t.text
        assert str(error) in t.text
        assert "… ▲ CRIT" not in t.text


async def test_a_mute_needs_a_reason_and_an_end(terminal):
    """Neither an empty reason nor a bare number of minutes is stored."""
    async with terminal(burning()) as t:
        await t.press("m", "enter")
        assert "a reason is required" in t.text
        await t.press(*"deploy", "tab", "end", "backspace", "backspace", *"60", "enter")
        assert "expected a duration with a unit" in t.text
        await t.press("backspace", "backspace", *"31d", "enter")
        assert "at most 30d" in t.text
        assert not t.model.acted
        await t.press("backspace", "backspace", "backspace", *"15m", "enter")
        request = t.model.acted[0]
        assert (request.kind, request.reason) == ("mute", "deploy")
        assert request.until == AT + timedelta(minutes=15)
        assert "Reason, required" not in t.text


async def test_a_failed_mute_keeps_the_dialog_and_its_text(terminal):
    """The same words again are the same action; other words are another."""
    async with terminal(burning()) as t:
        t.model.refused = StoreError("database is locked")
        await t.press("m", *"deploy", "enter")
        assert "not stored: database is locked" in t.text
        assert "deploy" in t.text
        first = t.app.screen.action_id
        t.model.refused = None
        await t.press("enter")
        assert [request.action_id for request in t.model.acted] == [first]


async def test_other_words_after_a_failure_are_another_mute(terminal):
    """An idempotent id must never stand for two reasons."""
    async with terminal(burning()) as t:
        t.model.refused = StoreError("gone")
        await t.press("m", *"deploy", "enter")
        first = t.app.screen.action_id
        t.model.refused = None
        await t.press(*"ment", "enter")
        assert t.model.acted[0].action_id != first
        assert t.model.acted[0].reason == "deployment"


async def test_coalmines_own_alarm_is_muted_by_name_only(terminal):
    """Muting the watcher itself asks for its name."""
    own = board(incidents=(incident("coalmine.paging"),))
    async with terminal(own) as t:
        await t.press("m", *"sure", "enter")
        assert "type coalmine.paging" in t.text
        assert not t.model.acted
        await t.press("tab", "tab", *"coalmine", "full_stop", *"paging", "enter")
        assert t.model.acted[0].subject == "prod-eu:coalmine.paging:1"


async def test_undo_takes_back_the_last_own_action(terminal):
    """Only what this terminal did, and only once."""
    async with terminal(burning()) as t:
        await t.press("u")
        assert "Undo is off: no ack or mute of this terminal" in t.text
        await t.press("a", "u")
        assert [request.kind for request in t.model.acted] == ["ack", "unack"]
        await t.press("u")
        assert len(t.model.acted) == 2


@pytest.mark.parametrize("key", ["a", "m", "u"])
async def test_read_only_writes_nothing_and_says_why(terminal, key):
    """Greyed keys answer."""
    async with terminal(burning(), readonly=True) as t:
        await t.press(key)
        assert "this terminal is read-only" in t.text
        assert not t.model.acted


async def test_offline_writes_nothing_and_says_why(terminal):
    """An ack that cannot be kept must not look kept."""
    async with terminal(burning()) as t:
        t.model.broken = StoreError("gone")
        await t.later(2.0)
        await t.press("a")
        assert "offline: nothing can be written" in t.text
        assert not t.model.acted


async def test_an_ack_while_the_service_is_stopped_says_that_nobody_acts_on_it(terminal):
    """The row is kept; the screen does not pretend more."""
    stopped = boards.TroubleLine("STOPPED", "no tick", 180.0, None)
    async with terminal(replace(burning(), troubles=(stopped,))) as t:
        t.model.folded = False
        await t.press("a")
        assert "nobody acts on it until the service runs" in t.text


async def test_rows_keep_their_places_under_the_cursor(terminal):
    """A worse incident comes in: the chosen row stays put, the frame says that order changed."""
    first, second, new = (
        incident("a-first", minutes=5),
        incident("b-second"),
        incident("c", minutes=99),
    )
    async with terminal(board(incidents=(first, second))) as t:
        await t.press("down")
        assert t.app.screen.chosen == first.key
        await t.serve(board(incidents=(new, second, first), at=AT + timedelta(seconds=2)))
        lines = [line for line in t.text.splitlines() if "CRIT" in line]
        assert [line.split()[4] for line in lines][:3] == ["b-second", "a-first", "c"]
        assert "order changed, r" in t.text
        await t.press("a")
        assert t.model.acted[0].subject == first.key
        await t.press("r")
        assert "order changed" not in t.text
        lines = [
            line.replace("›", " ").split()[4] for line in t.text.splitlines() if "CRIT" in line
        ]
        assert lines[:3] == ["c", "b-second", "a-first"]


async def test_a_key_never_hits_the_row_that_took_the_place_of_a_resolved_one(terminal):
    """The chosen incident resolves at the wrong moment: the next key does nothing."""
    one, two = incident("one"), incident("two", minutes=3)
    async with terminal(board(incidents=(one, two))) as t:
        await t.press("home")
        await t.serve(board(incidents=(two,), at=AT + timedelta(seconds=2)))
        await t.press("a")
        assert "no row under the cursor" in t.text
        assert not t.model.acted
        await t.press("down", "a")
        assert t.model.acted[0].subject == two.key


async def test_an_unwatched_screen_sorts_by_itself(terminal):
    """Half a minute after the last key the worst stands on top again."""
    old, worse = incident("old", boards.DEGRADED), incident("worse")
    async with terminal(board(incidents=(old,))) as t:
        await t.press("down")
        await t.serve(board(incidents=(old, worse), at=AT + timedelta(seconds=31)), 31)
        assert t.text.index("worse ·") < t.text.index("old ·")


async def test_an_error_nobody_foresaw_is_a_trouble_line(terminal):
    """The terminal never ends by itself."""
    async with terminal(burning()) as t:
        t.model.broken = RuntimeError("a bug in the model")
        await t.later(2.0)
        assert "✖ OFFLINE RuntimeError" in t.text
        assert t.app.is_running
        t.model.broken = None
        await t.serve(replace(burning(), at=AT + timedelta(seconds=4)), 2.0)
        assert "OFFLINE" not in t.text


async def test_offline_from_the_first_moment_is_not_empty_and_not_first_start(terminal):
    """Nothing was ever read: no list may look like all is well."""
    async with terminal(broken=StoreError("connection refused")) as t:
        assert "✖ OFFLINE connection refused" in t.text
        assert "nothing was read yet" in t.text
        assert "no incidents" not in t.text


async def test_freeze_holds_the_picture_and_says_so(terminal):
    """Ages go on, new boards wait."""
    async with terminal(burning()) as t:
        await t.press("p")
        await t.serve(board(at=AT + timedelta(seconds=2)))
        assert "FROZEN 03:12Z" in t.text
        assert "canary logs" in t.text
        await t.press("p")
        assert "FROZEN" not in t.text
        assert "no incidents" in t.text


async def test_the_filter_is_seen_and_hides_no_sums(terminal):
    """`/` narrows the rows; counts stay those of the board; esc brings all back."""
    async with terminal(burning()) as t:
        counts = t.text.splitlines()[0]
        await t.press("slash", *"sev:crit check", "enter")
        assert "NEEDS YOU (1 of 3 shown: /sev:crit check)" in t.text
        assert t.text.splitlines()[0] == counts
        await t.press("escape")
        assert "NEEDS YOU (3)" in t.text


async def test_faults_only_leaves_out_what_is_well(terminal):
    """`z` on the pipeline."""
    async with terminal(burning()) as t:
        await t.press("2", "z")
        assert "faults only" in t.text
        assert "logs-direct" not in t.text
        await t.press("z")
        assert "logs-direct" in t.text


async def test_detail_tells_why_where_and_who_was_told(terminal):
    """Enter; esc comes back."""
    async with terminal(burning(), size=(80, 24)) as t:
        await t.press("enter")
        for words in ("counters agree", "confidence high", "pagerduty trigger"):
            assert words in t.text
        await t.press("escape")
        assert "NEEDS YOU" in t.text


async def test_the_keys_are_told_and_none_is_dead(terminal):
    """Every action of the registry has a handler and stands in the sheet."""
    from tui.actions import ACTIONS

    async with terminal(burning(), size=(110, 40)) as t:
        assert set(t.app._handlers()) == {action.id for action in ACTIONS}
        await t.press("question_mark")
        for action in ACTIONS:
            assert action.what in t.text


@pytest.mark.parametrize("key", ["enter", "m", "question_mark"])
async def test_dialogs_too_keep_to_ascii_where_they_must(terminal, key):
    """A frame of theirs would break the columns as one of the page does."""
    async with terminal(burning(), glyphs="ascii") as t:
        await t.press(key)
        assert len(t.app.screen_stack) == 2
        assert t.text.isascii()


async def test_a_row_is_copied_as_markdown(terminal):
    """What, why, where and how fresh, for the incident channel."""
    async with terminal(burning()) as t:
        await t.press("y")
        assert t.app.clipboard.startswith(
            "**canary logs** (read 2026-11-21T03:12:44Z)\n- CRIT fail"
        )
        assert "copied" in t.text


async def test_q_quits(terminal):
    """And nothing else does."""
    async with terminal(burning()) as t:
        await t.press("q")
        assert not t.app.is_running


async def test_the_story_stands_in_the_bar_and_in_the_log(terminal):
    """Told from another thread."""
    async with terminal() as t:
        teller = threading.Thread(target=lambda: [t.app.tell("03:12Z fault"), t.app.tell("found")])
        teller.start()
        teller.join()
        await t.later(1.0)
        assert " found" in t.text
        await t.press("5")
        assert "03:12Z fault" in t.text


async def test_the_log_counts_its_own_rows_and_shows_its_cursor_above_the_story(terminal):
    """Sixty lines of story push neither the cursor nor the chosen row out of sight."""
    async with terminal(burning()) as t:
        for n in range(60):
            t.app.tell(f"line {n}")
        await t.press("5")
        lines = t.text.splitlines()
        assert lines[2].startswith("┌─ LOG (2) ")
        assert lines[4].startswith("│›  03:11:44Z")
        assert lines[6].startswith("├─ STORY (60) ")
        assert "canary logs: trigger" in t.text[t.text.index("DETAIL") :]


def told_at(seconds):
    return boards.LogRow(AT + timedelta(seconds=seconds), "page", "chat", f"p{seconds}", "", None)


async def test_the_log_follows_what_is_new_while_its_cursor_stands_at_the_top(terminal):
    """Unwatched, or come back to, the page tells of the newest row; a chosen row stays chosen."""
    async with terminal(board(log=(told_at(1),))) as t:
        await t.press("5")
        await t.serve(board(log=(told_at(2), told_at(1)), at=AT + timedelta(seconds=31)), 31)
        assert "p2" in t.text[t.text.index("DETAIL") :]
        await t.press("1")
        newest = board(log=(told_at(3), told_at(2), told_at(1)), at=AT + timedelta(seconds=33))
        await t.serve(newest)
        await t.press("5", "r")
        assert "p3" in t.text[t.text.index("DETAIL") :]
        await t.press("down")
        rows = tuple(told_at(n) for n in (4, 3, 2, 1))
        await t.serve(board(log=rows, at=AT + timedelta(seconds=70)), 40)
        assert "p2" in t.text[t.text.index("DETAIL") :]


async def test_a_page_that_is_come_back_to_shows_its_cursor(terminal):
    """However far down it stood."""
    async with terminal(boards.storm(200)) as t:
        await t.press("3", "end", "1", "3")
        assert any(line.startswith("│›") for line in t.text.splitlines())


async def test_a_page_whose_chosen_row_has_gone_opens_on_its_first(terminal):
    """Nobody looked at it meanwhile: a dead `a` would only puzzle."""
    one, two = incident("one"), incident("two", minutes=3)
    async with terminal(board(incidents=(one, two))) as t:
        await t.press("home", "2")
        await t.serve(board(incidents=(two,), at=AT + timedelta(seconds=2)))
        await t.press("1")
        assert t.app.screen.chosen == two.key


async def test_an_ack_of_a_page_acks_all_that_it_carries_and_one_undo_takes_it_back(terminal):
    """One action each; the answer names the row and how many went with it."""
    members = incident("metrics-gw"), incident("traces-gw", acked_by="leo")
    lead = incident("logs-gw", members=("metrics-gw", "traces-gw"))
    async with terminal(board(incidents=(lead, *members))) as t:
        await t.press("a")
        assert [request.subject for request in t.model.acted] == [lead.key, members[0].key]
        assert "ack is stored: prod-eu:logs-gw:1 +1" in t.text
        await t.later(2.0)
        assert "ack is in force: prod-eu:logs-gw:1 +1" in t.text
        await t.press("u")
        undone = [(request.kind, request.subject) for request in t.model.acted[2:]]
        assert undone == [("unack", lead.key), ("unack", members[0].key)]
        await t.press("u")
        assert len(t.model.acted) == 4


async def test_an_ack_that_is_stored_in_part_ends_with_its_failure(terminal):
    """What was stored is undone alone; the failure is the last word."""
    lead = incident("logs-gw", members=("metrics-gw",))
    async with terminal(board(incidents=(lead, incident("metrics-gw")))) as t:
        stored = t.model.act

        def act(request):
            if request.subject != lead.key:
                raise StoreError("database is locked")
            stored(request)

        t.model.act = act
        await t.press("a")
        assert "ack FAILED: database is locked" in t.text
        await t.later(2.0)
        assert "ack is in force: prod-eu:logs-gw:1" in t.text
        assert "+1" not in t.text[t.text.index("in force") :]
        await t.press("u")
        assert [request.kind for request in t.model.acted] == ["ack", "unack"]


async def test_why_a_key_is_off_is_not_told_for_long_nor_on_the_next_page(terminal):
    """Four seconds; a failure stays over a change of page."""
    async with terminal(burning()) as t:
        await t.press("u")
        assert "Undo is off" in t.text
        await t.press("2")
        assert "Undo is off" not in t.text
        await t.press("a")
        assert "Ack is off" in t.text
        await t.later(4.0)
        assert "Ack is off" not in t.text
        t.model.refused = StoreError("gone")
        await t.press("1", "a", "2")
        assert "ack FAILED" in t.text


async def test_n_lets_the_story_go_on_where_one_is_played(terminal):
    """And says so where none is, or where it does not wait."""
    waits = [True]
    async with terminal(burning(), next_step=waits.pop) as t:
        await t.press("n")
        assert not waits
        assert "Next is off" not in t.text
        waits.append(False)
        await t.press("n")
        assert "Next is off: the story does not wait" in t.text
    async with terminal(burning()) as t:
        await t.press("n")
        assert "Next is off: no story is being played" in t.text


@pytest.mark.parametrize("size", [(200, 60), (79, 23), (40, 10), (20, 5), (8, 3), (100, 36)])
async def test_any_size_is_survived_during_a_read(terminal, size):
    """A resize at any moment changes the layout and nothing else."""
    async with terminal(burning()) as t:
        for key in "12345":
            await t.press(key)
            await t.pilot.resize_terminal(*size)
            await t.later(2.0)
            assert t.app.is_running
            assert max(map(len, t.text.splitlines())) <= size[0]


HOSTILE = [
    "[/nope] [link=x]y[/link] [bold",
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "宽字符宽字符宽字符宽字符宽字符",
    "e\u0301" * 50 + "\u200b\u202e\ufeff",
    "x" * 10_000,
    "\ud800 lone",
    "a\nb\tc\r\n",
    "",
]


def poisoned(value, text):
    """The same value with every free text replaced."""
    if isinstance(value, boards.Verdict) or value is None:
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(poisoned(one, text) for one in value)
    if isinstance(value, dict):
        return dict.fromkeys([text or "k"], next(iter(value.values()), 0))
    if is_dataclass(value):
        changed = {one.name: poisoned(getattr(value, one.name), text) for one in fields(value)}
        return replace(value, **changed)
    return value


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_in_every_field_of_every_page(terminal, text):
    """No markup, no control code, no broken frame."""
    async with terminal(poisoned(burning(), text)) as t:
        for key in "12345":
            await t.press(key, "down", "enter")
            shown = t.text
            assert t.app.is_running
            assert not {char for char in shown if ord(char) < 0x20 and char != "\n"}
            assert "\u202e" not in shown
            await t.press("escape")
            assert t.app.is_running
