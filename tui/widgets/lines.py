"""Fixed lines of styled text: what `view` returned, placed as it is."""

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget


def strip_of(text: Text, widget: Widget, width: int, over: Style | None = None) -> Strip:
    """`text` as one terminal line of `width` cells in the widget's own colours, `over` on them."""
    strip = Strip(text.render(widget.app.console, end=""), text.cell_len)
    base = widget.rich_style if over is None else widget.rich_style + over
    return strip.adjust_cell_length(width).apply_style(base)


class Lines(Widget):
    """As high as its lines; invisible without any."""

    DEFAULT_CSS = "Lines { height: auto; }"

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._lines: Sequence[Text] = ()
        self.display = False

    def show(self, lines: Sequence[Text]) -> None:
        """Show these lines; lays out only when their number has changed."""
        resized = len(lines) != len(self._lines)
        self._lines = lines
        self.display = bool(lines)
        self.styles.height = len(lines)
        self.refresh(layout=resized)

    def render_line(self, y: int) -> Strip:
        """One line."""
        text = self._lines[y] if y < len(self._lines) else Text("")
        return strip_of(text, self, self.size.width)
