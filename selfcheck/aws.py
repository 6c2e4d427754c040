"""What AWS-style stores have in common: their options, Signature Version 4, and their error words.

The signature is made here and not by botocore: that one asks the system for the time by itself,
where only `core.clock` may, and loading it costs 20 MiB. The tests hold every signature against
botocore's. A wrong one is a refusal (403), never a wrong answer.

Source: docs.aws.amazon.com, "Create a signed AWS API request" and "Common errors", 2026-11.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import Field, model_validator

from core.errors import CoalmineError
from core.options import Options, SecretField
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.access import AccessOptions

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,100})</Code>")
_THROTTLED = (
    "throttl", "slowdown", "toomanyrequests", "requestlimitexceeded", "bandwidthlimitexceeded",
    "provisionedthroughputexceeded", "limitexceeded",
)  # fmt: skip
_AUTH = (
    "accessdenied", "expiredtoken", "invalidtoken", "unrecognizedclient", "invalidsignature",
    "signaturedoesnotmatch", "missingauthenticationtoken", "incompletesignature", "optinrequired",
    "invalidaccesskeyid", "invalidclienttokenid", "requesttimetooskewed", "requestexpired",
    "notauthorized", "authorizationheadermalformed",
)  # fmt: skip


class AwsKeys(Options):
    """`keys:`: an access key and what belongs to it; each is read again at every request."""

    access_key_id: Annotated[SecretField, Field(description="Access key id.")]
    secret_access_key: Annotated[SecretField, Field(description="Its secret.")]
    session_token: Annotated[
        SecretField | None, Field(description="Token of temporary credentials.")
    ] = None

    def reveal(self) -> "Credentials":
        """The credentials as they are now. Raises CoalmineError for one that cannot be read."""
        token = "" if self.session_token is None else self.session_token.reveal()
        return Credentials(self.access_key_id.reveal(), self.secret_access_key.reveal(), token)


class AwsAccess(AccessOptions):
    """Keys of everything that speaks to an AWS-style API, for reading and for writing."""

    region: Annotated[str, Field(min_length=1, description="Region that is signed for.")] = (
        "us-east-1"
    )
    keys: Annotated[
        AwsKeys | None,
        Field(description="What requests are signed with; without them they are not signed."),
    ] = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.keys is not None and self.auth is not None:
            raise ValueError("give either keys (signed requests) or auth (a header), not both")
        return self

    def signed(self, service: str, outgoing: "Outgoing", now: datetime) -> dict[str, str]:
        """Headers that prove who asks; none without keys. Raises CoalmineError for a lost key."""
        if self.keys is None:
            return {}
        return sign(outgoing, self.keys.reveal(), self.region, service, now)

    def redacted(self, said: str) -> str:
        """`said` by a server, without the credentials that it may have echoed."""
        said = super().redacted(said)
        if self.keys is None:
            return said
        try:
            known = self.keys.reveal()
        except CoalmineError:
            return ""  # a secret that is gone cannot be looked for: nothing is repeated
        for secret in (known.secret_access_key, known.session_token, known.access_key_id):
            said = said.replace(secret, "***") if secret else said
        return said


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Revealed keys, for the moment of signing; it never prints them."""

    access_key_id: str
    secret_access_key: str
    session_token: str

    def __repr__(self) -> str:
        """Never the value."""
        return "***"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it will leave: the signature covers its method, URL and body.

    headers: those that are signed beside the host's; the others may be changed by a proxy.
    """

    method: str
    url: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def sign(
    outgoing: Outgoing, credentials: Credentials, region: str, service: str, now: datetime
) -> dict[str, str]:
    """Headers to add to `outgoing`, `Authorization` among them. `now` is aware UTC.

    Rule: "Create a signed AWS API request"; S3's paths are encoded once, all others' twice.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(outgoing.body).hexdigest()
    added = {"X-Amz-Date": stamp}
    if service == "s3":
        added["X-Amz-Content-SHA256"] = digest
    if credentials.session_token:
        added["X-Amz-Security-Token"] = credentials.session_token
    signed = {"host": host_of(outgoing.url)}
    for name, value in (*outgoing.headers, *added.items()):
        signed[name.lower()] = " ".join(value.split())
    names = ";".join(sorted(signed))
    canonical = _canonical(outgoing, signed, names, digest, twice=service != "s3")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signature = _mac(_key(credentials, stamp[:8], region, service), text).hex()
    added["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope},"
        f" SignedHeaders={names}, Signature={signature}"
    )
    return added


def host_of(url: str) -> str:
    """The Host header of `url`: its port only where it is not the scheme's own."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    name, _, port = host.rpartition(":")
    usual = name and port.isdigit() and int(port) == _DEFAULT_PORTS.get(parts.scheme)
    return name if usual else host


def query_of(pairs: Iterable[tuple[str, str]]) -> str:
    """`pairs` as a query in the one spelling that is signed: a blank is %20, never a plus."""
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)


def path_of(*segments: str) -> str:
    """An absolute path; slashes inside of a segment stay slashes."""
    return "/" + "/".join(quote(one, safe=f"{_UNRESERVED}/") for one in segments)


def error_code(response: Response) -> str:
    """The error's name as the service tells it, in XML or JSON; "" when it tells none."""
    found = _CODE.search(response.body[:4096])
    if found is not None:
        return found[1].decode()
    told = response.header("x-amzn-errortype") or _json_type(response.body)
    return told.partition(":")[0].rpartition("#")[2]


def refusal_reason(response: Response) -> Reason | None:
    """What an error's name says beyond its status: throttling comes as a 400, expired keys too."""
    code = error_code(response).lower()
    if any(word in code for word in _THROTTLED):
        return Reason.THROTTLED
    if any(word in code for word in _AUTH):
        return Reason.AUTH
    return None


def _json_type(body: bytes) -> str:
    try:
        told = json.loads(body[:65536])
    except (ValueError, RecursionError):
        return ""
    found = told.get("__type", told.get("code")) if isinstance(told, Mapping) else ""
    return found if isinstance(found, str) else ""


def _canonical(
    outgoing: Outgoing, signed: Mapping[str, str], names: str, digest: str, *, twice: bool
) -> str:
    parts = urlsplit(outgoing.url)
    path = quote(parts.path or "/", safe=f"{_UNRESERVED}/") if twice else parts.path or "/"
    asked = parse_qsl(parts.query, keep_blank_values=True)
    query = "&".join(sorted(query_of([pair]) for pair in asked))
    headers = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    return f"{outgoing.method}\n{path}\n{query}\n{headers}\n{names}\n{digest}"


def _key(credentials: Credentials, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _quoted(text: str) -> str:
    return quote(text, safe=_UNRESERVED)
