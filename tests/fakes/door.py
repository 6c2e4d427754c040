"""A door in front of a store: an HTTP proxy on loopback that refuses by side, or altogether.

Writes are what goes to OTLP paths, reads are all else. Each request has a connection of its own,
so a switched fault holds from the next request on.
"""

import threading
from collections.abc import Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_WRITES = ("/v1/logs", "/v1/metrics", "/v1/traces")
_UPSTREAM_S = 10.0
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "host"})


class Door:
    """Listens from its making on; `read_from` and `write_to` must be set before it is used.

    refuse_reads, refuse_writes: the status to answer instead of asking the store; 0 = ask it.
    swallow: answer writes with success and drop them. token: what a read must bear; "" = nothing.
    """

    def __init__(self) -> None:
        self.read_from = self.write_to = ""
        self.refuse_reads = self.refuse_writes = 0
        self.swallow = False
        self.token = ""
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        """Accept connections, always on the same port."""
        if self._server is not None:
            return
        self._server = _Server(("127.0.0.1", self._port), _handler(self))
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Refuse connections."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def mend(self) -> None:
        """As it was at first."""
        self.refuse_reads = self.refuse_writes = 0
        self.swallow, self.token = False, ""
        self.open()

    def answer(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes, str]:
        """Status, body and content type. Raises OSError when the store does not answer."""
        write = urlsplit(path).path.endswith(_WRITES)
        refused = self.refuse_writes if write else self.refuse_reads
        if refused:
            return refused, b"refused at the door", "text/plain"
        if write and self.swallow:
            return 200, b"", "application/x-protobuf"
        bearer = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
        if not write and self.token and bearer != f"Bearer {self.token}":
            return 401, b"who are you?", "text/plain"
        return self._ask(self.write_to if write else self.read_from, method, path, body, headers)

    def _ask(
        self, store: str, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes, str]:
        connection = HTTPConnection(urlsplit(store).netloc, timeout=_UPSTREAM_S)
        passed = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
        try:
            connection.request(method, path, body or None, passed)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("content-type", "")
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients that leave are part of these tests."""


def _handler(door: Door) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                status, text, kind = door.answer(
                    self.command, self.path, body, dict(self.headers.items())
                )
            except OSError:
                return  # closed without an answer, as a dying server does
            self.send_response(status)
            if kind:
                self.send_header("content-type", kind)
            if status != 204:
                self.send_header("content-length", str(len(text)))
            self.end_headers()
            if status != 204:
                self.wfile.write(text)

        do_GET = do_POST = _pass

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler
