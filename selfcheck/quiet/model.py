"""Expected sources and what is known of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A service, host or tenant whose real telemetry is expected.

    select: the backend's own query. routes: names of the routes whose canaries gate it.
    """

    name: str
    backend: str
    select: str
    quiet_after_s: float
    routes: tuple[str, ...]
