"""The seam of the HTTP client: requests, responses and troubles as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from core.reason import Reason
from core.result import Fact

DEFAULT_BODY_CAP = 1 << 20


class Phase(StrEnum):
    """Phases of one hop, in order; `auth`, `queue` and `assert` belong to the run."""

    AUTH = "auth"
    QUEUE = "queue"
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    REQUEST_WRITE = "request_write"
    FIRST_BYTE = "first_byte"
    TRANSFER = "transfer"
    ASSERT = "assert"


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server is verified. `verify=False` is only for `insecure` with a stated reason."""

    verify: bool = True
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One exchange. `literal` says that the URL's origin is written in the config as it stands."""

    method: str
    url: str
    deadline_s: float
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    literal: bool = True
    reuse: bool = False
    max_redirects: int = 0
    max_body_bytes: int = DEFAULT_BODY_CAP
    tls: Tls = Tls()


@dataclass(frozen=True, slots=True)
class Hop:
    """One request on the wire. Only phases that finished are in `phases` (seconds)."""

    url: str
    status: int | None
    address: str | None
    http_version: str | None
    phases: Mapping[Phase, float]
    certificate: Mapping[str, Fact] | None


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer: the body was read to its end within the cap."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    hops: tuple[Hop, ...]
    elapsed_s: float

    def header(self, name: str) -> str | None:
        """First value of `name`, case-insensitive; None when it is absent."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class Trouble:
    """No complete answer. `ours` = not proven to be the target's doing (then it is `blind`).

    `connected` = a connection stood, so that the request may have been taken.
    """

    reason: Reason
    detail: str
    ours: bool
    connected: bool
    phase: Phase | None
    hops: tuple[Hop, ...]
    elapsed_s: float


class Outbound(Protocol):
    """The client of one event loop."""

    async def fetch(self, request: Request) -> Response | Trouble:
        """Answer or trouble, never an exception for what the network does."""
        ...

    async def close(self) -> None:
        """Abort what is in flight."""
        ...
