"""What one page is made of, and what the user has chosen on it."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from rich.text import Text

from tui.view.filters import Filter
from tui.view.glyphs import Glyphs
from tui.view.layout import Layout
from tui.view.moment import Moment
from tui.view.rows import Row


@dataclass(frozen=True, slots=True)
class Choice:
    """held: the keys in the order to keep, None = by severity.

    pending: incident keys whose ack or mute is written and not folded in yet.
    """

    filter: Filter = field(default_factory=Filter)
    held: Sequence[str] | None = None
    pending: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that decides what is drawn: the same scene is always the same page."""

    moment: Moment
    layout: Layout
    glyphs: Glyphs
    choice: Choice = field(default_factory=Choice)
    story: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """head and foot stay, body scrolls. order: the keys as they would stand unheld.

    blank: what stands below the last row.
    """

    head: Sequence[Text]
    body: Sequence[Row]
    foot: Sequence[Text]
    order: Sequence[str]
    blank: Text = field(default_factory=Text)


class View(Protocol):
    """One page: pure functions of a scene.

    tail: a cursor on the first row stays on the first row, whichever that is, unless somebody is
    at the keys.
    """

    name: str
    tail: bool = False

    def page(self, scene: Scene) -> Page:
        """The list with its frame."""
        ...

    def panel(self, scene: Scene, key: str | None, height: int) -> Sequence[Text]:
        """What is known of the row `key`, `height` lines with their frame."""
        ...

    def detail(self, scene: Scene, key: str) -> tuple[str, Sequence[str]]:
        """Title and lines of all that is known of the row: why, how sure, what to do."""
        ...

    def fields(self, scene: Scene, key: str) -> Mapping[str, str]:
        """The row as named words, for the filter and for copying."""
        ...


def in_order(keys: Sequence[str], held: Sequence[str] | None) -> list[str]:
    """`keys` with those of `held` where they stood, new ones behind them.

    Rows never move under the cursor: whoever holds the list decides when it is sorted anew.
    """
    if held is None:
        return list(keys)
    present = set(keys)
    kept = [key for key in held if key in present]
    known = set(kept)
    return kept + [key for key in keys if key not in known]


def list_title(title: str, shown: int, total: int, filter_: Filter) -> str:
    """`title (3)`, or what the filter left of it: a filter is never silent."""
    if not filter_.active:
        return f"{title} ({total:,})"
    words = [f"/{filter_.text.strip()}"] if filter_.text.strip() else []
    words += ["faults only"] if filter_.faults else []
    return f"{title} ({shown:,} of {total:,} shown: {', '.join(words)})"


def order_note(keys: Sequence[str], choice: Choice, note: str) -> str:
    """The note of a list's frame: what it would say, unless its order is held and has changed."""
    if choice.held is not None and in_order(keys, choice.held) != list(keys):
        return "order changed, r"
    return note
