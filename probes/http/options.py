"""What may be written under `probe: http`."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from core.options import Duration, Options, SecretField, Size

MAX_REQUEST_BODY = 1 << 20
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_BLOCKED_PORTS = frozenset({22, 23, 25, 465, 587, 6000, 6667})
_MAX_HOST = 253
_STATUS_CLASS = re.compile(r"[1-5]xx")

StatusRule = int | str


def checked_url(url: str) -> str:
    """`url` with its host as it goes on the wire (IDNA). Raises ValueError, saying why."""
    if any(ord(char) < 0x21 or ord(char) == 0x7F for char in url):
        raise ValueError("a URL holds no space, line break or control character")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("expected a URL that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong in a URL: use bearer_file or headers")
    if not parts.hostname:
        raise ValueError("the URL has no host")
    port = parts.port  # raises ValueError out of range
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    if port in _BLOCKED_PORTS:
        raise ValueError(f"port {port} does not speak HTTP")
    host = parts.hostname
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError as exc:
            raise ValueError(f"host is no valid international name: {exc}") from exc
        netloc = host if port is None else f"{host}:{port}"
        url = parts._replace(netloc=netloc).geturl()
    if len(host.rstrip(".")) > _MAX_HOST:
        raise ValueError(f"host is longer than {_MAX_HOST} characters")
    return url


class TlsOptions(Options):
    """How the server is verified. Paths are relative to the config file."""

    ca_file: Annotated[Path | None, Field(description="Trust only these authorities.")] = None
    cert_file: Annotated[Path | None, Field(description="Our certificate, for mTLS.")] = None
    key_file: Annotated[Path | None, Field(description="Its key.")] = None
    insecure: Annotated[
        str, Field(description="Why this server is not verified; shown with the check.")
    ] = ""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self


class JsonExpect(Options):
    """One value in a JSON body; without an operator it only has to exist."""

    path: Annotated[str, Field(min_length=1, description="JSONPath, such as $.status.")]
    equals: Annotated[str | int | float | bool | None, Field(description="Exact value.")] = None
    contains: Annotated[str, Field(description="Text within a string value.")] = ""
    above: Annotated[float | None, Field(description="The number is greater.")] = None
    below: Annotated[float | None, Field(description="The number is less.")] = None
    count: Annotated[int | None, Field(ge=0, description="Number of matches.")] = None

    @field_validator("path")
    @classmethod
    def _parses(cls, value: str) -> str:
        from jsonpath_ng.exceptions import JSONPathError
        from jsonpath_ng.parser import parse

        try:
            parse(value)
        except (JSONPathError, AttributeError) as exc:
            raise ValueError(f"JSONPath cannot be read: {exc}") from exc
        return value


class Expect(Options):
    """What an answer must be. Several conditions in one entry must all hold."""

    status: Annotated[
        StatusRule | tuple[StatusRule, ...] | None, Field(description="200, 2xx or a list.")
    ] = None
    header: Annotated[
        dict[str, str], Field(default_factory=dict, description="Text within the named header.")
    ]
    body_contains: Annotated[str | None, Field(min_length=1, description="Text in the body.")] = (
        None
    )
    body_matches: Annotated[
        str | None, Field(min_length=1, description="Regular expression (RE2, linear time).")
    ] = None
    json_values: Annotated[
        tuple[JsonExpect, ...], Field(alias="json", description="Values in a JSON body.")
    ] = ()
    severity: Annotated[
        Literal["fail", "degraded"], Field(description="Verdict when it does not hold.")
    ] = "fail"

    @field_validator("status")
    @classmethod
    def _status_rule(
        cls, value: StatusRule | tuple[StatusRule, ...] | None
    ) -> StatusRule | tuple[StatusRule, ...] | None:
        for rule in value if isinstance(value, tuple) else (value,):
            known = (
                100 <= rule <= 599
                if isinstance(rule, int)
                else rule is None or _STATUS_CLASS.fullmatch(rule)
            )
            if not known:
                raise ValueError(f"{rule!r} is no HTTP status: expected 200 or 2xx")
        return value

    @field_validator("body_matches")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        import re2

        if value is not None:
            try:
                re2.compile(value)
            except re2.error as exc:
                raise ValueError(f"regular expression (RE2 syntax): {exc}") from exc
        return value


class HttpOptions(Options):
    """A request and what its answer must be."""

    url: Annotated[str, Field(description="http:// or https://, without credentials.")]
    method: Annotated[str, Field(description="HTTP method.")] = "GET"
    headers: Annotated[dict[str, str], Field(default_factory=dict, description="Request headers.")]
    bearer: Annotated[SecretField | None, Field(description="Token for Authorization.")] = None
    body: Annotated[str, Field(description="Request body, at most 1 MiB.")] = ""
    expect: Annotated[
        Expect | tuple[Expect, ...],
        Field(description="Conditions; a map is short for a list of one. Default: status 2xx."),
    ] = ()
    degraded_after: Annotated[
        Duration | None, Field(description="A complete answer later than this is degraded.")
    ] = None
    max_redirects: Annotated[int, Field(ge=0, le=5, description="Redirects followed.")] = 5
    max_body: Annotated[Size, Field(le=16 << 20, description="Cap on the decoded body.")] = 1 << 20
    tls: Annotated[TlsOptions, Field(description="Certificates.")] = TlsOptions()

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value)

    @field_validator("method")
    @classmethod
    def _method(cls, value: str) -> str:
        if not _TOKEN.fullmatch(value):
            raise ValueError("a method is one word, such as GET")
        return value.upper()

    @field_validator("body")
    @classmethod
    def _body(cls, value: str) -> str:
        if len(value.encode()) > MAX_REQUEST_BODY:
            raise ValueError("a request body holds at most 1 MiB")
        return value

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        seen: set[str] = set()
        for name, text in value.items():
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"header name {name!r} holds a character that HTTP forbids")
            if name.lower() in seen:
                raise ValueError(f"header {name} is given twice")
            seen.add(name.lower())
            if any(char in text for char in "\r\n\0"):
                raise ValueError(f"header {name}: its value holds a line break")
            try:
                text.encode("latin-1")
            except UnicodeEncodeError as exc:
                raise ValueError(f"header {name}: its value is not Latin-1 text") from exc
        return value

    @property
    def expected(self) -> tuple[Expect, ...]:
        """The conditions, with 2xx where none speaks of the status."""
        given = self.expect if isinstance(self.expect, tuple) else (self.expect,)
        if any(item.status is not None for item in given):
            return given
        return (Expect.model_validate({"status": "2xx"}), *given)
