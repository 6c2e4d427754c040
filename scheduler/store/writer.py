"""One writer thread per store, with group commit.

Whatever waits is written in one transaction and one fsync, so durability costs each of many
callers a share of one commit. A *step* takes all waiting items of its kind at once, so that rows
go in as one batched insert. When a group fails, its items are written again one by one: only the
guilty caller gets the error.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StoreBusyError, StoreError, StoreLostError
from scheduler.store.database import Place, translated

T = TypeVar("T")
R = TypeVar("R")

DEADLINE_S = 5.0
_GROUP = 500

Step = Callable[[Connection, Sequence[T]], Sequence[R]]
"""Writes all items in the given transaction, and answers one value for each."""


@dataclass(frozen=True, slots=True)
class _Job:
    # Any: jobs of all steps wait in one queue; `submit` ties item and answer to the step.
    step: Callable[[Connection, Sequence[Any]], Sequence[Any]]
    item: Any
    done: "Future[Any]"


class Writer:
    """The only thread that writes to a store."""

    def __init__(
        self, place: Place, engine: Engine, *, room: int = 10_000, gather_s: float = 0.0
    ) -> None:
        """Starts the thread; `close` ends it.

        room: jobs that may wait. gather_s: how long what nobody hurries for is gathered for one
        commit; what is hurried, and `close`, end the gathering.
        """
        self._place, self._engine, self._room = place, engine, room
        self._waiting: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._gather_s, self._hurried = gather_s, False
        self._closing = False
        self._connection: Connection | None = None
        self.commits = 0
        self._thread = threading.Thread(target=self._run, name=f"store-{place.store}", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Jobs that wait now."""
        return len(self._waiting)

    async def do(
        self, step: Step[T, R], item: T, deadline_s: float = DEADLINE_S, *, hurried: bool = True
    ) -> R:
        """The step's answer for `item` once it is durable; from any event loop.

        hurried: it is not gathered with what comes after it.

        Raises StoreBusyError after `deadline_s`: an item that was not begun is then never
        written, of one that was the fate is open. Raises what the step or the database raises.
        """
        job = self._submit(step, item, hurried=hurried)
        try:
            async with asyncio.timeout(deadline_s):
                answer: R = await asyncio.wrap_future(job)
        except TimeoutError as exc:
            raise self._not_durable(deadline_s) from exc
        return answer

    def call(self, step: Step[T, R], item: T, deadline_s: float = DEADLINE_S) -> R:
        """The same for a caller without an event loop; blocks."""
        job = self._submit(step, item, hurried=True)
        try:
            answer: R = job.result(deadline_s)
        except TimeoutError as exc:
            job.cancel()
            raise self._not_durable(deadline_s) from exc
        except CancelledError as exc:
            raise self._not_durable(deadline_s) from exc
        return answer

    def offer(self, step: Step[T, R], item: T, *, hurried: bool = False) -> "Future[R] | None":
        """Hand over without waiting; None when there is no room. hurried: as in `do`."""
        with self._wake:
            if self._closing or len(self._waiting) >= self._room:
                return None
            job: Future[R] = Future()
            self._waiting.append(_Job(step, item, job))
            self._hurried = self._hurried or hurried
            # Else the thread is at work or gathers: waking it for every item would cost more
            # than to write it.
            if hurried or len(self._waiting) in {1, _GROUP}:
                self._wake.notify()
        return job

    def close(self) -> None:
        """Write what waits, then end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._engine.dispose()

    def _submit(self, step: Step[T, R], item: T, *, hurried: bool) -> "Future[R]":
        job = self.offer(step, item, hurried=hurried)
        if job is None:
            state = "closed" if self._closing else f"{self._room} writes wait already"
            raise StoreBusyError(f"{self._place}: {state}")
        return job

    def _not_durable(self, deadline_s: float) -> StoreBusyError:
        return StoreBusyError(f"{self._place}: not durable within {deadline_s:g} s")

    def _run(self) -> None:
        while group := self._next_group():
            # From here on a caller that gives up can no longer take its item back.
            claimed = [job for job in group if job.done.set_running_or_notify_cancel()]
            if claimed and not self._written(claimed):
                for job in claimed:
                    self._alone(job)
        self._let_go()

    def _next_group(self) -> list[_Job]:
        with self._wake:
            while not self._waiting and not self._closing:
                self._wake.wait()
            if self._gather_s:
                self._wake.wait_for(self._is_urgent, self._gather_s)
            group = [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]
            self._hurried = self._hurried and bool(self._waiting)
            return group

    def _is_urgent(self) -> bool:
        return self._hurried or self._closing or len(self._waiting) >= _GROUP

    def _written(self, group: list[_Job]) -> bool:
        """Whether the whole group is durable; a group of one gets its error."""
        try:
            with translated(self._place):
                answers = self._commit(group)
        except Exception as exc:  # noqa: BLE001  handed to the caller whose item it is
            self._let_go()
            if len(group) > 1 and not isinstance(exc, StoreLostError | StoreBusyError):
                return False
            for job in group:
                job.done.set_exception(exc)
            return True
        self.commits += 1
        for job, answer in zip(group, answers, strict=True):
            job.done.set_result(answer)
        return True

    def _commit(self, group: list[_Job]) -> list[Any]:
        # Any: answers of all steps. Held open: to take one from the pool costs as much as a row.
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            return [answer for run in _runs(group) for answer in _apply(self._connection, run)]

    def _let_go(self) -> None:
        """Of the connection: after an error nobody knows what state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()

    def _alone(self, job: _Job) -> None:
        self._written([job])


def _runs(group: list[_Job]) -> Iterator[list[_Job]]:
    """Neighbours with the same step: the order of writes is the order of calls."""
    for _, jobs in groupby(group, key=lambda job: job.step):
        yield list(jobs)


def _apply(connection: Connection, run: list[_Job]) -> Sequence[Any]:
    # Any: answers of all steps.
    answers = run[0].step(connection, [job.item for job in run])
    if len(answers) != len(run):
        raise StoreError(f"{run[0].step}: {len(answers)} answers for {len(run)} items")
    return answers
