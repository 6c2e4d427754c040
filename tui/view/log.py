"""Log: what was told to whom, and what did they answer? Newest first."""

from collections.abc import Mapping, Sequence
from functools import partial

from rich.text import Text

from scheduler.readmodel import LogRow
from tui.view.frame import box, framed, plain_row, rule
from tui.view.page import Page, Scene, View, in_order, list_title, order_note
from tui.view.rows import Cell, Row, line


class LogView(View):
    """The page of pages, acks and mutes."""

    name = "log"
    tail = True

    def page(self, scene: Scene) -> Page:
        """Newest first; in the demo its story stands below."""
        rows = _rows(scene)
        order = list(rows)
        keys = in_order(order, scene.choice.held)
        shown = [key for key in keys if scene.choice.filter.matches(_fields(rows[key]))]
        body = [Row(key, partial(log_line, scene, rows[key])) for key in shown]
        if not rows:
            body.append(plain_row(scene, "nothing was told to anybody yet"))
        if scene.layout.tiny:
            return Page((), body, (), order)
        width, glyphs = scene.layout.width, scene.glyphs
        title = list_title("LOG", len(shown), len(rows), scene.choice.filter)
        head = (
            rule(title, order_note(order, scene.choice, "newest first"), width, glyphs, "top"),
            framed(line(_columns(scene, _HEADS), glyphs), width, glyphs),
        )
        blank = framed(Text(""), width, glyphs)
        foot = (rule("", "", width, glyphs, "bottom"),)
        return Page(head, [*body, *_story(scene)], foot, order, blank)

    def panel(self, scene: Scene, key: str | None, height: int) -> Sequence[Text]:
        """The chosen line without cuts."""
        row = _rows(scene).get(key or "")
        if row is None:
            return ()
        return box("DETAIL", _told(scene, row), scene.layout.width, height, scene.glyphs)

    def detail(self, scene: Scene, key: str) -> tuple[str, Sequence[str]]:
        """The line without cuts."""
        row = _rows(scene).get(key)
        if row is None:
            return "gone", ["This line is no longer on the board."]
        return f"{row.at:%H:%M:%SZ} {scene.glyphs.text(row.kind)}", _told(scene, row)

    def fields(self, scene: Scene, key: str) -> Mapping[str, str]:
        """The line as named words."""
        row = _rows(scene).get(key)
        return {} if row is None else _fields(row)


_HEADS = ("", "TIME", "KIND", "WHO", "WHAT", "ANSWER")


def _rows(scene: Scene) -> dict[str, LogRow]:
    """Rows by a key that stays theirs while newer ones come in above."""
    rows = scene.moment.board.log if scene.moment.board else ()
    keyed: dict[str, LogRow] = {}
    for row in reversed(rows):
        key = f"{row.at.timestamp()} {row.kind} {row.who} {row.what}"
        keyed[f"{key} {sum(one.startswith(key) for one in keyed)}"] = row
    return dict(reversed(keyed.items()))


def log_line(scene: Scene, row: LogRow) -> Text:
    """One line, framed unless the terminal is tiny."""
    glyphs = scene.glyphs
    answer = Text(no_wrap=True, end="")
    if row.verdict is not None:
        answer.append(glyphs.verdicts[row.verdict] + " ", glyphs.style(row.verdict, stale=False))
    width = _widths(scene)[-1] - answer.cell_len
    answer.append_text(line([Cell(glyphs.text(row.answer, 200), width)], glyphs))
    texts: list[str | Text] = ["", f"{row.at:%H:%M:%SZ}"]
    texts += [glyphs.text(row.kind, 20), glyphs.text(row.who, 40), glyphs.text(row.what), answer]
    if scene.layout.tiny:
        return line(
            [Cell("", 1), Cell(texts[1], 9), Cell(texts[4], scene.layout.width - 12)], glyphs
        )
    return framed(line(_columns(scene, texts), glyphs), scene.layout.width, glyphs)


def _widths(scene: Scene) -> list[int]:
    widths = [2, 9, 8, 12, 0, 16 if scene.layout.narrow else 26]
    widths[4] = scene.layout.width - 4 - sum(widths) - 5
    return widths


def _columns(scene: Scene, texts: Sequence[str | Text]) -> list[Cell]:
    style = "dim" if scene.moment.stale else ""
    return [Cell(text, width, style) for text, width in zip(texts, _widths(scene), strict=True)]


def _fields(row: LogRow) -> Mapping[str, str]:
    return {"kind": row.kind, "who": row.who, "what": row.what, "answer": row.answer}


def _told(scene: Scene, row: LogRow) -> list[str]:
    texts = (f"{row.kind} {row.who} at {row.at:%Y-%m-%d %H:%M:%SZ}", row.what, row.answer)
    return [scene.glyphs.text(text, 1024) for text in texts if text]


def _story(scene: Scene) -> list[Row]:
    if not scene.story:
        return []
    title = f"STORY ({len(scene.story):,})"
    width, glyphs = scene.layout.width, scene.glyphs
    return [
        Row(None, partial(rule, title, "newest first", width, glyphs)),
        *(plain_row(scene, glyphs.text(text)) for text in reversed(scene.story)),
    ]
