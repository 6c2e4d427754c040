"""The trust bar: can this screen itself be believed? At most two lines, the worst first.

Four kinds of trouble that are never mixed: the model cannot be read (OFFLINE), our own scheduler
does not tick (STOPPED), a backend cannot be read (BLIND), our export fails (EXPORT).
"""

from rich.text import Text

from core.verdict import Verdict
from scheduler.readmodel import TroubleLine
from tui.view.ages import age, span
from tui.view.glyphs import STYLE, WORD_STYLE, Glyphs
from tui.view.layout import Layout
from tui.view.moment import Moment
from tui.view.rows import fit

_LINES = 2


def trust_lines(moment: Moment, layout: Layout, glyphs: Glyphs) -> list[Text]:
    """One line, or two when there are several troubles."""
    troubles = moment.troubles()
    if not troubles:
        return [_all_fresh(moment, layout, glyphs)]
    room = 1 if layout.tiny else _LINES
    lines = [_trouble(line, moment, layout, glyphs) for line in troubles[:room]]
    beyond = len(troubles) - room
    more = f" +{beyond}" if beyond > 0 else ""
    tail = "" if layout.tiny or len(lines) > 1 else _vitals(moment, layout, glyphs)
    return [
        *(_cut(line, layout.width, glyphs) for line in lines[:-1]),
        _with_tail(lines[-1], tail, more, layout.width, glyphs),
    ]


def _all_fresh(moment: Moment, layout: Layout, glyphs: Glyphs) -> Text:
    if moment.board is None:
        return Text(_cut_text(" first read under way", layout.width, glyphs), no_wrap=True, end="")
    vitals = _vitals(moment, layout, glyphs)
    if not vitals:
        known = Text(" ")
        known.append(glyphs.verdicts[Verdict.BLIND], STYLE[Verdict.BLIND])
        known.append(" nothing is known of the parts that this screen stands on")
        return _cut(known, layout.width, glyphs)
    return _cut(Text(" ") + vitals, layout.width, glyphs)


def _trouble(line: TroubleLine, moment: Moment, layout: Layout, glyphs: Glyphs) -> Text:
    out = Text(" ")
    out.append(f"{glyphs.trouble(line.word)} {glyphs.text(line.word, 12)}",
               WORD_STYLE.get(line.word, "bold"))  # fmt: skip
    # Word, how long and the next try always fit: the reason is what gives way.
    numbers = f" {span(line.for_s)}"
    if line.retry_in_s is not None and layout.width >= 40:
        numbers += f", next {span(line.retry_in_s)}"
    after = f" {glyphs.dot} {_effect(line.word, moment)}" if _effect(line.word, moment) else ""
    if out.cell_len + len(numbers) + len(after) > layout.width - 20:
        after = ""
    room = layout.width - out.cell_len - len(numbers) - len(after) - 5
    if room > 4:
        out.append(" " + fit(glyphs.text(line.text), room, glyphs))
    return out.append(numbers).append(after)


def _effect(word: str, moment: Moment) -> str:
    if word == "OFFLINE":
        if moment.board is None:
            return "nothing was read yet"
        return f"all below is {span(moment.elapsed_s)} old, writes are off"
    if word == "STOPPED":
        return "all below is old; acks are kept, nobody acts on them yet"
    return ""


def _vitals(moment: Moment, layout: Layout, glyphs: Glyphs) -> Text:
    """Part, verdict and age of each; narrow screens keep the worst one and the oldest."""
    out = Text()
    vitals = moment.board.vitals if moment.board else ()
    if layout.narrow and vitals:
        vitals = (max(vitals, key=lambda one: (one.verdict is not Verdict.OK, one.age_s)),)
    for place, vital in enumerate(vitals):
        out.append(f" {glyphs.dot} " if place else "")
        out.append(glyphs.text(vital.part, 24) + " ")
        out.append(glyphs.verdict(vital.verdict, stale=moment.stale),
                   glyphs.style(vital.verdict, stale=moment.stale))  # fmt: skip
        out.append(f" {age(moment.later(vital.age_s), glyphs.none)}{moment.mark}")
    return out


def _with_tail(line: Text, tail: Text | str, more: str, width: int, glyphs: Glyphs) -> Text:
    out = line.copy()
    if tail and line.cell_len + len(more) + 3 + len(tail) <= width:
        out.append(f" {glyphs.dot} ")
        out.append_text(tail if isinstance(tail, Text) else Text(tail))
    return _cut(out, width - len(more), glyphs).append(more, "bold")


def _cut(text: Text, width: int, glyphs: Glyphs) -> Text:
    out = text.copy()
    if out.cell_len > width:
        out.truncate(max(0, width - len(glyphs.cut)))
        out.append(glyphs.cut)
    out.no_wrap, out.end = True, ""
    return out


def _cut_text(text: str, width: int, glyphs: Glyphs) -> str:
    return fit(text, width, glyphs)
