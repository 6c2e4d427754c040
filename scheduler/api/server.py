"""Runs the API in a thread and loop of its own, so that a scrape delays no probe and no page."""

import asyncio
import socket
import threading

import uvicorn
from starlette.applications import Starlette

from core.errors import CoalmineError


class ApiServer:
    """Listens at construction, so that a taken port is known before anything else starts."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        """Bind host:port (0 = any free one). Raises CoalmineError when it is taken."""
        self._socket = _bind(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coalmine-api", daemon=True)

    def start(self) -> None:
        """Serve until `stop`."""
        self._thread.start()
        self._started.wait(5)

    def stop(self, limit_s: float) -> None:
        """End within `limit_s`."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(limit_s)
        self._socket.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._started.set()
        # Signals belong to the main thread; uvicorn would try to take them in serve().
        await self._server._serve(sockets=[self._socket])  # noqa: SLF001  the only signal-free way


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise CoalmineError(f"api.listen: cannot listen on {host}:{port}: {exc.strerror}") from exc
    listener.listen(128)
    return listener
