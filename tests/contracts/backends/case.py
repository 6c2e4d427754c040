"""What the conformance suite knows of a store: one `Case` a server, opened by its own file.

A file in `cases/` has `CASES`: a name (kind, and version where there are several) to an `Opening`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.kinds import Parts
from deploy.stack.launch import Stack
from selfcheck.backends.protocol import BACKENDS, Backend, WriteRule
from selfcheck.canary.model import Canary, Receipt, Signal
from selfcheck.injectors.protocol import INJECTORS, Injector


async def _nothing() -> None:
    """Most stores show what they took without being asked to."""


@dataclass(frozen=True)
class Case:
    """A backend with the server behind it: `backend(**overrides)` reads, `write` sends to it.

    kind: registry name. server: name and version as the server tells it. inject: the kind of
    injector that `write` uses, with its own options. selector: what `newest` is asked for, from
    signal and service name. small_pages: options that make pages of 20 rows, None where the row
    limit is no option. settle: makes what was written visible, where the store would take long.
    floor_s: delay that the server under test imposes, where it is configured below its default.
    """

    kind: str
    server: str
    parts: Parts
    options: Mapping[str, Any]
    selector: Callable[[Signal, str], str]
    inject: str = "otlp_http"
    inject_options: Mapping[str, Any] = field(default_factory=dict)
    small_pages: Mapping[str, Any] | None = None
    settle: Callable[[], Awaitable[None]] = _nothing

    def model(self, **overrides: Any) -> Any:
        """The backend's options, some of them changed."""
        adapter = BACKENDS.load(self.kind)
        return adapter.options_model.model_validate({**self.options, **overrides})

    def backend(self, **overrides: Any) -> Backend:
        """A reader with some options changed."""
        return BACKENDS.load(self.kind).build(self.model(**overrides), self.parts)

    def rule(self, **overrides: Any) -> WriteRule:
        """How this store takes what the case's injector sends."""
        return BACKENDS.load(self.kind).write_rules(self.model(**overrides))[self.inject]

    def injector(self, inject: Mapping[str, Any] | None = None, **overrides: Any) -> Injector:
        """The case's injector; `inject` are more options of it, `overrides` the backend's."""
        sender = INJECTORS.load(self.inject)
        options = sender.options_model.model_validate({**self.inject_options, **(inject or {})})
        return sender.build(options, self.parts, self.rule(**overrides))

    async def write(self, *canaries: Canary, **overrides: Any) -> list[Receipt]:
        """Send straight to the store, as its own write rule says, and let it settle."""
        injector = self.injector(**overrides)
        try:
            receipts = [await injector.send(canary, 5.0) for canary in canaries]
        finally:
            await injector.close()
        await self.settle()
        return receipts


@dataclass(frozen=True)
class Ground:
    """What a case may stand on. start: a running real server by name, one a worker and session."""

    parts: Parts
    folder: Path
    start: Callable[[str], Stack]


Open = Callable[[Ground], AbstractAsyncContextManager[Case]]


@dataclass(frozen=True)
class Opening:
    """How a case is opened; `kind` and `inject` are those of the case.

    servers: names for `Ground.start`; none means no `stack` mark.
    """

    kind: str
    open: Open
    servers: Sequence[str] = ()
    inject: str = "otlp_http"
