"""The HTTP API over a real socket: what is refused, how, and what an action must be."""

import http.client
import json
import socket
from contextlib import closing

import pytest
from starlette.applications import Starlette

from core.clock import SystemClock
from core.errors import CoalmineError, StoreError
from core.secrets import Secret
from scheduler.api.app import BODY_CAP, ApiParts, board_from_json, board_json, make_app
from scheduler.api.server import ApiServer
from tests.support.envelopes import FixedModel, board, check, route

TOKEN = "a-token-for-tests"
ACK = {"kind": "ack", "subject": "prod:abc:1", "author": "ada"}
MUTE = {"kind": "mute", "subject": "prod:abc:1", "reason": "works", "until": "2026-11-22T00:00:00Z"}


class Api:
    """A running API and its model."""

    def __init__(self, *, token=TOKEN, ready=True):
        self.model = FixedModel(board(SystemClock(), checks=(check(),), routes=(route(),)))
        self.ready = ready

        async def canary(canary_id):
            return {"canary_id": canary_id} if canary_id == "cm-1" else None

        secret = Secret.inline(token) if token else None
        parts = ApiParts(self.model, lambda: b"coalmine_up 1\n", lambda: self.ready, canary, secret)
        self.server = ApiServer(make_app(parts), "127.0.0.1", 0)
        self.server.start()

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body of an answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, 5)) as link:
            link.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = link.getresponse()
            return answer.status, answer.headers, answer.read()

    def act(self, body, token=TOKEN):
        """The answer to an action; `body` is text or becomes JSON."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.ask("POST", "/api/v1/actions", text, Authorization=f"Bearer {token}")


@pytest.fixture
def api():
    running = Api()
    yield running
    running.server.stop(5)


def refused(answer, status):
    """Whether an answer is this refusal, as problem details."""
    code, headers, body = answer
    assert code == status, body
    assert headers["content-type"] == "application/problem+json"
    told = json.loads(body)
    assert told["status"] == status
    assert told["title"]
    return told["detail"]


def test_the_board_travels_as_json_and_back(api):
    code, headers, body = api.ask("GET", "/api/v1/status")
    assert (code, headers["content-type"]) == (200, "application/json")
    assert board_from_json(body) == api.model.shown
    assert board_json(board_from_json(body)) == body


@pytest.mark.parametrize("part", ["checks", "routes", "incidents"])
def test_a_part_of_the_board_stands_under_its_own_name(api, part):
    code, _, body = api.ask("GET", f"/api/v1/{part}")
    assert code == 200
    assert json.loads(body)[part] == json.loads(board_json(api.model.shown))[part]


def test_health_is_not_readiness(api):
    api.ready = False
    assert api.ask("GET", "/healthz")[0] == 200
    refused(api.ask("GET", "/readyz"), 503)
    api.ready = True
    assert api.ask("GET", "/readyz")[0] == 200


def test_metrics_name_their_text_format(api):
    code, headers, body = api.ask("GET", "/metrics")
    assert (code, body) == (200, b"coalmine_up 1\n")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_a_canary_is_found_by_its_id_and_an_unknown_one_is_404(api):
    assert json.loads(api.ask("GET", "/api/v1/canaries/cm-1")[2]) == {"canary_id": "cm-1"}
    refused(api.ask("GET", "/api/v1/canaries/cm-2"), 404)


def test_a_store_that_cannot_be_read_is_503_with_its_word(api):
    api.model.shown = StoreError("state.db: disk I/O error")
    assert refused(api.ask("GET", "/api/v1/status"), 503) == "state.db: disk I/O error"


def test_an_action_is_taken_once_under_the_id_it_was_given(api):
    code, _, body = api.act({**MUTE, "action_id": "one"})
    assert (code, json.loads(body)) == (202, {"action_id": "one"})
    (taken,) = api.model.acts
    assert (taken.kind, taken.subject, taken.reason) == ("mute", "prod:abc:1", "works")
    assert taken.until.isoformat() == "2026-11-22T00:00:00+00:00"
    assert json.loads(api.act(ACK)[2])["action_id"]


def test_input_44_an_unknown_path_is_404_and_a_wrong_method_405_that_says_what_is_right(api):
    refused(api.ask("GET", "/api/v1/nothing"), 404)
    answer = api.ask("POST", "/api/v1/status")
    refused(answer, 405)
    assert "GET" in answer[1]["allow"]
    refused(api.ask("GET", "/api/v1/actions"), 405)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x"]
)
def test_input_44_a_write_without_the_right_token_is_401(api, header):
    refused(api.ask("POST", "/api/v1/actions", json.dumps(ACK), Authorization=header), 401)
    assert api.model.acts == []


def test_input_44_without_a_configured_token_nothing_can_be_written():
    api = Api(token="")
    try:
        for token in ("", "None", TOKEN):
            refused(api.act(ACK, token), 401)
        assert api.model.acts == []
    finally:
        api.server.stop(5)


def test_input_44_a_body_beyond_the_cap_is_413_whether_it_says_its_length_or_not(api):
    refused(api.act(b"x" * (BODY_CAP + 1)), 413)
    head = f"Bearer {TOKEN}"
    with closing(http.client.HTTPConnection("127.0.0.1", api.server.port, 5)) as link:
        chunks = (b"x" * 8192 for _ in range(9))
        link.request("POST", "/api/v1/actions", chunks, {"Authorization": head},
                     encode_chunked=True)  # fmt: skip
        assert link.getresponse().status == 413
    assert api.model.acts == []


HOSTILE = (
    "",
    "{",
    "[]",
    "7",
    "null",
    '"ack"',
    "[" * 60_000,
    b"\xff\xfe{}",
    {},
    {"kind": "ack"},
    {"kind": "page", "subject": "a"},
    {"kind": ["ack"], "subject": "a"},
    {"kind": "ack", "subject": 7},
    {"kind": "ack", "subject": ""},
    {"kind": "ack", "subject": "a\x1b[2J"},
    {"kind": "ack", "subject": "a" * 256},
    {**ACK, "action_id": "b" * 256},
    {**ACK, "author": {"name": "ada"}},
    {**ACK, "until": "tomorrow"},
    {**ACK, "until": "2026-11-22T00:00:00"},
    {**ACK, "until": "0001-01-01T00:00:00+23:00"},
    {**MUTE, "until": None},
    {**MUTE, "reason": "  "},
)


@pytest.mark.parametrize("body", HOSTILE, ids=[f"body-{n}" for n, _ in enumerate(HOSTILE)])
def test_input_44_what_is_no_action_is_400_and_is_not_kept(api, body):
    assert refused(api.act(body), 400).startswith("not an action")
    assert api.model.acts == []


def test_control_characters_of_a_writer_are_made_visible(api):
    assert api.act({**ACK, "author": "a\x1b[2J", "reason": "r\x00"})[0] == 202
    (taken,) = api.model.acts
    assert (taken.author, taken.reason) == ("a␛[2J", "r␀")


def test_garbage_instead_of_http_hurts_nobody_else(api):
    with socket.create_connection(("127.0.0.1", api.server.port), 5) as link:
        link.sendall(b"\x16\x03\x01\x02\x00 not http\r\n\r\n")
        assert link.recv(100).startswith(b"HTTP/1.1 400")
    assert api.ask("GET", "/healthz")[0] == 200


def test_a_taken_port_is_said_before_anything_runs(api):
    with pytest.raises(CoalmineError, match=r"cannot listen on 127\.0\.0\.1"):
        ApiServer(Starlette(), "127.0.0.1", api.server.port)


def test_a_server_that_never_started_can_be_stopped():
    server = ApiServer(Starlette(), "127.0.0.1", 0)
    server.stop(1)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), 1)


def test_without_prometheus_export_there_is_no_metrics_page():
    """`export: {prometheus: false}` is honoured: the path does not exist."""

    async def nothing(_):
        return None

    parts = ApiParts(FixedModel(board(SystemClock())), None, lambda: True, nothing, None)
    assert "/metrics" not in {route.path for route in make_app(parts).routes}
