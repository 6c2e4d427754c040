"""file: one line a canary, appended to a file or to standard output, for agents that tail.

No answer exists on this way in: accepted means that the line is flushed, and only reading back
says whether an agent took it.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import FactSpec, Parts
from core.options import Options, Size
from core.reason import Reason
from core.text import safe_text
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Receipt, Sent, Signal
from selfcheck.injectors.lines import LineFile, Lines, StandardOutput
from selfcheck.injectors.protocol import Injector

STDOUT = "-"
CLOSE_S = 1.0
_SECOND_NS = 1_000_000_000
_REASONS: Mapping[Sent, Reason] = {
    Sent.ACCEPTED: Reason.OK,
    Sent.REJECTED: Reason.INJECT,
    Sent.MAYBE: Reason.MAYBE_SENT,
}
_BARE = re.compile(r'[^\s"=|]+')


class FileOptions(Options):
    """What may be written under `inject: {kind: file}`."""

    path: Annotated[
        str, Field(min_length=1, description="File to append to; `-` is standard output.")
    ]
    format: Annotated[
        Literal["json", "text"], Field(description="Of a line; `text` is for parsers of patterns.")
    ] = "json"
    max_bytes: Annotated[
        Size, Field(ge=4096, description="Larger than this the file is renamed to `path.1`.")
    ] = 10 << 20
    keep: Annotated[int, Field(ge=1, le=100, description="Renamed files that are kept.")] = 3
    fsync: Annotated[bool, Field(description="Wait until the line is on the disk.")] = False

    @model_validator(mode="after")
    def _stdout_is_json(self) -> Self:
        if self.path == STDOUT and self.format != "json":
            raise ValueError("standard output has other lines too: only json can be told from them")
        return self


@dataclass(frozen=True, slots=True)
class FileInjector(Injector):
    """Appends canaries, one thread a route: a disk that hangs holds nobody else up."""

    options_model: ClassVar[type[Options]] = FileOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.OK, Reason.INJECT, Reason.MAYBE_SENT, Reason.HARNESS}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.LOGS})
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "the line is flushed; nothing says that an agent reads it",
        Sent.REJECTED: "the system's error: disk full, no permission, no folder",
        Sent.MAYBE: "the write has not come back",
    }
    source: ClassVar[str] = "write(2), rename(2)"
    proved: ClassVar[tuple[str, ...]] = ("OpenTelemetry Collector 0.159, file_log",)

    options: FileOptions
    clock: Clock
    lines: Lines
    pool: ThreadPoolExecutor

    @classmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> Self:
        """An injector; the file is made when it is first written. Raises CoalmineError."""
        chosen = cast("FileOptions", options)
        if rule is not None:
            raise CoalmineError("inject: kind file writes to a path, not to a backend")
        lines: Lines
        if chosen.path == STDOUT:
            lines = StandardOutput()
        else:
            path = parts.base_dir / chosen.path
            if not path.parent.is_dir():
                raise CoalmineError(f"path: there is no folder {path.parent}: make it first")
            if path.is_dir():
                raise CoalmineError(f"path: {path} is a folder, not a file")
            lines = LineFile(path, chosen.max_bytes, chosen.keep, fsync=chosen.fsync)
        return cls(chosen, parts.clock, lines, ThreadPoolExecutor(1, "canary-file"))

    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        """Write and flush one line; a line that has not begun by the deadline never will."""
        started_s = self.clock.monotonic()
        line = render(canary, self.options.format)
        if deadline_s <= 0:
            sent, reason, detail, tries = Sent.MAYBE, Reason.HARNESS, "no time to try", 0
        else:
            written = self.pool.submit(self.lines.append, line)
            await asyncio.wait({asyncio.wrap_future(written)}, timeout=deadline_s)
            sent, reason, detail = _known(written, deadline_s)
            tries = 1
        elapsed_s = self.clock.monotonic() - started_s
        # Taken by the file system and never answered.
        silent = reason is Reason.MAYBE_SENT
        said = safe_text(detail, 300)
        return Receipt(sent, reason, said, tries, sent, elapsed_s, len(line), silent)

    async def close(self) -> None:
        """Close the file; a write that hangs is left to itself."""
        closed = asyncio.wrap_future(self.pool.submit(self.lines.close))
        self.pool.shutdown(wait=False)
        await asyncio.wait({closed}, timeout=CLOSE_S)


def _known(written: Future[tuple[Sent, str]], deadline_s: float) -> tuple[Sent, Reason, str]:
    if written.cancel():
        return Sent.REJECTED, Reason.INJECT, "the line before this one is still being written"
    if not written.done():
        return Sent.MAYBE, Reason.MAYBE_SENT, f"not flushed in {deadline_s:g} s"
    sent, error = written.result()
    return sent, _REASONS[sent], error


def render(canary: Canary, form: Literal["json", "text"]) -> bytes:
    """`canary` as one line, its end included."""
    return (_json(canary) if form == "json" else _text(canary)).encode() + b"\n"


def _json(canary: Canary) -> str:
    """The stamp is text: readers of JSON make a float of so large a number, and round it."""
    return json.dumps(
        {
            "timestamp": str(canary.stamp_ns),
            "severity": canary.severity_text,
            "body": canary.body,
            "trace_id": canary.trace_id.hex(),
            "span_id": canary.span_id.hex(),
            "attributes": dict(canary.attributes),
            "resource": _resource(canary),
        },
        # As agents meet it: escapes would hide from them what is beyond ASCII.
        ensure_ascii=False,
    )


def _text(canary: Canary) -> str:
    """`2026-11-21T03:12:44.000000001Z INFO key=value … | body`; odd values are quoted as JSON."""
    second, rest_ns = divmod(canary.stamp_ns, _SECOND_NS)
    stamp = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09}Z"
    ids = {"trace_id": canary.trace_id.hex(), "span_id": canary.span_id.hex()}
    pairs = {**_resource(canary), **ids, **canary.attributes}
    written = " ".join(f"{name}={_bare(value)}" for name, value in pairs.items())
    return f"{stamp} {canary.severity_text} {written} | {canary.body}"


def _resource(canary: Canary) -> dict[str, str]:
    return {"service.name": canary.service_name, "service.instance.id": canary.service_instance}


def _bare(value: str) -> str:
    return value if _BARE.fullmatch(value) else json.dumps(value, ensure_ascii=False)
