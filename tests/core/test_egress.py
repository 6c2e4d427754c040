"""The guard denies what is not known to be allowed."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.egress import Egress, parse_address, unwrap

LOOPBACK = ipaddress.ip_address("127.0.0.1")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "①②⑦.0.0.1", "127.0.0.1."],
)
def test_input_21_odd_forms_of_loopback_are_seen_through(host: str) -> None:
    assert parse_address(host) == LOOPBACK


@pytest.mark.parametrize("host", ["shop.example", "1e100.net", "", "127.0.0.1 x", "12a"])
def test_a_name_is_no_address(host: str) -> None:
    assert parse_address(host) is None


@pytest.mark.parametrize(
    "text",
    [
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "127.0.0.1",
    ],
)
def test_input_22_wrapped_ipv4_is_unwrapped_before_it_is_judged(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert unwrap(address) == LOOPBACK
    assert Egress(()).judge("shop.example", address, 80, literal=True) is not None


def test_input_22_a_zone_id_does_not_hide_an_address() -> None:
    assert parse_address("fe80::1%eth0") == ipaddress.ip_address("fe80::1")


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "192.0.0.192",
        "64:ff9b::a9fe:a9fe",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "fe80::1",
    ],
)
def test_metadata_and_their_like_are_denied_even_when_written_and_allowed(text: str) -> None:
    guard = Egress(("0.0.0.0/0", "::/0", text))
    assert guard.judge(text, ipaddress.ip_address(text), 80, literal=True) is not None


def test_a_literal_address_is_allowed_as_written_and_only_then() -> None:
    guard = Egress(())
    assert guard.judge("127.1", LOOPBACK, 80, literal=True) is None
    assert guard.judge("127.1", LOOPBACK, 80, literal=False) is not None
    assert guard.judge("10.0.0.1", LOOPBACK, 80, literal=True) is not None


def test_localhost_is_loopback_and_nothing_else() -> None:
    guard = Egress(())
    assert guard.judge("localhost", LOOPBACK, 80, literal=True) is None
    assert guard.judge("localhost", ipaddress.ip_address("10.0.0.1"), 80, literal=True) is not None


def test_a_written_name_grants_nothing_of_what_dns_makes_of_it() -> None:
    private = ipaddress.ip_address("10.1.2.3")
    assert Egress(()).judge("shop.example", private, 443, literal=True) is not None
    assert Egress(("10.0.0.0/8",)).judge("shop.example", private, 443, literal=True) is None
    assert Egress(("shop.example",)).judge("SHOP.example.", private, 443, literal=True) is None
    assert Egress(("other.example",)).judge("shop.example", private, 443, literal=True) is not None


def test_our_own_listener_is_denied_even_when_written() -> None:
    guard = Egress(("127.0.0.0/8",), own=(("127.0.0.1", 9470),))
    assert guard.judge("127.0.0.1", LOOPBACK, 9470, literal=True) is not None
    assert guard.judge("127.0.0.1", LOOPBACK, 9471, literal=True) is None


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "http://x", "", "a b", "*.example"])
def test_an_allow_entry_that_is_neither_network_nor_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"egress\.allow"):
        Egress((entry,))


@given(st.ip_addresses())
def test_what_is_not_public_is_never_reached_by_a_name(address) -> None:
    denied = Egress(()).judge("shop.example", address, 443, literal=True)
    assert denied is not None or unwrap(address).is_global
