"""The ReadModel of a remote or local instance, over its HTTP API."""

from collections.abc import Sequence
from dataclasses import asdict

import httpx
from pydantic import TypeAdapter

from core.errors import StoreError
from core.secrets import Secret
from scheduler.readmodel import ActionRequest, Board, ReadModel

_ADAPTER: TypeAdapter[Board] = TypeAdapter(Board)
_READ_S = 5.0


class ApiReadModel(ReadModel):
    """Asks `url`; every trouble is a StoreError whose text says what to do."""

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

    def close(self) -> None:
        """Give back the connection."""
        self._client.close()

    def _call(
        self, method: str, path: str, *, json: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        try:
            response = self._client.request(method, self._url + path, json=json, headers=headers)
        except httpx.HTTPError as exc:
            raise StoreError(f"{self._url} does not answer: {exc}") from exc
        if response.status_code == 401:
            raise StoreError(
                "writing needs the token: api.token_file in the config, or --token-file"
            )
        if response.is_error:
            raise StoreError(f"{self._url}{path}: {response.status_code} {response.text[:200]}")
        return response
