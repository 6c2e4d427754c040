"""What a served chain says."""

import pytest

from core.outbound.certificate import certificate_facts, host_matches

LEAF = (
    ("Subject", "CN = shop.example"),
    ("Issuer", "CN = ca"),
    ("X509v3 Subject Alternative Name", "DNS:shop.example, IP Address:192.0.2.1"),
    ("Start date", "Jan  1 00:00:00 2026 GMT"),
    ("Expire date", "Jan  1 00:00:00 2027 GMT"),
)
CA = (("Subject", "CN = ca"), ("Issuer", "CN = ca"), ("Expire date", "Jun  1 00:00:00 2026 GMT"))


@pytest.mark.parametrize(
    ("host", "san", "expected"),
    [
        ("shop.example", "DNS:shop.example", True),
        ("SHOP.example.", "DNS:shop.example", True),
        ("a.shop.example", "DNS:*.shop.example", True),
        ("a.b.shop.example", "DNS:*.shop.example", False),
        ("shop.example", "DNS:*.example", False),
        ("shop.example", "", False),
        ("192.0.2.1", "IP Address:192.0.2.1", True),
        ("192.0.2.1", "DNS:192.0.2.1", False),
        ("2001:db8::1", "IP Address:2001:DB8:0:0:0:0:0:1", True),
    ],
)
def test_a_name_covers_a_host_as_the_specification_says(host, san, expected) -> None:
    assert host_matches(host, san) is expected


def test_leaf_and_chain_expiry_are_facts_of_their_own() -> None:
    facts = certificate_facts(
        (LEAF, CA), "shop.example", 0, b"SSL connection using TLSv1.3 / X / y"
    )
    assert facts is not None
    assert facts["not_after"] == 1798761600.0
    assert facts["earliest_expiry"] == 1780272000.0
    assert (facts["trusted"], facts["host_match"], facts["self_signed"]) == (True, True, False)
    assert (facts["tls_version"], facts["cipher"]) == ("TLSv1.3", "X")


def test_what_was_not_judged_or_served_is_absent() -> None:
    assert certificate_facts((), "shop.example", 0, b"") is None
    facts = certificate_facts((CA,), "shop.example", 1, b"")
    assert facts is not None
    assert not {"trusted", "tls_version", "not_before"} & set(facts)
    assert facts["self_signed"] is True
