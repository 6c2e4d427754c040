"""Every action of the terminal: id, key, label, where, when not, and its command-line twin.

Keys, the menu, the key sheet and the guards all come from this table. A guard returns why the
action is off, or an empty string; an action that is off stays visible and says why.
"""

from collections.abc import Callable
from dataclasses import dataclass

EVERYWHERE = frozenset({"triage", "pipeline", "checks", "cost", "log"})
_INCIDENTS = frozenset({"triage"})
_LISTS = frozenset({"triage", "pipeline", "checks"})


@dataclass(frozen=True, slots=True)
class Situation:
    """What guards look at, taken at the key press."""

    readonly: bool
    offline: bool
    has_row: bool
    own_actions: int
    story: bool


def _free(_: Situation) -> str:
    return ""


def _needs_row(now: Situation) -> str:
    return "" if now.has_row else "no row under the cursor"


def _may_write(now: Situation) -> str:
    if now.readonly:
        return "this terminal is read-only"
    return "offline: nothing can be written" if now.offline else ""


def _may_write_row(now: Situation) -> str:
    return _may_write(now) or _needs_row(now)


def _may_undo(now: Situation) -> str:
    if now.own_actions == 0:
        return _may_write(now) or "no ack or mute of this terminal's own to undo"
    return _may_write(now)


def _needs_story(now: Situation) -> str:
    return "" if now.story else "no story is being played"


@dataclass(frozen=True, slots=True)
class Action:
    """One verb. keys: all that do it; `shown` stands in the menu and the sheet.

    menu: whether the bottom line has room for it. moves: changes the cursor and nothing else, so
    that a held key costs the lines in sight, not the whole page.
    """

    id: str
    keys: tuple[str, ...]
    shown: str
    label: str
    what: str
    twin: str = ""
    screens: frozenset[str] = EVERYWHERE
    guard: Callable[[Situation], str] = _free
    menu: bool = True
    moves: bool = False


ACTIONS: tuple[Action, ...] = (
    Action("ack", ("a",), "a", "Ack", "a human is on it: stops repeats, hides nothing",
           "coalmine ack SUBJECT", _INCIDENTS, _may_write_row),
    Action("mute", ("m",), "m", "Mute", "do not tell, with a reason and an end",
           "coalmine mute SUBJECT --for 1h --reason WHY", _INCIDENTS, _may_write_row),
    Action("undo", ("u",), "u", "Undo", "take back the last ack or mute of this terminal",
           "", _INCIDENTS, _may_undo),
    Action("detail", ("enter",), "enter", "Detail", "all that is known of the row",
           "coalmine status", guard=_needs_row),
    Action("copy", ("y",), "y", "Copy", "copy the row as Markdown for the incident channel",
           "coalmine status --json", guard=_needs_row, menu=False),
    Action("filter", ("slash",), "/", "Filter", "sev:crit route:gw text"),
    Action("faults", ("z",), "z", "Faults", "leave out what is well, or in somebody's hands",
           screens=_LISTS),
    Action("freeze", ("p",), "p", "Freeze", "hold this picture; ages go on"),
    Action("reread", ("r",), "r", "Read", "read the model now and sort the rows anew",
           "coalmine status", menu=False),
    Action("triage", ("1",), "1", "Triage", "what needs me?", "coalmine status", menu=False),
    Action("pipeline", ("2",), "2", "Pipeline", "where is it lost?", "coalmine routes", menu=False),
    Action("checks", ("3",), "3", "Checks", "all that is watched", "coalmine checks", menu=False),
    Action("cost", ("4",), "4", "Cost", "what does it cost?", "coalmine cost", menu=False),
    Action("log", ("5",), "5", "Log", "what was told to whom", "coalmine status", menu=False),
    Action("back", ("escape",), "esc", "Clear", "clear the filter", menu=False),
    Action("last", ("minus",), "-", "Last", "the screen before this one", menu=False),
    Action("up", ("up", "k"), "k", "Up", "one row up", menu=False, moves=True),
    Action("down", ("down", "j"), "j", "Down", "one row down", menu=False, moves=True),
    Action("page_up", ("pageup",), "pgup", "Page up", "one page up", menu=False, moves=True),
    Action("page_down", ("pagedown",), "pgdn", "Page down", "one page on", menu=False, moves=True),
    Action("first", ("home", "g"), "g", "First", "the first row", menu=False, moves=True),
    Action("final", ("end", "G"), "G", "Last row", "the last row", menu=False, moves=True),
    Action("next", ("n",), "n", "Next", "in the demo: mend the fault, go on with the story",
           guard=_needs_story, menu=False),
    Action("suspend", ("ctrl+z",), "^z", "Suspend", "to the shell; fg returns", menu=False),
    Action("keys", ("question_mark",), "?", "Keys", "this list"),
    Action("quit", ("q",), "q", "Quit", "leave; nothing is lost and nothing changes"),
)  # fmt: skip

BY_ID = {action.id: action for action in ACTIONS}


def why_not(action: Action, screen: str, now: Situation) -> str:
    """Why `action` is off, or an empty string."""
    if screen not in action.screens:
        return f"not on this screen: {', '.join(sorted(action.screens))} only"
    return action.guard(now)


def key_sheet() -> str:
    """The table as text: one line an action, in the order of the menu."""
    return "\n".join(
        f"{action.shown:<6} {action.label:<10} {action.what}"
        + (f"  [{action.twin}]" if action.twin else "")
        for action in ACTIONS
    )
