"""A route's hops on one line: `send ● 20ms > gateway ▲ 60 % > loki ?`."""

from rich.text import Text

from scheduler.readmodel import HopCell, RouteRow
from tui.view.ages import delay
from tui.view.page import Scene


def cell_words(cell: HopCell, scene: Scene) -> str:
    """The number of a stretch: share lost, else its own words, else the delay, else nothing."""
    if cell.lost_share is not None and cell.lost_share > 0:
        return f"{cell.lost_share:.0%}".replace("%", " %")
    if cell.text:
        return scene.glyphs.text(cell.text, 20)
    return delay(cell.delay_s, scene.glyphs.none)


def flow_line(route: RouteRow, scene: Scene) -> Text:
    """Every hop in the order of the flow with its verdict and number."""
    glyphs, stale = scene.glyphs, scene.moment.stale
    out = Text()
    for place, cell in enumerate(route.hops):
        out.append(f" {glyphs.arrow} " if place else "", "dim")
        out.append(glyphs.text(cell.hop, 63) + " ")
        out.append(glyphs.verdict(cell.verdict, stale=stale),
                   glyphs.style(cell.verdict, stale=stale))  # fmt: skip
        words = cell_words(cell, scene)
        out.append(f" {words}" if words != glyphs.none else "")
    return out
