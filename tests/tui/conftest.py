"""A terminal over a model that tests hold in their hands."""

import contextlib
import threading
from collections.abc import AsyncIterator, Sequence

import pytest
from textual.pilot import Pilot

from core.errors import StoreError
from scheduler.readmodel import ActionRequest, Board, ReadModel
from tests.support.boards import board
from tests.support.clock import VirtualClock
from tui.app import CoalmineApp


class FakeModel(ReadModel):
    """Serves `now`; `broken` makes reads fail, `refused` makes writes fail, `gate` holds them."""

    def __init__(self, now: Board) -> None:
        self.now = now
        self.broken: Exception | None = None
        self.refused: Exception | None = None
        self.gate: threading.Event | None = None
        self.acted: list[ActionRequest] = []
        self.folded = True

    def board(self) -> Board:
        if self.broken:
            raise self.broken
        return self.now

    def act(self, request: ActionRequest) -> None:
        if self.gate is not None and not self.gate.wait(20):
            raise StoreError("the gate never opened")
        if self.refused:
            raise self.refused
        self.acted.append(request)

    def done(self, action_ids: Sequence[str]) -> frozenset[str]:
        known = {request.action_id for request in self.acted} if self.folded else set()
        return frozenset(known.intersection(action_ids))


class Terminal:
    """A running app, its model, its clock."""

    def __init__(self, app: CoalmineApp, model: FakeModel, clock: VirtualClock, pilot: Pilot[None]):
        self.app, self.model, self.clock, self.pilot = app, model, clock, pilot

    async def settle(self) -> None:
        """Wait until workers and messages are done."""
        await self.pilot.pause()
        with contextlib.suppress(Exception):  # a failed worker is what some tests are about
            await self.app.workers.wait_for_complete()
        await self.pilot.pause()

    async def later(self, seconds: float) -> None:
        """Time goes on, the app ticks."""
        self.clock.move(seconds)
        self.app.tick()
        await self.settle()

    async def serve(self, now: Board, seconds: float = 2.0) -> None:
        """The model has something new, and the app reads it."""
        self.model.now = now
        await self.later(seconds)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    @property
    def text(self) -> str:
        from tests.support.frames import frame

        return frame(self.app)


@contextlib.asynccontextmanager
async def _terminal(
    now: Board | None = None,
    size: tuple[int, int] = (100, 36),
    broken: Exception | None = None,
    **options,
) -> AsyncIterator[Terminal]:
    clock = VirtualClock()
    model = FakeModel(board() if now is None else now)
    model.broken = broken
    app = CoalmineApp(model, clock, **{"glyphs": "unicode", "author": "ana", **options})
    async with app.run_test(size=size, notifications=True) as pilot:
        terminal = Terminal(app, model, clock, pilot)
        await terminal.settle()
        yield terminal


@pytest.fixture
def terminal():
    """`async with terminal(board, size=(100, 36), readonly=False) as t:`."""
    return _terminal
