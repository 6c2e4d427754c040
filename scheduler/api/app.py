"""Routes of the HTTP API: problem+json for every refusal, a token for every write."""

import hmac
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from core.errors import StoreError
from core.secrets import Secret
from core.text import safe_text
from scheduler.readmodel import ActionRequest, Board, ReadModel

BODY_CAP = 64 * 1024
_NAME_LIMIT = 255
_ADAPTER: TypeAdapter[Board] = TypeAdapter(Board)
_KINDS = frozenset({"ack", "unack", "mute", "unmute"})


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API serves. canary: the life of one canary as plain data, None when unknown.

    metrics: text of one scrape; None = `/metrics` is not served.
    """

    model: ReadModel
    metrics: Callable[[], bytes] | None
    ready: Callable[[], bool]
    canary: Callable[[str], Awaitable[dict[str, object] | None]]
    token: Secret | None


def board_json(board: Board) -> bytes:
    """A board as JSON: the form in which the terminal reads it remotely."""
    return _ADAPTER.dump_json(board)


def board_from_json(text: bytes) -> Board:
    """The inverse of `board_json`. Raises pydantic's ValidationError (a ValueError)."""
    return _ADAPTER.validate_json(text)


def problem(status: int, detail: str) -> JSONResponse:
    """RFC 9457 problem details."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status,
            "detail": safe_text(detail, 300)}  # fmt: skip
    return JSONResponse(body, status, media_type="application/problem+json")


def make_app(parts: ApiParts) -> Starlette:
    """The application; every handler asks the ReadModel anew."""
    handlers = _Handlers(parts)
    part_names = ("checks", "routes", "incidents")
    routes = [
        Route("/healthz", handlers.healthz),
        Route("/readyz", handlers.readyz),
        *([Route("/metrics", handlers.metrics)] if parts.metrics is not None else []),
        Route("/api/v1/status", handlers.status),
        Route("/api/v1/cost", handlers.slice("costs")),
        Route("/api/v1/canaries/{canary_id}", handlers.canary),
        Route("/api/v1/actions", handlers.act, methods=["POST"]),
        *(Route(f"/api/v1/{name}", handlers.slice(name)) for name in part_names),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: _http_problem,
            StoreError: _store_problem,
            Exception: _internal_problem,
        },
    )


async def _http_problem(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    refusal = problem(exc.status_code, str(exc.detail))
    # Says which methods are allowed, where the method was not.
    refusal.headers.update(exc.headers or {})
    return refusal


async def _store_problem(_: Request, exc: Exception) -> Response:
    return problem(503, str(exc))


async def _internal_problem(_: Request, exc: Exception) -> Response:
    return problem(500, type(exc).__name__)


class _Handlers:
    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    async def healthz(self, _: Request) -> Response:
        """Alive: the serving loop answers."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _: Request) -> Response:
        """Ready: both other loops tick and the stores are open."""
        if self._parts.ready():
            return PlainTextResponse("ready\n")
        return problem(503, "a loop does not tick or a store is not open")

    async def metrics(self, _: Request) -> Response:
        """Prometheus text."""
        assert self._parts.metrics is not None
        text = await run_in_threadpool(self._parts.metrics)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def status(self, _: Request) -> Response:
        """The whole board."""
        board = await run_in_threadpool(self._parts.model.board)
        return Response(board_json(board), media_type="application/json")

    def slice(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """A handler that serves one part of the board under its own key."""

        async def handler(_: Request) -> Response:
            board = await run_in_threadpool(self._parts.model.board)
            whole = _ADAPTER.dump_python(board, mode="json")
            return JSONResponse({"at": whole["at"], name: whole[name]})

        return handler

    async def canary(self, request: Request) -> Response:
        """The life of one canary."""
        found = await self._parts.canary(request.path_params["canary_id"])
        return problem(404, "no such canary") if found is None else JSONResponse(found)

    async def act(self, request: Request) -> Response:
        """Append an ack or mute; needs the token even on loopback."""
        if not self._allowed(request):
            return problem(401, "a bearer token is needed: api.token_file")
        body = await _body(request)
        if body is None:
            return problem(413, f"a body has at most {BODY_CAP} bytes")
        try:
            wanted = _action(json.loads(body))
        except (ValueError, OverflowError, RecursionError) as exc:
            return problem(400, f"not an action: {exc}")
        await run_in_threadpool(self._parts.model.act, wanted)
        return JSONResponse({"action_id": wanted.action_id}, 202)

    def _allowed(self, request: Request) -> bool:
        if self._parts.token is None:
            return False
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.encode(), self._parts.token.reveal().encode())
        return right and scheme.lower() == "bearer"


async def _body(request: Request) -> bytes | None:
    """The body, or None when it is larger than the cap; never more than the cap in memory."""
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > BODY_CAP:
            return None
    return bytes(chunks)


def _action(data: object) -> ActionRequest:
    """Raises ValueError or OverflowError for what is no action."""
    if not isinstance(data, dict) or not all(
        value is None or isinstance(value, str) for value in data.values()
    ):
        raise ValueError("expected an object whose values are text")
    given: dict[str, str] = {key: value for key, value in data.items() if value is not None}
    if (kind := given.get("kind")) not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(sorted(_KINDS))}")
    reason, until = given.get("reason", ""), _until(given.get("until"))
    if kind == "mute" and (until is None or not reason.strip()):
        raise ValueError("a mute needs a reason and an end")
    return ActionRequest(
        action_id=_name(given, "action_id") if given.get("action_id") else str(uuid.uuid4()),
        kind=kind,
        subject=_name(given, "subject"),
        author=safe_text(given.get("author", "api"), 80),
        reason=safe_text(reason, 300),
        until=until,
    )


def _name(given: Mapping[str, str], key: str) -> str:
    name = given.get(key, "")
    if not name or safe_text(name, _NAME_LIMIT) != name:
        raise ValueError(f"{key} must be 1 to {_NAME_LIMIT} printable characters")
    return name


def _until(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("until needs a time zone")
    return moment.astimezone(UTC)
