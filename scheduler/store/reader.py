"""Snapshots: reads on threads of their own, so that a slow query holds up no event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Engine
from sqlmodel import Session

from core.errors import StoreBusyError
from scheduler.store.database import Place, translated

R = TypeVar("R")

DEADLINE_S = 5.0


class Reader:
    """Asks one store; every question sees one snapshot."""

    def __init__(self, place: Place, engine: Engine) -> None:
        """`engine` cannot write."""
        self._place, self._engine = place, engine
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=f"read-{place.store}")

    def ask(self, question: Callable[[Session], R]) -> R:
        """The answer, in the calling thread. Raises StoreError."""
        with translated(self._place), Session(self._engine) as session:
            return question(session)

    async def get(self, question: Callable[[Session], R], deadline_s: float = DEADLINE_S) -> R:
        """The answer, from any event loop. Raises StoreError, StoreBusyError when too slow."""
        answer = asyncio.get_running_loop().run_in_executor(self._threads, self.ask, question)
        try:
            async with asyncio.timeout(deadline_s):
                return await answer
        except TimeoutError as exc:
            raise StoreBusyError(f"{self._place}: no answer within {deadline_s:g} s") from exc

    def close(self) -> None:
        """Forget what is queued."""
        self._threads.shutdown(cancel_futures=True)
        self._engine.dispose()
