"""The API client against a real server on loopback: a board or a StoreError, nothing else."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from core.errors import StoreError
from core.secrets import Secret
from scheduler.api.app import board_json
from scheduler.readmodel import ActionRequest
from tests.support.boards import AT, burning
from tui.client import ApiReadModel

ACTION = ActionRequest("id-1", "ack", "prod-eu:logs-gw:1", "ana", "", AT)


class Instance(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(*self.server.answer)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.posted.append((self.headers["authorization"], json.loads(body)))
        self._answer(202 if self.headers["authorization"] else 401, b"{}")

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


@pytest.fixture
def server():
    server = HTTPServer(("127.0.0.1", 0), Instance)
    server.answer, server.posted = (200, board_json(burning())), []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def client(server, token=None):
    return ApiReadModel(f"http://127.0.0.1:{server.server_port}/", token)


def test_a_board_crosses_the_wire_unchanged(server):
    """Every field, every verdict."""
    model = client(server)
    assert model.board() == burning()
    assert model.done(["id-1", "id-2"]) == frozenset({"id-1"})
    model.close()


@pytest.mark.parametrize("answer", [(200, b"{}"), (200, b"no json"), (503, b"closed"), (302, b"")])
def test_any_other_answer_is_a_store_error(server, answer):
    """Neither half a board nor an empty one."""
    server.answer = answer
    model = client(server)
    with pytest.raises(StoreError):
        model.board()
    model.close()


def test_an_action_carries_the_token_and_its_end(server):
    """As the API wants it."""
    model = client(server, Secret.inline("s3cret"))
    model.act(ACTION)
    authorization, body = server.posted[0]
    assert authorization == "Bearer s3cret"
    assert (body["subject"], body["until"]) == (ACTION.subject, AT.isoformat())
    model.close()


def test_writing_without_the_token_says_what_to_do(server):
    """The refusal names the setting."""
    model = client(server)
    with pytest.raises(StoreError, match="token_file"):
        model.act(ACTION)
    model.close()


def test_nobody_there_is_a_store_error(server):
    """Connection refused."""
    model = ApiReadModel("http://127.0.0.1:1", None)
    with pytest.raises(StoreError, match="does not answer"):
        model.board()
    model.close()
