"""The mute dialog: a reason and an end are required; a failure keeps what was typed."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from core.clock import Clock
from core.options import parse_duration
from scheduler.readmodel import ActionRequest, IncidentRow
from tui.view.glyphs import Glyphs

LONGEST_S = 30 * 86400.0
_OWN = "coalmine."


class MuteDialog(ModalScreen[None]):
    """Mutes the incident whose key was taken when the dialog opened, whatever moves behind it."""

    CSS = """
    MuteDialog { align: center middle; }
    MuteDialog > Vertical { width: 76; max-width: 96%; height: auto; border: round $primary;
                            padding: 0 1; }
    MuteDialog.-plain > Vertical { border: ascii $primary; }
    MuteDialog Input { height: 1; border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close")]

    def __init__(
        self, row: IncidentRow, author: str, clock: Clock, glyphs: Glyphs,
        send: Callable[[ActionRequest], None],
    ) -> None:  # fmt: skip
        """`send` stores a request in a worker; `kept` or `failed` is called with its answer."""
        super().__init__()
        self._row, self._author, self._clock, self._glyphs = row, author, clock, glyphs
        self._send = send
        self._tried: tuple[str, str] | None = None
        self.action_id = str(uuid.uuid4())

    def compose(self) -> ComposeResult:
        """What is muted, why, for how long."""
        row, text = self._row, self._glyphs.text
        with Vertical():
            yield Static(Text(f"Mute {text(row.title, 120)}, episode {row.episode}", "bold"))
            members = f"; the {len(row.members)} it carries stay as they are" if row.members else ""
            yield Static(Text(f"Hides the pages of this one incident{members}."))
            yield Static(Text("Reason, required:"))
            yield Input(id="reason", max_length=300)
            yield Static(Text("For how long (15m 1h 4h, at most 30d), required:"))
            yield Input(value="1h", id="duration", max_length=20)
            if self._own:
                yield Static(Text(f"This is Coalmine's own alarm. Type {text(row.subject)}:"))
                yield Input(id="name", max_length=80)
            yield Static(Text("enter mutes, tab next field, esc closes"), id="answer")

    @property
    def _own(self) -> bool:
        return self._row.subject.startswith(_OWN)

    def on_input_submitted(self, _: Input.Submitted) -> None:
        """Judge what was typed, then store it."""
        wrong = self._wrong()
        if wrong:
            self._answer(wrong)
            return
        tried = (self._value("reason"), self._value("duration"))
        # The same words again are the same mute; other words must not meet a stored id.
        if self._tried not in {None, tried}:
            self.action_id = str(uuid.uuid4())
        self._tried = tried
        until = self._until()
        self._answer(f"storing, until {until:%Y-%m-%d %H:%MZ}")
        self._send(
            ActionRequest(self.action_id, "mute", self._row.key, self._author, tried[0], until)
        )

    def kept(self) -> None:
        """It is stored: close."""
        self.dismiss()

    def failed(self, why: str) -> None:
        """It is not known to be stored: stay, with the text as it is."""
        self._answer(f"not stored: {self._glyphs.text(why)}. enter tries again")

    def _wrong(self) -> str:
        if not self._value("reason"):
            return "a reason is required"
        try:
            duration_s = parse_duration(self._value("duration"))
        except ValueError as exc:
            return str(exc)
        if duration_s > LONGEST_S:
            return "at most 30d"
        if self._own and self._value("name") != self._row.subject:
            return f"type {self._glyphs.text(self._row.subject)} to mute Coalmine's own alarm"
        return ""

    def _until(self) -> datetime:
        return self._clock.utc() + timedelta(seconds=parse_duration(self._value("duration")))

    def _value(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    def _answer(self, text: str) -> None:
        self.query_one("#answer", Static).update(Text(text, "bold"))
