"""Blocking work in a thread that nobody has to wait for, not even the end of the process.

The executors of the standard library join their threads at exit, and a receiver that answers one
byte at a time can hold an exporter for ever.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def aside(work: Callable[[], T], name: str) -> "asyncio.Future[T]":
    """A future of `work`, which runs in a daemon thread; its exception is the future's.

    The future may be abandoned: what comes of it then is dropped.
    """
    inner: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            inner.set_result(work())
        except BaseException as exc:  # noqa: BLE001  handed on to whoever awaits the future
            inner.set_exception(exc)

    outer = asyncio.wrap_future(inner)
    outer.add_done_callback(_retrieved)
    threading.Thread(target=run, name=name, daemon=True).start()
    return outer


def _retrieved(done: "asyncio.Future[T]") -> None:
    if not done.cancelled():
        done.exception()
