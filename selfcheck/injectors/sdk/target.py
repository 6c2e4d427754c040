"""Where an exporter of the SDK sends, as a value: what loads no library."""

from dataclasses import dataclass

from core.outbound.protocol import Tls


@dataclass(frozen=True, slots=True)
class Target:
    """Where one signal goes. url: for HTTP with the signal's path; headers: with credentials."""

    url: str
    headers: tuple[tuple[str, str], ...]
    tls: Tls
    gzip: bool
    timeout_s: float
