"""What the served certificates say, kept whether or not they were believed.

libcurl keeps the chain (CERTINFO) also of a handshake that it then refuses to trust, so the facts
of an expired certificate cost no second connection, and no request is ever sent unverified.
"""

import contextlib
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from core.egress import parse_address
from core.result import Fact

Chain = Sequence[Sequence[tuple[str, str]]]
_DATE = "%b %d %H:%M:%S %Y GMT"
_SAN = re.compile(r"(DNS|IP Address):([^,\s]+)")
_TLS = re.compile(rb"SSL connection using (\S+) / (\S+)")
# OpenSSL: X509_V_ERR_UNSPECIFIED; libcurl leaves it when it did not judge the chain by itself.
_NOT_JUDGED = 1


def certificate_facts(
    chain: Chain, host: str, verify_result: int, tls_line: bytes
) -> Mapping[str, Fact] | None:
    """Facts of a served chain, or None when no certificate was served.

    Times are Unix seconds. `trusted` is absent when the chain was not judged.
    """
    if not chain:
        return None
    facts = dict(_chain_facts(tuple(tuple(member) for member in chain)))
    facts["host_match"] = host_matches(host, str(facts["san"]))
    if verify_result != _NOT_JUDGED:
        facts["trusted"] = verify_result == 0
    negotiated = _TLS.search(tls_line)
    if negotiated is not None:
        facts["tls_version"] = negotiated[1].decode(errors="replace")
        facts["cipher"] = negotiated[2].decode(errors="replace")
    return facts


def host_matches(host: str, san: str) -> bool:
    """Whether one of the names in `san` (`DNS:a, IP Address:b`) covers `host` (RFC 9525)."""
    address = parse_address(host)
    names = _SAN.findall(san)
    if address is not None:
        return any(kind != "DNS" and _same(name, address) for kind, name in names)
    wanted = host.rstrip(".").lower()
    parent = wanted.partition(".")[2]
    return any(
        kind == "DNS" and name.lower() in {wanted, f"*.{parent}" if "." in parent else wanted}
        for kind, name in names
    )


def _same(text: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(text) == address
    return False


@lru_cache(maxsize=1024)
def _chain_facts(chain: tuple[tuple[tuple[str, str], ...], ...]) -> Mapping[str, Fact]:
    members = [dict(member) for member in chain]
    leaf = members[0]
    facts: dict[str, Fact] = {
        "subject": leaf.get("Subject", ""),
        "issuer": leaf.get("Issuer", ""),
        "san": leaf.get("X509v3 Subject Alternative Name", ""),
        "serial": leaf.get("Serial Number", ""),
        "signature_algorithm": leaf.get("Signature Algorithm", ""),
        "self_signed": leaf.get("Subject") == leaf.get("Issuer"),
        "chain_length": len(members),
    }
    for name, key in (("not_before", "Start date"), ("not_after", "Expire date")):
        moment = _unix(leaf.get(key, ""))
        if moment is not None:
            facts[name] = moment
    expiries = list(_expiries(members))
    if expiries:
        facts["earliest_expiry"] = min(expiries)
    return facts


def _expiries(members: Sequence[Mapping[str, str]]) -> Iterator[float]:
    for member in members:
        moment = _unix(member.get("Expire date", ""))
        if moment is not None:
            yield moment


def _unix(text: str) -> float | None:
    try:
        return datetime.strptime(text, _DATE).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
