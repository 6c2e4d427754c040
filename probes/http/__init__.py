"""http: ask a URL, follow its redirects, hold the answer against what is expected."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import FactSpec, Parts
from core.options import Options
from core.outbound.protocol import Outbound, Phase, Request, Response, Tls, Trouble
from core.reason import Reason
from core.result import Result
from core.verdict import Verdict
from probes.http import facts
from probes.http.options import HttpOptions, TlsOptions
from probes.protocol import Probe, RunContext

if TYPE_CHECKING:
    from probes.http.assertions import Assertions

__all__ = ["HttpOptions", "HttpProbe"]


@dataclass(frozen=True, slots=True)
class HttpProbe(Probe):
    """`ok` when a complete answer holds every condition within the deadline."""

    options_model: ClassVar[type[Options]] = HttpOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {
            Reason.TIMEOUT, Reason.REFUSED, Reason.UNREACHABLE, Reason.RESET, Reason.DNS,
            Reason.TLS, Reason.PROTOCOL, Reason.STATUS, Reason.ASSERTION, Reason.BODY_TOO_LARGE,
            Reason.REDIRECTS, Reason.SLOW, Reason.INTERNAL, Reason.RESOLVER, Reason.DESCRIPTORS,
            Reason.EGRESS, Reason.PERMISSION,
        }
    )  # fmt: skip
    facts: ClassVar[tuple[FactSpec, ...]] = facts.SPECS

    options: HttpOptions
    outbound: Outbound
    clock: Clock
    assertions: "Assertions"
    tls: Tls

    @classmethod
    def build(cls, options: Options, parts: Parts) -> Self:
        """Compiles the conditions. Raises CoalmineError when a certificate file is missing."""
        from probes.http.assertions import Assertions

        if not isinstance(options, HttpOptions):
            raise CoalmineError(f"http: expected HttpOptions, got {type(options).__name__}")
        tls = _tls(options.tls, parts.base_dir)
        assertions = Assertions(options.expected)
        return cls(options, parts.outbound, parts.clock, assertions, tls)

    async def run(self, context: RunContext) -> Result:
        """Ask once. What is not proven to be the target's doing is `blind`."""
        answer = await self.outbound.fetch(self._request(context))
        if isinstance(answer, Trouble):
            return _of_trouble(answer)
        return self._of_response(answer)

    def _request(self, context: RunContext) -> Request:
        options = self.options
        headers: Sequence[tuple[str, str]] = tuple(options.headers.items())
        if not any(name.lower() == "traceparent" for name in options.headers):
            headers = (*headers, ("traceparent", context.traceparent))
        if options.bearer is not None:
            headers = (*headers, ("Authorization", f"Bearer {options.bearer.reveal()}"))
        return Request(
            method=options.method,
            url=options.url,
            deadline_s=context.deadline_s,
            headers=tuple(headers),
            body=options.body.encode(),
            max_redirects=options.max_redirects,
            max_body_bytes=options.max_body,
            tls=self.tls,
        )

    def _of_response(self, response: Response) -> Result:
        started = self.clock.monotonic()
        broken = self.assertions.judge(response)
        measured = facts.of_response(response)
        measured[f"phase_{Phase.ASSERT}_seconds"] = self.clock.monotonic() - started
        if broken is not None and broken.verdict is Verdict.FAIL:
            return Result.fail(broken.reason, broken.detail, measured)
        limit = self.options.degraded_after
        if broken is not None:
            return Result.degraded(broken.reason, broken.detail, measured)
        if limit is not None and response.elapsed_s > limit:
            detail = f"answered in {response.elapsed_s:.3f} s, more than {limit:g} s"
            return Result.degraded(Reason.SLOW, detail, measured)
        return Result.ok(measured, f"status {response.status}")


def _of_trouble(trouble: Trouble) -> Result:
    measured = facts.of_hops(trouble.hops, trouble.elapsed_s)
    if trouble.phase is not None:
        measured["phase_in_progress"] = str(trouble.phase)
    make = Result.blind if trouble.ours else Result.fail
    return make(trouble.reason, trouble.detail, measured)


def _tls(options: TlsOptions, base_dir: Path) -> Tls:
    def found(path: Path | None) -> Path | None:
        if path is None:
            return None
        full = base_dir / path
        if not full.is_file():
            raise CoalmineError(f"tls: {path} is not a file")
        return full

    return Tls(
        verify=not options.insecure,
        ca_file=found(options.ca_file),
        cert_file=found(options.cert_file),
        key_file=found(options.key_file),
    )
