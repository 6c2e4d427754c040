"""The one screen of lists: it places what `view` returns and holds what was chosen."""

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Input

from tui.view.checks import ChecksView
from tui.view.cost import CostView
from tui.view.filters import Filter
from tui.view.glyphs import Glyphs
from tui.view.heading import heading
from tui.view.layout import Layout
from tui.view.log import LogView
from tui.view.menu import MenuKey, menu_line
from tui.view.moment import Moment
from tui.view.page import Choice, Scene, View, in_order
from tui.view.pipeline import PipelineView
from tui.view.triage import TriageView
from tui.view.trust import trust_lines
from tui.widgets.lines import Lines
from tui.widgets.rowlist import Cursor, RowList

VIEWS: dict[str, View] = {
    view.name: view for view in (TriageView(), PipelineView(), ChecksView(), CostView(), LogView())
}


class BoardScreen(Screen[None]):
    """One page at a time; cursor and filter are kept for each."""

    # Keys go to the actions, not to the filter's hidden line.
    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    BoardScreen #filter { height: 1; border: none; padding: 0 1; display: none; }
    """

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs
        self.view: View = VIEWS["triage"]
        self.last: View = VIEWS["triage"]
        self.scene: Scene | None = None
        self._filters = dict.fromkeys(VIEWS, Filter())
        self._cursors: dict[str, str | None] = {}
        self._orders: dict[str, Sequence[str]] = {}

    def compose(self) -> ComposeResult:
        """Top to bottom."""
        for name in ("heading", "trust", "head"):
            yield Lines(name)
        yield RowList()
        for name in ("foot", "panel", "bar"):
            yield Lines(name)
        yield Input(id="filter", placeholder="sev:crit route:gw text", select_on_focus=False)
        yield Lines("menu")

    @property
    def is_drawable(self) -> bool:
        """Whether its parts stand: they go before the screen itself does."""
        return self.is_mounted and bool(self.query(RowList))

    @property
    def rows(self) -> RowList:
        """The list."""
        return self.query_one(RowList)

    @property
    def chosen(self) -> str | None:
        """Key of the row under the cursor."""
        return self.rows.cursor

    def paint(
        self, moment: Moment, pending: frozenset[str], story: Sequence[str],
        bar: Sequence[str], menu: Sequence[MenuKey], *, steady: bool,
    ) -> None:  # fmt: skip
        """Draw the page as it is now; steady: rows keep the order in which they stand."""
        layout = Layout(self.size.width, self.size.height)
        held = self._orders.get(self.view.name) if steady else None
        choice = Choice(self._filters[self.view.name], held, pending)
        self.scene = scene = Scene(moment, layout, self._glyphs, choice, story)
        page = self.view.page(scene)
        self._orders[self.view.name] = in_order(page.order, held)
        self._show("heading", heading(self.view.name, moment, layout, self._glyphs))
        self._show("trust", trust_lines(moment, layout, self._glyphs))
        self._show("head", page.head)
        self._show("foot", page.foot)
        self.rows.show(
            page.body, page.blank, self._cursor(layout), steady=steady, tail=self.view.tail
        )
        self._show("bar", [self._line(text, layout.width) for text in bar])
        self._show("menu", [] if layout.tiny else [menu_line(menu, layout.width)])
        self.paint_panel()

    def paint_panel(self) -> None:
        """Draw what is told of the chosen row."""
        if self.scene is None:
            return
        layout = self.scene.layout
        height = max(5, min(9, layout.height // 4))
        panel = self.view.panel(self.scene, self.chosen, height) if layout.panel else ()
        self._show("panel", panel)

    def go(self, name: str) -> None:
        """Another page; its cursor stands where it stood."""
        if name == self.view.name:
            return
        if self.view.tail and self.rows.at_first:
            self._cursors.pop(self.view.name, None)
        else:
            self._cursors[self.view.name] = self.chosen
        self.last, self.view = self.view, VIEWS[name]
        self.rows.reopen(self._cursors.get(name), first_time=name not in self._cursors)

    def toggle_faults(self) -> None:
        """Leave out what is well, or bring it back."""
        old = self._filters[self.view.name]
        self._filters[self.view.name] = Filter(old.text, not old.faults)

    def ask_filter(self) -> None:
        """Open the filter line."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.value = self._filters[self.view.name].text
        field.focus()

    def close_filter(self) -> bool:
        """Close the filter line, its text stays in force; False when it was not open."""
        field = self.query_one("#filter", Input)
        was_open = bool(field.display)
        field.display = False
        self.set_focus(None)
        return was_open

    def clear_filter(self) -> None:
        """Show all rows."""
        self.close_filter()
        self._filters[self.view.name] = Filter()

    def set_filter(self, text: str) -> None:
        """Filter by `text`, keep the switch for faults."""
        self._filters[self.view.name] = Filter(text, self._filters[self.view.name].faults)

    def on_row_list_moved(self, _: RowList.Moved) -> None:
        """The panel follows the cursor."""
        self.paint_panel()

    def _cursor(self, layout: Layout) -> Cursor:
        return Cursor(self._glyphs.cursor, 0 if layout.tiny else 1)

    def _line(self, text: str, width: int) -> Text:
        out = Text(" " + self._glyphs.text(text), "reverse", no_wrap=True, end="")
        out.truncate(width, pad=True)
        return out

    def _show(self, name: str, lines: Sequence[Text]) -> None:
        self.query_one(f"#{name}", Lines).show(lines)
