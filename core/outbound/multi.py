"""One CurlMulti in the asyncio loop, touched only there."""

import asyncio
from typing import Any

import pycurl

from core.outbound.classify import CLOSED

_IN, _OUT = pycurl.POLL_IN, pycurl.POLL_OUT


class Multi:
    """Drives curl handles by the loop's readers, writers and timers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belongs to `loop` from now on."""
        self._loop = loop
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        # Several checks over one connection would make one's trouble the other's.
        self._multi.setopt(pycurl.M_PIPELINING, 0)
        self._timer: asyncio.Handle | None = None
        self._watched: dict[int, int] = {}
        self._waiting: dict[Any, asyncio.Future[tuple[int, str]]] = {}  # pycurl has no types

    @property
    def in_flight(self) -> int:
        """Number of transfers that have not ended."""
        return len(self._waiting)

    async def perform(self, handle: Any) -> tuple[int, str]:  # pycurl has no types
        """Run `handle` to its end: curl's code (0 = complete) and its own words."""
        future: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._waiting[handle] = future
        try:
            self._multi.add_handle(handle)
            return await future
        finally:
            if self._waiting.pop(handle, None) is not None:
                self._multi.remove_handle(handle)

    def close(self) -> None:
        """Abort what is in flight: it ends with the code `CLOSED`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for handle, future in list(self._waiting.items()):
            del self._waiting[handle]
            self._multi.remove_handle(handle)
            if not future.done():
                future.set_result((CLOSED, "the client was closed"))
        self._multi.close()
        for fd in list(self._watched):
            self._on_socket(pycurl.POLL_REMOVE, fd, None, None)

    def _on_socket(self, what: int, fd: int, _multi: object, _data: object) -> None:
        before = self._watched.get(fd, 0)
        after = 0 if what == pycurl.POLL_REMOVE else what
        if after & _IN and not before & _IN:
            self._loop.add_reader(fd, self._act, fd, pycurl.CSELECT_IN)
        elif before & _IN and not after & _IN:
            self._loop.remove_reader(fd)
        if after & _OUT and not before & _OUT:
            self._loop.add_writer(fd, self._act, fd, pycurl.CSELECT_OUT)
        elif before & _OUT and not after & _OUT:
            self._loop.remove_writer(fd)
        if after:
            self._watched[fd] = after
        else:
            self._watched.pop(fd, None)

    def _on_timer(self, timeout_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if timeout_ms == 0:
            # What curl wants at once, it wants for each new transfer: no timer is needed for it.
            self._timer = self._loop.call_soon(self._on_timeout)
        elif timeout_ms > 0:
            self._timer = self._loop.call_later(timeout_ms / 1000, self._on_timeout)

    def _on_timeout(self) -> None:
        self._timer = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _act(self, fd: int, events: int) -> None:
        self._multi.socket_action(fd, events)
        queued = 1
        while queued:
            queued, complete, broken = self._multi.info_read()
            for handle in complete:
                self._end(handle, 0, "")
            for handle, code, words in broken:
                self._end(handle, code, words)

    def _end(self, handle: Any, code: int, words: str) -> None:  # pycurl has no types
        future = self._waiting.pop(handle, None)
        if future is None:
            return
        self._multi.remove_handle(handle)
        if not future.done():
            future.set_result((code, words))
