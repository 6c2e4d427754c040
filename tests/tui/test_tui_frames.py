"""Pictures of the screens: one line changed in a file is one line changed on the screen."""

import pytest

from core.errors import StoreError
from tests.support import boards
from tests.support.frames import check_frame

BOARDS = {
    "healthy": boards.board(),
    "burning": boards.burning(),
    "storm": boards.storm(),
    "empty": boards.board(checks=(), routes=(), balance=(), sources=()),
    "first-start": boards.first_start(),
}


@pytest.mark.parametrize("state", BOARDS)
async def test_triage_looks_as_drawn(terminal, state):
    """Triage at 100 columns in every state of the board."""
    async with terminal(BOARDS[state]) as t:
        check_frame(t.app, f"triage-{state}-100x36")


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (60, 15), (20, 5)])
async def test_triage_folds_with_the_terminal(terminal, size):
    """Smaller terminals leave things out, never numbers."""
    async with terminal(boards.burning(), size=size) as t:
        check_frame(t.app, f"triage-burning-{size[0]}x{size[1]}")


async def test_stale_rows_are_shown_as_what_they_were(terminal):
    """A scheduler that does not tick makes every row old."""
    stopped = boards.TroubleLine("STOPPED", "no tick", 180.0, None)
    async with terminal(boards.burning()) as t:
        await t.serve(boards.replace(t.model.now, troubles=(stopped, *t.model.now.troubles)))
        check_frame(t.app, "triage-stale-100x36")


async def test_offline_keeps_the_last_frame_and_says_how_old_it_is(terminal):
    """The last board stays, all of it stale, writes off."""
    async with terminal(boards.burning()) as t:
        t.model.broken = StoreError("http://127.0.0.1:9470 does not answer")
        await t.later(2.0)
        t.clock.move(1.0)
        t.app.paint()
        await t.settle()
        check_frame(t.app, "triage-offline-100x36")


async def test_a_terminal_that_has_ascii_only_shows_the_same(terminal):
    """No glyph beyond ASCII is drawn, of ours or of others."""
    async with terminal(boards.burning(), glyphs="ascii") as t:
        assert t.text.isascii()
        check_frame(t.app, "triage-ascii-100x36")


async def test_no_color_leaves_shapes_and_words(terminal, monkeypatch):
    """NO_COLOR takes the colours and nothing else."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with terminal(boards.burning()) as t:
        check_frame(t.app, "triage-burning-100x36")
        assert "#ff5f5f" not in t.app.export_screenshot()


async def test_read_only_says_so_and_keeps_its_keys_in_sight(terminal):
    """Writes are greyed, not gone."""
    async with terminal(boards.burning(), readonly=True) as t:
        check_frame(t.app, "triage-readonly-100x36")


BLIND = boards.board(
    routes=tuple(
        boards.replace(boards.route(f"logs-{n}", boards.BLIND), reason="readback") for n in range(3)
    )
)


@pytest.mark.parametrize(
    ("state", "now"),
    [("healthy", boards.board()), ("burning", boards.burning()), ("blind", BLIND)],
    ids=["healthy", "burning", "blind"],
)
async def test_pipeline_looks_as_drawn(terminal, state, now):
    """Pipeline at 100 columns."""
    async with terminal(now) as t:
        await t.press("2")
        check_frame(t.app, f"pipeline-{state}-100x36")


@pytest.mark.parametrize(("key", "name"), [("3", "checks"), ("4", "cost"), ("5", "log")])
async def test_the_other_pages_look_as_drawn(terminal, key, name):
    """Checks, Cost and Log at 100 columns."""
    async with terminal(boards.burning()) as t:
        await t.press(key)
        check_frame(t.app, f"{name}-burning-100x36")
