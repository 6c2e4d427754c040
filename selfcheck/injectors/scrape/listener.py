"""The pages that are scraped: one HTTP server an address, however many routes show samples there.

The only importer of uvicorn beside the API and the built-in store. Samples leave the page with the
last injector of the address that is closed.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from weakref import WeakSet

import uvicorn

from selfcheck.canary.model import Canary
from selfcheck.injectors.exposition import CONTENT_TYPE, labels_of, page

MAX_CONNECTIONS = 64

# ASGI's own types: what is in a scope or a message depends on its `type`.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Fate(StrEnum):
    """What became of a sample first."""

    FETCHED = "somebody fetched the page"
    REPLACED = "the next sample took its place before anybody fetched the page"
    CLOSED = "the page was closed before anybody fetched it"


@dataclass(frozen=True, slots=True)
class Shown:
    """A sample on a page. fate: set once it is known; owner: the injector that put it there."""

    owner: object
    canary: Canary
    fate: asyncio.Future[Fate]
    body_bytes: int


class _Server(uvicorn.Server):
    """Leaves the process's signals to whoever owns the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


@dataclass(slots=True)
class Listener:
    """Serves pages on one address; users: the injectors that were built for it."""

    host: str
    port: int
    users: WeakSet[object] = field(default_factory=WeakSet)
    _pages: dict[str, dict[str, Shown]] = field(default_factory=dict)
    _bound: int | None = None
    _server: _Server | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Base URL; with port 0 valid while it listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port if self._bound is None else self._bound}"

    def show(self, owner: object, path: str, canary: Canary) -> Shown:
        """Put a sample in the place of its route's last one. Raises OSError: cannot listen."""
        if self._server is None:
            self._start()
        samples = self._pages.setdefault(path, {})
        _settle(samples.get(canary.key.route), Fate.REPLACED)
        fate = asyncio.get_running_loop().create_future()
        shown = Shown(owner, canary, fate, len(_page([canary])))
        samples[canary.key.route] = shown
        return shown

    async def leave(self, user: object) -> None:
        """`user` is closed: its samples leave the page, and with the last user the port closes."""
        self.users.discard(user)
        for samples in self._pages.values():
            for route in [name for name, one in samples.items() if one.owner is user]:
                _settle(samples.pop(route), Fate.CLOSED)
        if not self.users:
            _LISTENERS.pop((self.host, self.port), None)
            await self._stop()

    def _start(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # asyncio turns Nagle's algorithm off only where the protocol is named.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen(MAX_CONNECTIONS)
        except OSError:
            listener.close()
            raise
        self._bound = listener.getsockname()[1]
        config = uvicorn.Config(
            self._answer, log_config=None, access_log=False, lifespan="off", ws="none", http="h11",
            timeout_graceful_shutdown=1, server_header=False, limit_concurrency=MAX_CONNECTIONS,
            interface="asgi3", proxy_headers=False,
        )  # fmt: skip
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve([listener]), name="scraped-page")

    async def _stop(self) -> None:
        server, task = self._server, self._task
        self._server = self._task = self._bound = None
        self._pages.clear()
        if server is not None and task is not None:
            server.should_exit = True
            await task

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A page by its path, an empty one where a route has sent nothing since the start."""
        del receive
        if scope["type"] != "http":
            return
        shown = tuple(self._pages.get(scope["path"], {}).values())
        if scope["method"] not in {"GET", "HEAD"}:
            await _respond(send, 405, b"")
        elif not shown:
            await _respond(send, 404, b"no route shows samples here\n")
        else:
            body = _page([one.canary for one in shown])
            await _respond(send, 200, body)
            if scope["method"] == "GET":
                for one in shown:
                    _settle(one, Fate.FETCHED)


def _settle(one: Shown | None, fate: Fate) -> None:
    if one is not None and not one.fate.done():
        one.fate.set_result(fate)


_LISTENERS: dict[tuple[str, int], Listener] = {}
"""By address: a port is the process's, whoever asks for it, so this cannot be handed around."""


def shared(host: str, port: int) -> Listener:
    """The listener of an address: that of the routes which have it already, or a new one."""
    found = _LISTENERS.get((host, port))
    if found is None or not found.users:
        found = _LISTENERS[(host, port)] = Listener(host, port)
    return found


def _page(canaries: list[Canary]) -> bytes:
    return page((labels_of(one), one.value, one.stamp_ns) for one in canaries)


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
