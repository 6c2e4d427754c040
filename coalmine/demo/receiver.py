"""The demo's pager: a local webhook that keeps what it was told, or refuses everything."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class PageReceiver:
    """Listens on a free loopback port; `pages` yields each accepted body as parsed JSON."""

    def __init__(self, *, refuses: bool) -> None:
        """`refuses`: answer 400 to everything, as a pager with a revoked key would."""
        self.pages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()  # parsed JSON bodies
        self.refused = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if refuses:
                    receiver.refused += 1
                    self.send_error(400, "refused on purpose")
                    return
                receiver.pages.put(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: stdout belongs to the story."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/page"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2)
