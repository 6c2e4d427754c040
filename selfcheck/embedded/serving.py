"""One HTTP server on loopback inside the running event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette

_HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """Leaves the process's signals to whoever owns the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


@dataclass(slots=True)
class LoopbackServer:
    """Serves `app` on 127.0.0.1; port 0 takes a free one."""

    app: Starlette
    port: int = 0
    _server: _Server | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Base URL; valid after `start`."""
        return f"http://{_HOST}:{self.port}"

    async def start(self) -> None:
        """Listen; returns when requests are answered. Raises OSError when the port is taken."""
        # asyncio turns Nagle's algorithm off only where the protocol is named; with it on, an
        # answer in two writes waits 40 ms for the other side's acknowledgement.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, self.port))
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self.app, log_config=None, access_log=False, lifespan="off", ws="none", http="h11",
            timeout_graceful_shutdown=1, server_header=False,
        )  # fmt: skip
        self._server = _Server(config)
        # The socket listens already: whoever connects waits until the loop accepts.
        self._task = asyncio.create_task(self._server.serve([listener]), name="embedded-server")

    async def stop(self) -> None:
        """Close the port; requests still held are cut after a second."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await self._task
        self._server = self._task = None
