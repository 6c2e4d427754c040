"""Every glyph and colour of the terminal: one meaning each, on every screen.

Blue is good, orange and red are bad: nothing depends on telling red from green, and every state
is told by its shape too, so the screen reads the same in black and white.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.text import safe_text
from core.verdict import Verdict

STYLE: Mapping[Verdict, str] = {
    Verdict.OK: "#5fafff",
    Verdict.DEGRADED: "#ffaf00",
    Verdict.FAIL: "bold #ff5f5f",
    Verdict.BLIND: "reverse #d787ff",
}
STALE_STYLE = "dim"
WORD_STYLE: Mapping[str, str] = {
    "OFFLINE": "bold reverse #ff5f5f",
    "STOPPED": "bold reverse #ff5f5f",
    "BLIND": STYLE[Verdict.BLIND],
    "EXPORT": "bold #ffaf00",
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One symbol set; every symbol is one cell wide, except `cut` and `arrow` in ASCII."""

    verdicts: Mapping[Verdict, str]
    stale: str
    acked: str
    muted: str
    pending: str
    offline: str
    cursor: str
    ramp: Mapping[Verdict, str]
    missing: str
    horizontal: str
    vertical: str
    corners: str
    cut: str
    arrow: str
    dot: str
    none: str
    plain: bool

    def verdict(self, verdict: Verdict, *, stale: bool) -> str:
        """The glyph of a verdict; what is too old to stand on has its own."""
        return self.stale if stale else self.verdicts[verdict]

    def style(self, verdict: Verdict, *, stale: bool) -> str:
        """The style that goes with `verdict`."""
        return STALE_STYLE if stale else STYLE[verdict]

    def trouble(self, word: str) -> str:
        """The glyph of a trouble line."""
        if word in {"OFFLINE", "STOPPED"}:
            return self.offline
        return self.verdicts[Verdict.BLIND if word == "BLIND" else Verdict.DEGRADED]

    def text(self, outside: str, limit: int = 400) -> str:
        """Outside text made safe to show in this set, at most `limit` characters."""
        shown = safe_text(outside, limit)
        if not self.plain:
            return shown
        return shown.translate(_FOLDED).encode("ascii", "replace").decode("ascii")


# Our own separators inside composed text, for terminals that have ASCII only.
_FOLDED = str.maketrans({"·": "-", "…": "~", "→": ">", "–": "-", "−": "-", "×": "x", "▸": ">"})

UNICODE = Glyphs(
    verdicts={Verdict.OK: "●", Verdict.DEGRADED: "◆", Verdict.FAIL: "▲", Verdict.BLIND: "?"},
    stale="◌",
    acked="✔",
    muted="⧗",
    pending="…",
    offline="✖",
    cursor="›",
    # `blind` is never drawn as a low bar: that would look like `ok`. A minute in which nothing
    # ran is blank: it is not a minute in which we looked and could not see.
    ramp={Verdict.OK: "▁", Verdict.DEGRADED: "▃", Verdict.FAIL: "█", Verdict.BLIND: "·"},
    missing=" ",
    horizontal="─",
    vertical="│",
    corners="┌┐├┤└┘",
    cut="…",
    arrow="▸",
    dot="·",
    none="–",
    plain=False,
)

ASCII = Glyphs(
    verdicts={Verdict.OK: ".", Verdict.DEGRADED: "!", Verdict.FAIL: "X", Verdict.BLIND: "?"},
    stale="~",
    acked="a",
    muted="m",
    pending="+",
    offline="x",
    cursor=">",
    ramp={Verdict.OK: "_", Verdict.DEGRADED: "=", Verdict.FAIL: "#", Verdict.BLIND: "?"},
    missing=" ",
    horizontal="-",
    vertical="|",
    corners="++++++",
    cut="..",
    arrow=">",
    dot="-",
    none="-",
    plain=True,
)


def choose(option: str, encoding: str, term: str) -> Glyphs:
    """The set named by `option`; `auto` is ASCII where the locale or the terminal needs it.

    The Linux console's font lacks the glyphs, and a terminal may draw "ambiguous" ones two wide.
    """
    if option == "auto":
        utf8 = encoding.lower().replace("-", "").replace("_", "") == "utf8"
        option = "unicode" if utf8 and term != "linux" else "ascii"
    return ASCII if option == "ascii" else UNICODE
