"""The guided story: three faults, one at a time, each found, located, paged, mended, resolved.

It sees what a visitor sees: the HTTP API of the running service and the pages that arrive. It
never looks inside the service.
"""

import json
import queue
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from core.clock import Clock

Board = Mapping[str, Any]  # the JSON of /api/v1/status
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the story; `at` is ISO 8601 UTC. Parts that do not apply are empty."""

    at: str
    event: str
    signal: str = ""
    route: str = ""
    fault: str = ""
    hop: str = ""
    detail: str = ""

    def line(self) -> str:
        """The event as one JSON line."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: how it is switched, which route or source shows it, and what must be named."""

    name: str
    what: str
    signal: str
    subject: str
    hop: str
    switch: Callable[[bool], None]


class Stage(Protocol):
    """What the story needs of the running demo."""

    def board(self) -> Board:
        """The present board, as the API serves it. Raises OSError while it does not answer."""
        ...

    def page(self) -> Mapping[str, Any] | None:
        """The next page that arrived, or None."""
        ...


class StoryError(Exception):
    """Something that must happen in the story did not."""


class Story:
    """Plays the faults and tells `tell` of every event."""

    def __init__(
        self, stage: Stage, faults: tuple[Fault, ...], clock: Clock, tell: Callable[[Event], None],
        *, clean_s: float = 6.0, patience_s: float = 40.0,
        hold: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        """clean_s: watched without faults first. patience_s: limit of each wait.

        hold: awaited before a fault that has been paged is mended.
        """
        self._stage, self._faults, self._clock, self._tell = stage, faults, clock, tell
        self._clean_s, self._patience_s, self._hold = clean_s, patience_s, hold
        self._pages: list[Mapping[str, Any]] = []
        self._route_of = {fault.subject: fault for fault in faults}

    async def play(self) -> bool:
        """The whole story; True when every part of it happened and nothing else paged."""
        try:
            await self._start()
            for fault in self._faults:
                await self._fault(fault)
            await self._clean("after the faults")
            self._cost()
        except StoryError as exc:
            self._emit("done", detail=f"FAILED: {exc}")
            return False
        told = len([page for page in self._pages if _kind(page) == "trigger"])
        self._emit("done", detail=f"{len(self._faults)} faults found, located, paged and resolved;"
                   f" {told} pages in all, none in clean time")  # fmt: skip
        return True

    async def _start(self) -> None:
        self._emit("started", detail="embedded gateway and store, a shop, six routes")
        board = await self._until("every route and check is ok", _all_ok)
        for route in board["routes"]:
            detail = f"{route['outcomes']['ok']} canaries ok"
            self._emit("ok", signal=route["signal"], route=route["name"], detail=detail)
        await self._clean("before the faults")

    async def _clean(self, when: str) -> None:
        end = self._clock.monotonic() + self._clean_s
        while self._clock.monotonic() < end:
            await self._clock.sleep(_POLL_S)
            if self._take_pages():
                raise StoryError(f"a page arrived in clean time {when}: {_text(self._pages[-1])}")

    async def _fault(self, fault: Fault) -> None:
        before = self._bad(fault, self._stage.board())
        fault.switch(True)
        self._emit("fault_on", fault=fault.name, signal=fault.signal, detail=fault.what)
        await self._until(f"{fault.name} is found", lambda board: self._bad(fault, board) > before)
        self._tell_of("found", fault, detail="the first canary is lost" if fault.signal else
                      "the source is quiet")  # fmt: skip
        board = await self._until(f"{fault.name} is located", lambda b: _finding(fault, b))
        self._tell_of("located", fault, hop=fault.hop, detail=_finding(fault, board))
        page = await self._page(fault, "trigger")
        self._tell_of("paged", fault, hop=fault.hop, detail=_text(page))
        self._tell_of("cost", fault, detail=_cost_of_loss(page))
        if self._hold is not None:
            self._emit("waits", fault=fault.name, detail="press n to mend it")
            await self._hold()
        muted = _muted(fault, self._stage.board())
        fault.switch(False)
        self._emit("fault_off", fault=fault.name, signal=fault.signal)
        await self._until(f"{fault.name} has recovered", lambda b: _well(fault, b))
        self._tell_of("recovered", fault)
        ended = "muted: its end is told to nobody"
        if not muted:
            ended = _text(await self._page(fault, "resolve"))
        self._tell_of("resolved", fault, detail=ended)
        await self._until("everything is ok again", _all_ok)

    def _bad(self, fault: Fault, board: Board) -> int:
        """How many losses the board shows for the fault's subject."""
        for route in board["routes"]:
            if route["name"] == fault.subject:
                bad = ("lost", "rejected", "altered", "late", "unknown")
                return sum(route["outcomes"].get(name, 0) for name in bad)
        return sum(_source_fails(fault, board))

    async def _until(self, what: str, true: Callable[[Board], object]) -> Board:
        end = self._clock.monotonic() + self._patience_s
        while self._clock.monotonic() < end:
            try:
                board = self._stage.board()
            except OSError:
                board = {}
            if board and true(board):
                return board
            await self._clock.sleep(_POLL_S)
        raise StoryError(f"not within {self._patience_s:g} s: {what}")

    async def _page(self, fault: Fault, action: str) -> Mapping[str, Any]:
        end = self._clock.monotonic() + self._patience_s
        while self._clock.monotonic() < end:
            self._take_pages()
            for page in self._pages:
                if _kind(page) == action and fault.subject in _subjects(page):
                    return page
            await self._clock.sleep(_POLL_S)
        raise StoryError(f"no {action} page about {fault.subject} arrived")

    def _take_pages(self) -> bool:
        taken = False
        while (page := self._stage.page()) is not None:
            self._pages.append(page)
            taken = True
        return taken

    def _cost(self) -> None:
        """Every priced meter with what its figures stand on; what holds for all is said once."""
        rows = self._stage.board()["costs"]
        shared = _shared_notes(rows)
        if shared:
            self._emit("cost", detail=f"all prices: {'; '.join(shared)}")
        for row in rows:
            own = [note for note in _notes(row) if note not in shared]
            figures = ", ".join(
                f"{word} {row[key]} {row['currency']}"
                for word, key in (("per GB", "per_gb"), ("now per hour", "hour"),
                                  ("month to date", "to_date"), ("next month likely", "likely"))
                if row[key] is not None
            )  # fmt: skip
            told = "; ".join(filter(None, (figures, *own)))
            self._emit("cost", signal=row["signal"],
                       detail=f"{row['meter']} ({row['book']}): {told}")  # fmt: skip

    def _tell_of(self, event: str, fault: Fault, hop: str = "", detail: str = "") -> None:
        route = "" if fault.subject.startswith("source:") else fault.subject
        self._emit(event, signal=fault.signal, route=route, fault=fault.name, hop=hop,
                   detail=detail)  # fmt: skip

    def _emit(self, event: str, **parts: str) -> None:
        self._tell(Event(self._clock.utc().isoformat(), event, **parts))


def drain(pages: "queue.SimpleQueue[dict[str, Any]]") -> Mapping[str, Any] | None:
    """The next page of a queue, or None when there is none now."""
    try:
        return pages.get_nowait()
    except queue.Empty:
        return None


def _all_ok(board: Board) -> bool:
    """Everything is ok, and each route has brought a canary home: ok of nothing is no proof."""
    shown = [*board["routes"], *board["checks"], *board["sources"]]
    proven = [row["outcomes"].get("ok", 0) > 0 for row in board["routes"]]
    well = [row["verdict"] == "ok" for row in shown if not _waits(row)]
    return bool(proven) and all(proven) and all(well)


def _waits(row: Mapping[str, Any]) -> bool:
    """A browser check whose first run is not due yet: the story does not wait for it."""
    return row.get("kind") == "browser" and row["reason"] == "starting"


def _source_fails(fault: Fault, board: Board) -> list[bool]:
    return [row["verdict"] == "fail" for row in board["sources"]
            if f"source:{row['name']}" == fault.subject]  # fmt: skip


def _finding(fault: Fault, board: Board) -> str:
    """The finding, once it names the fault's own hop; empty until then."""
    for route in board["routes"]:
        if route["name"] == fault.subject:
            finding = str(route["finding"])
            return finding if finding.startswith(f"{fault.hop}:") else ""
    for row in board["sources"]:
        if f"source:{row['name']}" == fault.subject and row["verdict"] == "fail":
            return str(row["detail"])
    return ""


def _well(fault: Fault, board: Board) -> bool:
    for route in board["routes"]:
        if route["name"] == fault.subject:
            return bool(route["verdict"] == "ok")
    return not any(_source_fails(fault, board))


def _muted(fault: Fault, board: Board) -> bool:
    """Whether the visitor has muted the fault's incident: then nobody hears of its end."""
    return any(
        row["muted_by"] and fault.subject in (row["subject"], *row["members"])
        for row in board["incidents"]
    )


def _notes(row: Mapping[str, Any]) -> list[str]:
    return [note for note in str(row["note"]).split("; ") if note]


def _shared_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The notes that stand in every priced row, when there are several of them."""
    priced = [_notes(row) for row in rows if row["likely"] is not None]
    if len(priced) < 2:
        return []
    return [note for note in priced[0] if all(note in notes for notes in priced)]


def _kind(page: Mapping[str, Any]) -> str:
    return {"incident.triggered": "trigger", "incident.resolved": "resolve"}.get(page["type"], "")


def _subjects(page: Mapping[str, Any]) -> list[str]:
    data = page["data"]
    return [data["subject"], *(member["subject"] for member in data.get("members", ()))]


def _text(page: Mapping[str, Any]) -> str:
    return f"{page['data']['title']} — {page['data']['summary']}"


def _cost_of_loss(page: Mapping[str, Any]) -> str:
    _, _, found = str(page["data"]["summary"]).partition("cost of the loss: ")
    return found or "nothing was lost on a priced way"
