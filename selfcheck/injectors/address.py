"""Where an injector that brings its own client may connect to: resolved by us, judged by the guard.

What `core/outbound` does for everything over HTTP, for the two kinds whose libraries dial
themselves (docs/design.md, "Security").
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.egress import Address, Egress
from core.errors import CoalmineError
from core.outbound.errnos import BY_ERRNO
from core.reason import Reason
from core.resolve import Resolver, Unresolved
from selfcheck.access import AccessOptions
from selfcheck.injectors.tries import Attempt, unsent

# Names that gRPC allows in custom metadata; `-bin` values would be bytes, `grpc-` is its own.
_NAME = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")


@dataclass(frozen=True, slots=True)
class Origin:
    """Host and port of a receiver as the config has them; secure = TLS."""

    host: str
    port: int
    secure: bool

    @classmethod
    def of(cls, url: str) -> "Origin":
        """The origin of `url`, with the scheme's port where none is written. Raises ValueError."""
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("credentials belong into auth:, not into the url")
        if not parts.hostname:
            raise ValueError("expected scheme://host:port")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.hostname, port, parts.scheme == "https")

    @property
    def authority(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Guarded:
    """Looks an origin up and has the egress guard judge what came of it."""

    origin: Origin
    resolver: Resolver
    egress: Egress

    async def address(self) -> Address | Attempt:
        """The first address of the host when it may be connected to, else what that means.

        A name that does not exist is proof that nothing can have left; a resolver that fails, or a
        guard that denies, is our own doing.
        """
        found = await self.resolver.resolve(self.origin.host)
        if isinstance(found, Unresolved):
            return unsent(found.reason, found.detail, ours=found.ours)
        host, port = self.origin.host, self.origin.port
        denied = self.egress.judge(host, found[0], port, literal=True)
        if denied is not None:
            return unsent(Reason.EGRESS, denied.why, ours=True)
        return found[0]


def not_connected(exc: OSError, where: str) -> Attempt:
    """What a connect that failed means."""
    reason, ours = BY_ERRNO.get(exc.errno or 0, (Reason.INTERNAL, True))
    return unsent(reason, f"{where}: {exc.strerror or exc}", ours=ours)


def fits_grpc(options: AccessOptions, url: str) -> None:
    """Raises ValueError for what gRPC cannot do: skipping verification, paths, some headers.

    The port must be written: its defaults are those of HTTP, and OTLP's is 4317.
    """
    if options.tls is not None and options.tls.insecure:
        raise ValueError("tls: insecure: gRPC cannot skip verification; give ca_file")
    for name in options.headers:
        if not _NAME.fullmatch(name.lower()):
            raise ValueError(f"headers: gRPC cannot carry the name {name!r}")
    if not url:
        return
    origin = Origin.of(url)
    if not url.rstrip("/").lower().endswith(f"//{origin.authority}"):
        raise ValueError("url: expected scheme://host:port, the port written out and no path")
    if options.tls is not None and not origin.secure:
        raise ValueError("tls: certificates need an https:// url")


def checked_metadata(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Headers as gRPC metadata: lower-case names, printable ASCII values.

    Raises CoalmineError without the value: it may be a credential. (gRPC's own error shows it.)
    Rule: github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md, "Custom-Metadata".
    """
    for name, value in pairs:
        if not value.isascii() or not value.isprintable():
            raise CoalmineError(f"header {name}: gRPC carries printable ASCII only")
    return tuple((name.lower(), value) for name, value in pairs)
