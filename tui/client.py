"""The ReadModel of a remote or local instance, over its HTTP API."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

from core.errors import StoreError
from core.secrets import Secret
from scheduler.readmodel import ActionRequest, Board, ReadModel

_ADAPTER: TypeAdapter[Board] = TypeAdapter(Board)
_READ_S = 5.0
_UNKNOWN_CANARY = "no such canary"


class ApiReadModel(ReadModel):
    """Asks `url`; every trouble is a StoreError whose text says what to do."""

    source = "live"

    def __init__(self, url: str, token: Secret | None) -> None:
        """`token` is needed for writing only. Environment proxies are not used."""
        self._url, self._token = url.rstrip("/"), token
        self._client = httpx.Client(timeout=_READ_S, trust_env=False)

    def board(self) -> Board:
        """The present board. Raises StoreError when the instance does not answer."""
        response = self._call("GET", "/api/v1/status")
        try:
            return _ADAPTER.validate_json(response.content)
        except ValueError as exc:
            raise StoreError(f"{self._url} is no Coalmine of this version") from exc

    def act(self, request: ActionRequest) -> None:
        """Append an action. Raises StoreError when it is refused."""
        body = asdict(request)
        body["until"] = request.until.isoformat() if request.until else None
        headers = {}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token.reveal()}"
        self._call("POST", "/api/v1/actions", json=body, headers=headers)

    def done(self, action_ids: Sequence[str]) -> frozenset[str]:
        """Which actions have been folded in: those that the board's log tells of."""
        told = {row.who_action for row in self.board().log if row.who_action}
        return frozenset(told.intersection(action_ids))

    def canary(self, canary_id: str) -> dict[str, Any] | None:
        """The life of one canary, None when the instance knows of none. Raises StoreError."""
        # Any: JSON.
        path = f"/api/v1/canaries/{quote(canary_id, safe='')}"
        response = self._ask("GET", path)
        # Any server has a 404; only ours says of what.
        if response.status_code == 404 and _UNKNOWN_CANARY in response.text:
            return None
        try:
            life = self._checked(response, path).json()
        except ValueError as exc:
            raise StoreError(f"{self._url} is no Coalmine of this version") from exc
        if not isinstance(life, dict) or "rechecks" not in life:
            raise StoreError(f"{self._url} is no Coalmine of this version")
        return life

    def close(self) -> None:
        """Give back the connection."""
        self._client.close()

    def _call(
        self, method: str, path: str, *, json: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return self._checked(self._ask(method, path, json=json, headers=headers), path)

    def _ask(
        self, method: str, path: str, *, json: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        try:
            return self._client.request(method, self._url + path, json=json, headers=headers)
        except httpx.HTTPError as exc:
            raise StoreError(f"{self._url} does not answer: {exc}") from exc

    def _checked(self, response: httpx.Response, path: str) -> httpx.Response:
        if response.status_code == 401:
            raise StoreError(
                "writing needs the token: api.token_file in the config, or --token-file"
            )
        if response.is_error:
            raise StoreError(f"{self._url}{path}: {response.status_code} {response.text[:200]}")
        return response
