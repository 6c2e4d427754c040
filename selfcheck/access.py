"""How stores are reached: credentials, tenants and certificates, the same for reads and writes."""

import base64
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from core.errors import CoalmineError
from core.options import Options, SecretField
from core.outbound.protocol import Tls

TENANT_HEADER = "X-Scope-OrgID"


class AuthOptions(Options):
    """`auth:`: a bearer token, or a user name and password."""

    bearer: Annotated[SecretField | None, Field(description="Token for `Authorization`.")] = None
    username: Annotated[str, Field(description="User name of basic authentication.")] = ""
    password: Annotated[SecretField | None, Field(description="Its password.")] = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.bearer is None) == (self.password is None):
            raise ValueError("give either bearer or username and password")
        if (self.password is None) != (not self.username):
            raise ValueError("username and password belong together")
        return self

    def header(self) -> tuple[str, str]:
        """The `Authorization` header; secrets are read at this moment. Raises CoalmineError."""
        if self.bearer is not None:
            return ("Authorization", f"Bearer {self.bearer.reveal()}")
        secret = "" if self.password is None else self.password.reveal()
        pair = base64.b64encode(f"{self.username}:{secret}".encode()).decode()
        return ("Authorization", f"Basic {pair}")

    def values(self) -> tuple[str, ...]:
        """Every form in which the credentials leave this process. Raises CoalmineError."""
        header = self.header()[1]
        password = () if self.password is None else (self.password.reveal(),)
        return (header, header.partition(" ")[2], *password)


class TlsOptions(Options):
    """`tls:`: what a server is verified against, and our own certificate."""

    ca_file: Annotated[Path | None, Field(description="Certificates to trust, PEM.")] = None
    cert_file: Annotated[Path | None, Field(description="Our certificate, PEM.")] = None
    key_file: Annotated[Path | None, Field(description="Key of our certificate, PEM.")] = None
    insecure: Annotated[
        str, Field(description="Reason for not verifying the server; empty verifies.")
    ] = ""

    def parameters(self, base_dir: Path) -> Tls:
        """For the HTTP client; relative paths are below `base_dir`."""
        return Tls(
            verify=not self.insecure,
            ca_file=_below(base_dir, self.ca_file),
            cert_file=_below(base_dir, self.cert_file),
            key_file=_below(base_dir, self.key_file),
        )


class AccessOptions(Options):
    """Keys that every store and every receiver understands."""

    tenant: Annotated[str, Field(description=f"Sent as {TENANT_HEADER}.")] = ""
    headers: Annotated[
        dict[str, str],
        Field(default_factory=dict, description="Further headers; secrets belong into `auth`."),
    ]
    auth: Annotated[AuthOptions | None, Field(description="Credentials.")] = None
    tls: Annotated[TlsOptions | None, Field(description="Certificates.")] = None

    def request_headers(self) -> tuple[tuple[str, str], ...]:
        """Headers of one request, secrets revealed now. Raises CoalmineError for a lost secret."""
        tenant = ((TENANT_HEADER, self.tenant),) if self.tenant else ()
        auth = (self.auth.header(),) if self.auth else ()
        return (*tenant, *self.headers.items(), *auth)

    def redacted(self, said: str) -> str:
        """`said` by a server, without the credentials that it may have echoed."""
        try:
            secrets = self.auth.values() if self.auth else ()
        except CoalmineError:
            return ""  # a secret that is gone cannot be looked for: nothing is repeated
        for secret in (*secrets, *self.headers.values()):
            said = said.replace(secret, "***") if secret else said
        return said

    def tls_parameters(self, base_dir: Path) -> Tls:
        """Certificates for the HTTP client."""
        return (self.tls or TlsOptions()).parameters(base_dir)


def _below(base_dir: Path, path: Path | None) -> Path | None:
    return None if path is None else base_dir / path
