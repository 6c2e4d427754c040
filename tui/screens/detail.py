"""All that is known of one row, or the keys, over the page."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class DetailDialog(ModalScreen[None]):
    """Safe lines, scrolled by the usual keys; `esc`, `enter` or `q` closes."""

    CSS = """
    DetailDialog { align: center middle; }
    DetailDialog > VerticalScroll { width: 96%; height: 90%; border: round $primary; padding: 0 1; }
    DetailDialog.-plain > VerticalScroll { border: ascii $primary; scrollbar-size: 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,question_mark", "dismiss", "Close"),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:
        """One scrolling text."""
        text = Text(self._title + "\n\n", "bold")
        text.append("\n".join(self._lines), "not bold")
        text.append("\n\nesc closes", "dim")
        with VerticalScroll():
            yield Static(text)

    def action_down(self) -> None:
        """One line on."""
        self.query_one(VerticalScroll).scroll_down(animate=False)

    def action_up(self) -> None:
        """One line back."""
        self.query_one(VerticalScroll).scroll_up(animate=False)
