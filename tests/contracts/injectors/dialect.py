"""What the injector suite knows of a receiver: how it says yes, and how it says no and why.

A file in `dialects/` has `DIALECTS`: one entry a form that a posting kind can be configured to.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from core.outbound.protocol import Request, Response
from core.reason import Reason
from selfcheck.canary.model import Signal
from tests.fakes.hostile import Answer, says


@dataclass(frozen=True)
class Said:
    """One answer, for a server on loopback and for a client without a network."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def answer(self) -> Answer:
        """As the hostile server gives it."""
        lines = [f"{name}: {value}" for name, value in self.headers.items()]
        return says(self.body, f"{self.status} {HTTPStatus(self.status).phrase}", *lines)

    @property
    def response(self) -> Response:
        """As the HTTP client returns it."""
        return Response(self.status, tuple(self.headers.items()), self.body, (), 0.01)


@dataclass(frozen=True)
class Seen:
    """What a receiver finds in a request. None: this form of request does not carry it.

    series: labels of a metric, or of the stream of a log: what must never grow.
    """

    canary_id: str | None
    stamp_ns: int | None
    trace_id: str | None
    body: str | None = None
    value: float | None = None
    series: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dialect:
    """How the receivers of one form of one kind speak.

    yes: answers to a canary of each signal that mean accepted. remark: a yes with a text that is
    kept. no: answers that look like a yes and are none, by name, with the reason of the refusal.
    partial: "taken, but none of it kept because of `line too long`"; None where the protocol has
    no such words, and then `whole` says so. parse: what a receiver finds in a request.
    precision_ns: stamps on the wire are multiples of it.
    """

    kind: str
    yes: Mapping[Signal, tuple[Said, ...]]
    no: Mapping[str, tuple[Said, Reason]]
    parse: Callable[[Signal, Request], Seen]
    options: Mapping[str, Any] = field(default_factory=dict)
    remark: Said | None = None
    partial: Said | None = None
    whole: str = ""
    precision_ns: int = 1
    method: str = "POST"

    @property
    def signal(self) -> Signal:
        """The one that is used where any would do."""
        return min(self.yes)

    @property
    def accepted(self) -> Said:
        """A yes to a canary of that signal."""
        return self.yes[self.signal][0]
