"""The on-call terminal: one loop that owns all state, workers that read and write the model.

It runs no check and sends no page: closing it changes nothing. It never ends by itself.
"""

import getpass
import locale
import os
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from core.clock import Clock
from core.errors import StoreError
from scheduler.readmodel import ActionRequest, ReadModel
from tui.actions import ACTIONS, BY_ID, Situation, key_sheet, why_not
from tui.feed import Feed
from tui.messages import ActionFailed, ActionKept, BoardRead, ReadFailed
from tui.screens.board import VIEWS, BoardScreen
from tui.screens.detail import DetailDialog
from tui.screens.mute import MuteDialog
from tui.view.copy import as_markdown
from tui.view.glyphs import choose
from tui.view.groups import carried
from tui.view.menu import MenuKey
from tui.view.moment import open_incidents
from tui.view.triage import incident

ACK_S = 4 * 3600.0
# Rows keep their places this long after the last key.
STEADY_S = 30.0
_SAID_S = 8.0
# Why a key is off is read at once; a stored or failed action is not.
_OFF_S = 4.0
_STORY_LINES = 200
_PAGES = MenuKey("1-5", "Pages", "")
_TROUBLES = (StoreError, OSError)


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer to a key, shown until `until_s`; `here`: it ends with its page too."""

    text: str
    until_s: float
    here: bool = False


_NOTHING_SAID = _Said("", float("-inf"))


class CoalmineApp(App[None]):
    """Shows one ReadModel; `readonly` greys out every write."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(action.keys), f"perform('{action.id}')", action.label, id=action.id)
        for action in ACTIONS
    ]

    def __init__(
        self, model: ReadModel, clock: Clock, *,
        readonly: bool = False, glyphs: str = "auto", author: str = "",
        next_step: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        """glyphs: `auto`, `unicode` or `ascii`. author: of acks and mutes, else the OS user.

        next_step: lets the story that is told go on; False when it does not wait.
        """
        super().__init__()
        self._model, self._clock, self._readonly = model, clock, readonly
        self._author = author or _os_user()
        encoding = locale.getencoding()
        self.glyphs = choose(glyphs, encoding, os.environ.get("TERM", ""))
        self.feed = Feed(clock)
        self._story: deque[str] = deque(maxlen=_STORY_LINES)
        self._said = _NOTHING_SAID
        self._next_step = next_step
        self._key_s = float("-inf")
        self._sending: dict[str, ActionRequest] = {}
        self._pending: dict[str, ActionRequest] = {}
        # All that one key press wrote, by the id of each of its actions.
        self._press: dict[str, tuple[ActionRequest, ...]] = {}
        self._own: list[ActionRequest] = []
        self._board_screen = BoardScreen(self.glyphs)

    def get_default_screen(self) -> Screen[None]:
        """The board."""
        return self._board_screen

    def tell(self, text: str) -> None:
        """Show `text` in the bar within a second, keep it in the Log. Callable from any thread."""
        self._story.append(text)

    def say(self, text: str) -> None:
        """Show an answer to a key in the bar for a few seconds. Main loop only."""
        self._said = _Said(text, self._clock.monotonic() + _SAID_S)
        self.paint()

    def _say_off(self, label: str, why: str) -> None:
        self._said = _Said(f"{label} is off: {why}", self._clock.monotonic() + _OFF_S, here=True)
        self.paint()

    def _go(self, page: str) -> None:
        if self._said.here:
            self._said = _NOTHING_SAID
        self._board_screen.go(page)

    def on_mount(self) -> None:
        """Begin: the first read, then one look a second."""
        self.set_interval(1.0, self.tick)
        self.call_after_refresh(self.tick)

    def on_resize(self) -> None:
        """The layout follows the terminal."""
        self.call_after_refresh(self.paint)

    def tick(self) -> None:
        """Ages go on; a read starts when it is due."""
        if self.feed.due():
            self.feed.begin()
            self.run_worker(
                partial(self._read, tuple(self._pending)),
                name="read", group="read", thread=True, exclusive=True, exit_on_error=False,
            )  # fmt: skip
        self.paint()

    def paint(self) -> None:
        """Draw the board as it is now."""
        if not self._board_screen.is_drawable:
            return
        waiting = (*self._sending.values(), *self._pending.values())
        self._board_screen.paint(
            self.feed.moment(), frozenset(one.subject for one in waiting), tuple(self._story),
            self._bar(), self._menu(), steady=self._steady(),
        )  # fmt: skip

    def perform(self, action_id: str) -> None:
        """Do the action, or say why not."""
        action, screen = BY_ID[action_id], self._board_screen
        why = why_not(action, screen.view.name, self._situation())
        self._key_s = self._clock.monotonic()
        if why:
            self._say_off(action.label, why)
            return
        self._handlers()[action_id]()
        if not action.moves:
            self.paint()

    def action_perform(self, action_id: str) -> None:
        """What every key is bound to."""
        self.perform(action_id)

    def _handlers(self) -> dict[str, Callable[[], object]]:
        screen, rows = self._board_screen, self._board_screen.rows
        pages = {name: partial(self._go, name) for name in VIEWS}
        return {
            **pages,
            "ack": self._ack,
            "mute": self._mute,
            "undo": self._undo,
            "detail": self._detail,
            "copy": self._copy,
            "filter": screen.ask_filter,
            "faults": screen.toggle_faults,
            "freeze": self.feed.freeze,
            "reread": self._reread,
            "back": screen.clear_filter,
            "last": lambda: self._go(screen.last.name),
            "up": partial(rows.step, -1),
            "down": partial(rows.step, 1),
            "page_up": partial(rows.page, -1),
            "page_down": partial(rows.page, 1),
            "first": partial(rows.end, last=False),
            "final": partial(rows.end, last=True),
            "next": self._next,
            "suspend": self.action_suspend_process,
            "keys": lambda: self._open(DetailDialog("Keys", key_sheet().splitlines())),
            "quit": self.exit,
        }

    # Reading

    def _read(self, pending: tuple[str, ...]) -> None:
        """In a worker thread: touches no widget and no state, only posts."""
        try:
            board = self._model.board()
            done = self._model.done(pending) if pending else frozenset()
        except _TROUBLES as exc:
            self.post_message(ReadFailed(str(exc)))
        else:
            self.post_message(BoardRead(board, done))

    def on_board_read(self, message: BoardRead) -> None:
        """Show the new board; tell which of our actions are in force."""
        self.feed.took(message.board)
        for action_id in message.done & self._pending.keys():
            request = self._pending.pop(action_id)
            press = {one.action_id for one in self._press[action_id]}
            if not press & (self._pending.keys() | self._sending.keys()):
                self.say(f"{request.kind} is in force: {self._named(request)}")
        self.paint()

    def on_read_failed(self, message: ReadFailed) -> None:
        """Keep the last board, mark all of it as old."""
        self.feed.failed(message.why)
        self.paint()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """An error that nobody foresaw is a trouble line too, never the end of the terminal."""
        worker = event.worker
        if event.state is not WorkerState.ERROR:
            return
        why = f"{type(worker.error).__name__}: {worker.error}"
        if worker.group == "read":
            self.feed.failed(why)
            self.paint()
        for request in self._press.get(worker.name, ()):
            if request.action_id in self._sending:
                self.on_action_failed(ActionFailed(request, why))

    # Writing

    def _ack(self) -> None:
        """The row's incident, and those that its page carries: one action each."""
        board, key = self.feed.moment().board, self._board_screen.chosen
        row = incident(board, key)
        if board is None or row is None:
            self._say_off("Ack", "this incident has resolved")
            return
        members = [one.key for one in carried(row, open_incidents(board)) if not one.acked_by]
        until = self._clock.utc() + timedelta(seconds=ACK_S)
        self._send(*(self._request("ack", each, until) for each in (row.key, *members)))

    def _request(self, kind: str, subject: str, until: datetime | None) -> ActionRequest:
        return ActionRequest(str(uuid.uuid4()), kind, subject, self._author, "", until)

    def _mute(self) -> None:
        board, key = self.feed.moment().board, self._board_screen.chosen
        row = incident(board, key)
        if row is None:
            self._say_off("Mute", "this incident has resolved")
            return
        self._open(MuteDialog(row, self._author, self._clock, self.glyphs, self._send))

    def _undo(self) -> None:
        """All of the last key press that is still in force."""
        press = self._press[self._own[-1].action_id]
        mine = [one for one in self._own if one in press]
        self._send(*(self._request(f"un{one.kind}", one.subject, None) for one in mine))

    def _send(self, *press: ActionRequest) -> None:
        for request in press:
            self._sending[request.action_id] = request
            self._press[request.action_id] = press
        self.run_worker(
            partial(self._write, press),
            name=press[0].action_id, group="write", thread=True, exit_on_error=False,
        )  # fmt: skip
        self.paint()

    def _write(self, press: Sequence[ActionRequest]) -> None:
        """In a worker thread: touches no widget and no state, only posts.

        The first failure ends it, so that a failure is the last word on its key press.
        """
        for place, request in enumerate(press):
            try:
                self._model.act(request)
            except _TROUBLES as exc:
                for untold in press[place:]:
                    self.post_message(ActionFailed(untold, str(exc)))
                return
            self.post_message(ActionKept(request))

    def _named(self, request: ActionRequest) -> str:
        """The incident under the cursor when the key was pressed, and how many went with it."""
        press = self._press[request.action_id]
        return f"{press[0].subject} +{len(press) - 1}" if len(press) > 1 else press[0].subject

    def on_action_kept(self, message: ActionKept) -> None:
        """Stored: pending until the paging loop has folded it in."""
        request = message.request
        self._sending.pop(request.action_id, None)
        self._pending[request.action_id] = request
        if request.kind.startswith("un"):
            undone = request.kind.removeprefix("un"), request.subject
            self._own = [one for one in self._own if (one.kind, one.subject) != undone]
        else:
            self._own.append(request)
        if isinstance(self.screen, MuteDialog) and self.screen.action_id == request.action_id:
            self.screen.kept()
        late = ", nobody acts on it until the service runs" if self.feed.moment().stopped else ""
        self.feed.hurry()
        self.say(f"{request.kind} is stored{late}: {self._named(request)}")

    def on_action_failed(self, message: ActionFailed) -> None:
        """Not known to be stored: say so; a dialog stays with its text."""
        request = message.request
        self._sending.pop(request.action_id, None)
        left = tuple(one for one in self._press.pop(request.action_id) if one is not request)
        self._press.update((one.action_id, left) for one in left)
        if isinstance(self.screen, MuteDialog) and self.screen.action_id == request.action_id:
            self.screen.failed(message.why)
        self.say(f"{request.kind} FAILED: {message.why}")

    # The rest

    def _detail(self) -> None:
        screen = self._board_screen
        if screen.scene is not None and screen.chosen is not None:
            title, lines = screen.view.detail(screen.scene, screen.chosen)
            self._open(DetailDialog(title, lines))

    def _open(self, dialog: Screen[None]) -> None:
        dialog.set_class(self.glyphs.plain, "-plain")
        self.push_screen(dialog)

    def _copy(self) -> None:
        screen = self._board_screen
        if screen.scene is not None and screen.chosen is not None:
            title, lines = screen.view.detail(screen.scene, screen.chosen)
            self.copy_to_clipboard(as_markdown(title, lines, self._clock.utc()))
            self.say("copied, if this terminal lets programs write its clipboard")

    def _next(self) -> None:
        if self._next_step is not None and not self._next_step():
            self._say_off("Next", "the story does not wait")

    def _reread(self) -> None:
        self._key_s = float("-inf")
        self.feed.hurry()
        self.tick()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The list follows what is typed."""
        if event.input.id == "filter":
            self._board_screen.set_filter(event.value)
            self.paint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The filter stays, its line goes."""
        if event.input.id == "filter":
            self._board_screen.close_filter()

    def _steady(self) -> bool:
        return self._clock.monotonic() - self._key_s < STEADY_S

    def _situation(self) -> Situation:
        offline = self.feed.moment().offline is not None or self.feed.moment().board is None
        has_row = self._board_screen.chosen is not None
        story = self._next_step is not None
        return Situation(self._readonly, offline, has_row, len(self._own), story)

    def _menu(self) -> list[MenuKey]:
        now, page = self._situation(), self._board_screen.view.name
        keys = [
            MenuKey(action.shown, action.label, why_not(action, page, now))
            for action in ACTIONS
            if action.menu
        ]
        return [*keys[:-2], _PAGES, *keys[-2:]]

    def _bar(self) -> list[str]:
        said = [self._said.text] if self._clock.monotonic() < self._said.until_s else []
        readonly = ["read-only: ack and mute are off"] if self._readonly and not said else []
        return [*list(self._story)[-1:], *readonly, *said]


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return f"uid-{os.getuid()}"
