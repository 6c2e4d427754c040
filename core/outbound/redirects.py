"""Redirects are followed by us, so that the guard sees each hop and no header leaks. Pure."""

from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from core.outbound.classify import Fault
from core.outbound.protocol import Request, Tls
from core.reason import Reason

_FOLLOWED = frozenset({301, 302, 303, 307, 308})
# All other headers may hold a secret, so they stay at the origin they were written for.
_ACROSS_ORIGINS = frozenset(
    {"accept", "accept-encoding", "accept-language", "user-agent", "traceparent"}
)
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]


def origin_of(url: str) -> Origin:
    """Scheme, host and port of `url`. Raises ValueError when it is no http or https URL."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("not an http or https URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials in a URL are refused")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def next_request(request: Request, status: int, location: str | None) -> Request | Fault | None:
    """The request a redirect asks for (RFC 9110 section 15.4); None when there is none to follow.

    Across origins only harmless headers go along, never a body or a client certificate, and the
    new origin is not one that the config names.
    """
    if status not in _FOLLOWED or location is None or request.max_redirects == 0:
        return None
    url = urljoin(request.url, location)
    try:
        same = origin_of(url) == origin_of(request.url)
    except ValueError as exc:
        return _refused(f"redirect refused: {exc}")
    method, body = request.method, request.body
    if (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST"):
        method, body = "GET", b""
    kept = request.headers
    if not body:
        kept = tuple((k, v) for k, v in kept if not k.lower().startswith("content-"))
    if same:
        return replace(request, url=url, method=method, body=body, headers=kept)
    if body:
        return _refused("redirect refused: it would carry the body to another origin")
    kept = tuple((key, value) for key, value in kept if key.lower() in _ACROSS_ORIGINS)
    tls = Tls(verify=request.tls.verify, ca_file=request.tls.ca_file)
    return replace(request, url=url, method=method, headers=kept, literal=False, tls=tls)


def _refused(detail: str) -> Fault:
    return Fault(Reason.REDIRECTS, detail, ours=False, connected=True)
