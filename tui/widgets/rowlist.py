"""A list with a cursor that stands on a row's key, never on its place.

Only lines in sight are drawn, so that a thousand rows cost what thirty do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.view.rows import Row, marked
from tui.widgets.lines import strip_of


@dataclass(frozen=True, slots=True)
class Cursor:
    """The cursor's glyph, drawn in the cell `at` that rows leave blank."""

    glyph: str
    at: int


_CHOSEN = Style(bgcolor="#303a4a")


class RowList(ScrollView, can_focus=False):
    """Rows of `view`; the cursor passes over those without a key."""

    DEFAULT_CSS = "RowList { height: 1fr; scrollbar-size: 0 0; }"

    class Moved(Message):
        """The cursor has come to another row."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[Row] = ()
        self._places: dict[str, int] = {}
        self._blank, self._cursor = Text(""), Cursor(">", 0)
        self._unplaced, self._reopened = True, False
        self.cursor: str | None = None

    @property
    def at_first(self) -> bool:
        """Whether the cursor stands on the first row that it can stand on."""
        return self.cursor is not None and self.cursor == next(iter(self._places), None)

    def show(
        self, rows: Sequence[Row], blank: Text, cursor: Cursor, *, steady: bool, tail: bool = False
    ) -> None:
        """Show these rows, and `blank` below them.

        steady: somebody is at the keys. When the cursor's row is gone the cursor is then nowhere,
        because the next key must not hit another row. tail: see `View`.
        """
        if tail and self.at_first and not steady:
            self.cursor = None
        self._rows, self._blank, self._cursor = rows, blank, cursor
        self._places = {row.key: place for place, row in enumerate(rows) if row.key is not None}
        if self.cursor not in self._places:
            self.cursor = None
            if self._unplaced or self._reopened or not steady:
                self.cursor = next(iter(self._places), None)
        self._unplaced = not self._places
        self.virtual_size = Size(self.size.width, len(rows))
        if self._reopened:
            self._reopened = False
            self._bring_into_sight()
        self.refresh()

    def reopen(self, cursor: str | None, *, first_time: bool) -> None:
        """Other rows are about to be shown: the cursor goes back to where it stood among them.

        When that row is gone it goes to the first one: nobody has seen this page for a while.
        """
        self.cursor, self._unplaced, self._reopened = cursor, first_time, True
        self.scroll_to(y=0, animate=False, force=True)

    def to(self, key: str | None) -> None:
        """Put the cursor on `key`, or nowhere."""
        self.cursor = key if key in self._places else None
        self._follow()

    def step(self, by: int) -> None:
        """Move by rows; from nowhere to the nearest end. Stops at the ends."""
        keys = list(self._places)
        if not keys:
            return
        if self.cursor is None:
            place = 0 if by > 0 else len(keys) - 1
        else:
            place = max(0, min(len(keys) - 1, keys.index(self.cursor) + by))
        self.to(keys[place])

    def page(self, by: int) -> None:
        """Move by what is in sight."""
        self.step(by * max(1, self.size.height - 1))

    def end(self, *, last: bool) -> None:
        """Move to the first or the last row."""
        self.step(len(self._rows) if last else -len(self._rows))

    def _bring_into_sight(self) -> None:
        if self.cursor is not None:
            place = self._places[self.cursor]
            # The first row brings the section's title back into sight.
            top = 0 if place == next(iter(self._places.values())) else place
            region = Region(0, top, self.size.width, place - top + 1)
            self.scroll_to_region(region, animate=False, force=True)

    def _follow(self) -> None:
        self._bring_into_sight()
        self.refresh()
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        """One line of the list, the cursor's row emphasised."""
        place = y + self.scroll_offset.y
        if place >= len(self._rows):
            return strip_of(self._blank, self, self.size.width)
        row = self._rows[place]
        text = row.draw()
        if row.key is None or row.key != self.cursor:
            return strip_of(text, self, self.size.width)
        text = marked(text, self._cursor.at, self._cursor.glyph)
        return strip_of(text, self, self.size.width, _CHOSEN)
