"""The egress guard: which address may be connected to. Pure, and closed by default.

It judges the address that we resolved and are about to connect to, on every hop, so a name that
changes its mind between check and connect (DNS rebinding) gains nothing.
Rule: docs/design.md, "Security".
"""

import contextlib
import ipaddress
import socket
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# `ipaddress.is_private` misses the second and third of these.
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "192.0.0.192"),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


@lru_cache(maxsize=4096)
def parse_address(host: str) -> Address | None:
    """The address that `host` literally is, in any form a resolver would accept, else None.

    `127.1`, `0x7f000001`, `2130706433`, `0177.0.0.1` and `①②⑦.0.0.1` are all 127.0.0.1. The zone
    of an IPv6 address is dropped, so that it cannot hide the address from the guard.
    """
    plain = unicodedata.normalize("NFKC", host).strip("[]").rstrip(".")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(plain.partition("%")[0])
    # inet_aton takes trailing words ("1 x") and spaces, which no host name has.
    if plain and plain[0].isdigit() and not any(char.isspace() for char in plain):
        with contextlib.suppress(OSError, UnicodeError):
            return ipaddress.IPv4Address(socket.inet_aton(plain))
    return None


def unwrap(address: Address) -> Address:
    """The IPv4 address inside IPv4-mapped, IPv4-compatible, NAT64 and 6to4 forms, else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    wraps = address in _NAT64 or address in _NAT64_LOCAL
    if wraps or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_localhost(host: str) -> bool:
    """Whether `host` names the loopback by itself (RFC 6761 section 6.3)."""
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class Denied:
    """The guard's refusal; `why` is safe to show."""

    why: str


class Egress:
    """Judges addresses. What is not known to be allowed is denied."""

    def __init__(self, allow: Sequence[str], own: Sequence[tuple[str, int]] = ()) -> None:
        """`allow`: CIDRs, addresses or host names. `own`: our listeners, always denied.

        Raises ValueError on an entry that is neither.
        """
        self.allow = tuple(allow)
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        self._own = frozenset((unwrap(ipaddress.ip_address(host)), port) for host, port in own)
        for entry in allow:
            try:
                self._networks.append(ipaddress.ip_network(entry))
            except ValueError:
                self._hosts.add(_host_name(entry))

    def judge(self, host: str, address: Address, port: int, *, literal: bool) -> Denied | None:
        """None when `address`, to which `host` resolved, may be connected to.

        literal: this origin stands in the config as it is. That grants an address written as such
        and `localhost`; a name grants nothing, because DNS decides what becomes of it.
        """
        bare = unwrap(address)
        never = _never(bare)
        if never:
            return Denied(f"{host} is {bare}: {never} is never allowed")
        if (bare, port) in self._own:
            return Denied(f"{host} is {bare} port {port}: our own listener")
        if bare.is_global or self._granted(host, bare, literal=literal):
            return None
        return Denied(f"{host} is {bare}: not public and not in egress.allow")

    def _granted(self, host: str, bare: Address, *, literal: bool) -> bool:
        if any(bare in network for network in self._networks):
            return True
        if host.rstrip(".").lower() in self._hosts:
            return True
        if not literal:
            return False
        written = parse_address(host)
        if written is not None:
            return unwrap(written) == bare
        return is_localhost(host) and bare.is_loopback


def _host_name(entry: str) -> str:
    name = entry.rstrip(".").lower()
    if not name or any(char in "/:@*[] " for char in name):
        raise ValueError(f"egress.allow: {entry!r} is neither a network nor a host name")
    return name


def _never(bare: Address) -> str:
    if bare in _METADATA:
        return "cloud metadata"
    if bare.is_link_local:
        return "link-local"
    if bare.is_multicast:
        return "multicast"
    if bare.is_unspecified:
        return "the unspecified address"
    if bare == _BROADCAST:
        return "broadcast"
    return ""
