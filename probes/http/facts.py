"""What an HTTP run is worth knowing: facts of the final hop, and of the redirects before it."""

from collections.abc import Sequence

from core.kinds import FactSpec
from core.outbound.protocol import Hop, Phase, Response
from core.result import Fact

_PHASE_ALIASES = {
    Phase.RESOLVE: "resolve",
    Phase.CONNECT: "connect",
    Phase.TLS: "tls",
    Phase.TRANSFER: "transfer",
}
_MEASURED = (
    Phase.RESOLVE,
    Phase.CONNECT,
    Phase.TLS,
    Phase.REQUEST_WRITE,
    Phase.FIRST_BYTE,
    Phase.TRANSFER,
    Phase.ASSERT,
)
_CERTIFICATE_TEXT = ("issuer", "subject", "san", "tls_version", "cipher", "serial")


def _phase_spec(phase: Phase) -> FactSpec:
    name = _PHASE_ALIASES.get(phase)
    alias = f'probe_http_duration_seconds{{phase="{name}"}}' if name else ""
    return FactSpec(f"phase_{phase}_seconds", "s", f"Phase {phase} of the final hop.", alias)


SPECS: tuple[FactSpec, ...] = (
    FactSpec("duration_seconds", "s", "Whole run, body included.", "probe_duration_seconds"),
    FactSpec("headers_seconds", "s", "Final hop up to the first byte of the answer."),
    *(_phase_spec(phase) for phase in _MEASURED),
    FactSpec("status_code", "", "Status of the final hop.", "probe_http_status_code"),
    FactSpec("http_version", "", "Negotiated HTTP version.", "probe_http_version"),
    FactSpec("redirects", "", "Redirects followed.", "probe_http_redirects"),
    FactSpec("redirect_seconds", "s", "Time in all hops before the final one."),
    FactSpec("body_bytes", "By", "Decoded body.", "probe_http_uncompressed_body_length"),
    FactSpec("address", "", "Address connected to."),
    FactSpec("ip_protocol", "", "4 or 6.", "probe_ip_protocol"),
    FactSpec("tls", "", "Whether the final hop spoke TLS.", "probe_http_ssl"),
    FactSpec("phase_in_progress", "", "Phase in which a run broke."),
    FactSpec("certificate_not_before", "s", "Unix time from which the leaf is valid."),
    FactSpec("certificate_not_after", "s", "Unix time at which the leaf expires."),
    FactSpec(
        "certificate_earliest_expiry",
        "s",
        "First expiry in the served chain.",
        "probe_ssl_earliest_cert_expiry",
    ),
    FactSpec("certificate_trusted", "", "Whether the chain was trusted; absent = not judged."),
    FactSpec("certificate_host_match", "", "Whether a name of the leaf covers the host."),
    FactSpec("certificate_self_signed", "", "Whether the leaf signed itself."),
    FactSpec("certificate_chain_length", "", "Certificates served."),
    FactSpec("certificate_signature_algorithm", "", "How the leaf was signed."),
    *(FactSpec(f"certificate_{name}", "", f"The leaf's {name}.") for name in _CERTIFICATE_TEXT),
)


def of_hops(hops: Sequence[Hop], elapsed_s: float) -> dict[str, Fact]:
    """Facts of however many hops there were; what was not measured is absent."""
    facts: dict[str, Fact] = {"duration_seconds": elapsed_s}
    if not hops:
        return facts
    last = hops[-1]
    facts["redirects"] = len(hops) - 1
    facts["tls"] = last.url.startswith("https:")
    if hops[:-1]:
        facts["redirect_seconds"] = sum(sum(hop.phases.values()) for hop in hops[:-1])
    if last.address is not None:
        facts["address"] = last.address
        facts["ip_protocol"] = 6 if ":" in last.address else 4
    if last.status is not None:
        facts["status_code"] = last.status
    if last.http_version is not None:
        facts["http_version"] = float(last.http_version)
    facts |= {f"phase_{phase}_seconds": spent for phase, spent in last.phases.items()}
    if Phase.FIRST_BYTE in last.phases:
        body = last.phases.get(Phase.TRANSFER, 0.0)
        facts["headers_seconds"] = sum(last.phases.values()) - body
    facts |= {f"certificate_{name}": value for name, value in (last.certificate or {}).items()}
    return facts


def of_response(response: Response) -> dict[str, Fact]:
    """Facts of a complete answer."""
    return of_hops(response.hops, response.elapsed_s) | {"body_bytes": len(response.body)}
