"""sdk: canaries through the real OpenTelemetry SDK and its official exporter, as an application's.

A route of its own, that tests this path. Accepted means only that the SDK took the canary: its
`force_flush` returns True for a refused connection, for a 400, a 503 and a black hole
(opentelemetry-python 1.45.2), so nothing it returns or logs is evidence. Read-back judges.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import FactSpec, Parts
from core.options import Duration, Options
from core.outbound.protocol import Tls
from core.reason import Reason
from core.resolve import Resolver
from selfcheck import otlp
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Receipt, Sent, Signal
from selfcheck.injectors.address import Guarded, Origin, checked_metadata, fits_grpc
from selfcheck.injectors.posting import PostingOptions
from selfcheck.injectors.protocol import Injector
from selfcheck.injectors.sdk.aside import aside
from selfcheck.injectors.sdk.ears import Ears
from selfcheck.injectors.sdk.target import Target
from selfcheck.injectors.tries import Attempt, Tries, accepted, rejected, unsent

if TYPE_CHECKING:
    from selfcheck.injectors.sdk.engine import Pipeline

    Make = Callable[[str, Target, Canary, Ears], Pipeline]

# Beyond the time an exporter gives its last try.
_CLOSING_S = 2.0


class SdkOptions(PostingOptions):
    """What may be written under `inject: {kind: sdk}`."""

    protocol: Annotated[
        Literal["http", "grpc"], Field(description="Which of the official OTLP exporters.")
    ] = "http"
    compression: Annotated[
        Literal["none", "gzip"], Field(description="As the exporter's own setting.")
    ] = "none"
    export_timeout: Annotated[
        Duration, Field(description="The exporter's own time-out, its tries together.")
    ] = 10.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.tls is not None and self.tls.insecure:
            raise ValueError("tls: insecure: the SDK's exporters always verify; give ca_file")
        if self.url:
            self.origin_of(self.url)
        return self

    def origin_of(self, url: str) -> Origin:
        """Host and port of `url`. Raises ValueError for what the protocol cannot do with it."""
        if self.protocol == "grpc":
            fits_grpc(self, url)
        return Origin.of(url)


@dataclass(frozen=True, slots=True)
class Way:
    """Where an injector sends, and how: what of it does not change."""

    options: SdkOptions
    rule: WriteRule
    tls: Tls
    guarded: Guarded

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Headers of the exporter, secrets revealed now. Raises CoalmineError."""
        own = self.options.request_headers()
        named = {name.lower() for name, _ in own}
        pairs = (*(pair for pair in self.rule.headers if pair[0].lower() not in named), *own)
        # `requests` shows a value that it refuses in its error, as gRPC does.
        return checked_metadata(pairs)

    def url(self, signal: Signal) -> str:
        """The exporter's endpoint for `signal`."""
        base = (self.options.url or self.rule.url).rstrip("/")
        return base if self.options.protocol == "grpc" else base + self.rule.paths[signal]


class SdkInjector(Injector):
    """One pipeline of the SDK, made anew when its credentials change."""

    options_model: ClassVar[type[Options]] = SdkOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.INJECT, Reason.AUTH, Reason.MAYBE_SENT, Reason.EGRESS, Reason.DNS, Reason.RESOLVER}
        | {Reason.TLS, Reason.HARNESS}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    signals: ClassVar[frozenset[Signal]] = frozenset(Signal)
    unstamped: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "the SDK took it and its flush came back: no word of the receiver's; what"
        " the SDK logged meanwhile is a hint beside it",
        Sent.REJECTED: "never handed to the SDK: a credential that cannot be read, a name that"
        " does not exist, a signal that the receiver does not take",
        Sent.MAYBE: "the SDK took it and its flush did not come back in time",
    }
    source: ClassVar[str] = "opentelemetry-python 1.45.2, sdk and exporter-otlp, source, 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("OpenTelemetry Collector 0.159 (HTTP and gRPC)",)

    def __init__(self, way: Way, make: "Make", clock: Clock) -> None:
        """Starts nothing before the first canary."""
        self._way, self._make, self._clock, self._ears = way, make, clock, Ears()
        self._pipeline: asyncio.Future[Pipeline] | None = None
        self._made_for: object = None
        self._flushing: asyncio.Future[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    @classmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> Self:
        """An injector; the address comes from `url`, else from the backend's own rule."""
        chosen = cast("SdkOptions", options)
        used = rule or WriteRule(chosen.url, otlp.DEFAULT_PATHS, frozenset(), empty_body=False)
        url = chosen.url or used.url
        if not url:
            raise CoalmineError("neither url nor to is given")
        try:
            origin = chosen.origin_of(url)
        except ValueError as exc:
            raise CoalmineError(f"to: {exc}") from exc
        # gRPC's core would else write its own lines to stderr, one for each failed handshake.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from selfcheck.injectors.sdk.engine import made

        guarded = Guarded(origin, Resolver(threads=1), parts.egress)
        way = Way(chosen, used, chosen.tls_parameters(parts.base_dir), guarded)
        return cls(way, made, parts.clock)

    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        """Hand over once and flush within `deadline_s`; the exporter's tries are its own."""
        started_s = self._clock.monotonic()
        attempt = await self._sent(canary, deadline_s)
        elapsed_s = self._clock.monotonic() - started_s
        tries = Tries(attempt, 1, attempt.sent, elapsed_s)
        # As the plain injector would have written it; what the exporter writes differs by little.
        return tries.receipt(len(otlp.encode(canary)), self._way.options.redacted)

    async def close(self) -> None:
        """End the SDK's threads, at the latest with the exporter's own time-out."""
        self._closed = True
        self._retire()
        if self._ending:
            limit_s = self._way.options.export_timeout + _CLOSING_S
            _, late = await asyncio.wait(self._ending, timeout=limit_s)
            for one in late:
                one.cancel()  # its thread ends by itself, or with the process
        await self._way.guarded.resolver.close()

    async def _sent(self, canary: Canary, deadline_s: float) -> Attempt:
        deadline, taken = asyncio.timeout(deadline_s), False
        try:
            async with deadline:
                pipeline = await self._ready(canary)
                if isinstance(pipeline, Attempt):
                    return pipeline
                with self._ears.claimed():
                    pipeline.take(canary)
                taken = True
                await self._flushed(pipeline)
        except TimeoutError:
            if not deadline.expired():
                raise
            late = f"no flush in {deadline_s:g} s" if taken else f"not made in {deadline_s:g} s"
            detail = f"{late} {self._ears.told()}".rstrip()
            reason = Reason.MAYBE_SENT if taken else Reason.HARNESS
            return Attempt(Sent.MAYBE, reason, detail, retry=False, left=taken, silent=taken)
        return accepted(self._ears.told())

    async def _ready(self, canary: Canary) -> "Pipeline | Attempt":
        """The pipeline for this canary, whose address was judged now."""
        if canary.signal not in self._way.rule.paths:
            return rejected(Reason.INJECT, f"the receiver takes no {canary.signal}")
        try:
            headers = self._way.headers()
        except CoalmineError as exc:
            return rejected(Reason.AUTH, str(exc))
        # The exporter looks the name up again by itself; what it dials then is not judged.
        address = await self._way.guarded.address()
        if isinstance(address, Attempt):
            return address
        wanted = (canary.signal, canary.service_name, canary.service_instance, headers)
        if self._pipeline is None or self._made_for != wanted:
            self._replace(canary, headers)
            self._made_for = wanted
        try:
            return await asyncio.shield(cast("asyncio.Future[Pipeline]", self._pipeline))
        except OSError as exc:
            self._made_for = None
            return unsent(Reason.TLS, f"certificates: {exc}", ours=True)
        except ValueError as exc:
            # OTEL_EXPORTER_OTLP_*_TIMEOUT is parsed by the gRPC exporter even where it is not used.
            self._made_for = None
            return unsent(Reason.HARNESS, f"the exporter refuses its settings: {exc}", ours=True)

    def _replace(self, canary: Canary, headers: tuple[tuple[str, str], ...]) -> None:
        """Have a pipeline made; the one before ends when it can."""
        self._retire()
        self._ears.open()
        options = self._way.options
        target = Target(
            self._way.url(canary.signal),
            headers,
            self._way.tls,
            options.compression == "gzip",
            options.export_timeout,
        )
        make = partial(self._make, options.protocol, target, canary, self._ears)
        self._pipeline = aside(make, "coalmine-sdk-make")

    def _retire(self) -> None:
        """Have the present pipeline end beside what follows."""
        old, self._pipeline, self._made_for = self._pipeline, None, None
        if old is not None:
            ending = asyncio.create_task(self._end(old))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _flushed(self, pipeline: "Pipeline") -> None:
        """Wait for a flush that began after the canary was taken; never more than one runs."""
        while self._flushing is not None and not self._flushing.done():
            await asyncio.wait({self._flushing})
        mine = aside(partial(self._flush, pipeline), "coalmine-sdk-flush")
        self._flushing = mine
        await asyncio.wait({mine})
        trouble = mine.exception()
        if trouble is not None:
            self._ears.hear(f"flush: {trouble}")

    def _flush(self, pipeline: "Pipeline") -> None:
        self._ears.claim()
        pipeline.flush()

    async def _end(self, making: "asyncio.Future[Pipeline]") -> None:
        await asyncio.wait({making})
        made = None if making.exception() is not None else making.result()
        await asyncio.wait({aside(partial(self._shut, made), "coalmine-sdk-end")})

    def _shut(self, pipeline: "Pipeline | None") -> None:
        self._ears.claim()
        if pipeline is not None:
            pipeline.shutdown()
        if self._closed:
            # Not before: what the last export logs would be printed.
            self._ears.close()
