"""Row 26 of the conformance list: who a store is, proven by its certificate, reads and writes.

Every kind hands its options to one HTTP client: a further server of the same kind shows no more.
"""

import datetime as dt
import ssl

import pytest
import trustme

from core.reason import Reason
from selfcheck.canary.model import Sent
from tests.contracts.backends.asking import fresh_route, pairs
from tests.contracts.backends.openings import one_for_each
from tests.fakes.front import pipe
from tests.support.canaries import canary_of, question_of

PAST = {
    "not_before": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    "not_after": dt.datetime(2021, 1, 1, tzinfo=dt.UTC),
}


@pytest.fixture
def ca(tmp_path) -> trustme.CA:
    """An authority that nobody but `ca_file` trusts, and our own certificate of it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ours = authority.issue_cert("coalmine.example")
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "ours.pem"))
    return authority


def shows(leaf: trustme.LeafCert, wants: trustme.CA | None = None) -> ssl.SSLContext:
    """A server with this certificate; `wants` is whose certificates its clients have to have."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    if wants is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        wants.configure_trust(context)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 the refusal races the answer
    return context


def cases_of(ca, folder):
    """(what the server shows, our options, whether that is good enough) by name."""
    trusted = {"ca_file": str(folder / "ca.pem")}
    ours = {"cert_file": str(folder / "ours.pem"), "key_file": str(folder / "ours.pem")}
    good, wrong = ca.issue_cert("127.0.0.1"), ca.issue_cert("other.example")
    expired = ca.issue_cert("127.0.0.1", **PAST)
    off = {"insecure": "a test of what is not verified"}
    return {
        "private_ca": (shows(good), trusted, True),
        "unknown_ca": (shows(good), {}, False),
        "wrong_name": (shows(wrong), trusted, False),
        "expired": (shows(expired), trusted, False),
        "off_when_asked": (shows(wrong), off, True),
        "expired_and_off": (shows(expired), off, True),
        "client_certificate": (shows(good, ca), {**trusted, **ours}, True),
        "no_client_certificate": (shows(good, ca), trusted, False),
    }


NAMES = [
    "private_ca", "unknown_ca", "wrong_name", "expired", "off_when_asked", "expired_and_off",
    "client_certificate", "no_client_certificate",
]  # fmt: skip


@pytest.mark.parametrize("case", one_for_each(lambda one: one.kind), indirect=True)
@pytest.mark.parametrize("name", NAMES)
async def test_row_26_a_read_trusts_whom_it_was_told_to_and_nobody_else(case, ca, tmp_path, name):
    context, tls, good = cases_of(ca, tmp_path)[name]
    signal, path = pairs(case)[0]
    async with pipe(case.model().url, context) as front:
        backend = case.backend(url=front.url, tls=tls)
        reading = await backend.read(question_of(canary_of(signal, route=fresh_route())), path, 5.0)
        await backend.close()
    if good:
        assert reading.complete, reading.detail
        return
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)
    assert reading.detail
    assert front.taken == 0, "something was sent to a stranger"


@pytest.mark.parametrize("case", one_for_each(lambda one: one.inject), indirect=True)
@pytest.mark.parametrize("name", NAMES)
async def test_row_26_a_write_trusts_whom_it_was_told_to_and_nobody_else(case, ca, tmp_path, name):
    context, tls, good = cases_of(ca, tmp_path)[name]
    signal, _ = pairs(case)[0]
    behind = case.inject_options.get("url") or case.rule().url
    async with pipe(behind, context) as front:
        injector = case.injector(inject={"url": front.url, "tls": tls})
        receipt = await injector.send(canary_of(signal, route=fresh_route()), 5.0)
        await injector.close()
    if good:
        assert receipt.sent is Sent.ACCEPTED, receipt.detail
        return
    assert receipt.sent is Sent.REJECTED
    assert receipt.detail
    assert front.taken == 0, "something was sent to a stranger"
