"""What a hostile or broken network does to a fetch: each fault has its own, true reason."""

import asyncio
import contextlib
import datetime as dt
import os
import resource
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from core.outbound.protocol import Phase, Request, Response, Tls, Trouble
from core.reason import Reason
from tests.fakes.http_server import (
    endless,
    gzip_bomb,
    half_close,
    hang,
    raw,
    reply,
    reset,
    serving,
)
from tests.support.network import client


def get(url: str, deadline_s: float = 5.0, **more) -> Request:
    return Request("GET", url, deadline_s, **more)


async def trouble_of(answer, deadline_s: float = 5.0, **more) -> Trouble:
    async with serving(answer) as server, client() as outbound:
        outcome = await outbound.fetch(get(server.url(), deadline_s, **more))
        assert isinstance(outcome, Trouble), outcome
        assert len(server.heads) <= 1, "the request was sent again"
        return outcome


async def test_a_complete_answer_tells_its_phases_and_they_add_up() -> None:
    async with serving(reply(x_a="1")) as server, client() as outbound:
        outcome = await outbound.fetch(get(server.url()))
    assert isinstance(outcome, Response)
    assert (outcome.status, outcome.body, outcome.header("X-A")) == (200, b"Welcome", "1")
    assert Phase.TLS not in outcome.hops[0].phases
    assert sum(outcome.hops[0].phases.values()) <= outcome.elapsed_s + 0.001


async def test_every_probe_opens_its_own_connection_and_reads_may_keep_theirs() -> None:
    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reply()(reader, writer)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    for reuse, connections in ((False, 2), (True, 1)):
        async with serving(keep) as server, client() as outbound:
            for _ in range(2):
                outcome = await outbound.fetch(get(server.url(), reuse=reuse))
                assert isinstance(outcome, Response)
            assert server.connections == connections
            assert (Phase.CONNECT in outcome.hops[0].phases) is not reuse


async def test_fault_019_without_descriptors_it_is_blind_and_no_connection_stood() -> None:
    async with serving(reply()) as server, client() as outbound:
        await outbound.fetch(get(server.url()))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(int(fd.name) for fd in Path("/proc/self/fd").iterdir()) + 1
        taken = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            outcome = await outbound.fetch(get(server.url()))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in taken:
                os.close(fd)
    assert isinstance(outcome, Trouble)
    assert (outcome.reason, outcome.ours) == (Reason.DESCRIPTORS, True)
    assert not outcome.connected


async def test_fault_036_a_poisoned_name_is_stopped_by_the_guard() -> None:
    table = {"shop.example": "127.0.0.1"}
    async with serving(reply()) as server:
        async with client(table) as outbound:
            outcome = await outbound.fetch(get(server.url(host="shop.example")))
            assert isinstance(outcome, Trouble)
            assert (outcome.reason, outcome.ours) == (Reason.EGRESS, True)
        assert server.connections == 0
        async with client(table, allow=("127.0.0.0/8",)) as outbound:
            outcome = await outbound.fetch(get(server.url(host="shop.example")))
            assert isinstance(outcome, Response)
        assert f"Host: shop.example:{server.port}" in server.heads[0]


async def test_fault_038_a_drip_of_headers_or_body_ends_at_the_deadline() -> None:
    for head in (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"):
        outcome = await trouble_of(endless(head, b"x", every_s=0.02), deadline_s=0.5)
        assert (outcome.reason, outcome.ours) == (Reason.TIMEOUT, False)
        assert outcome.connected
        assert 0.4 <= outcome.elapsed_s <= 1.0
        assert Phase.CONNECT in outcome.hops[0].phases


@pytest.mark.parametrize(
    "answer",
    [
        gzip_bomb(64 << 20),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"8\r\nxxxxxxxx\r\n"),
        endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096),
    ],
    ids=["gzip bomb", "endless chunks", "endless body"],
)
async def test_fault_039_a_body_without_end_stops_at_the_decoded_cap(answer) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = await trouble_of(answer, max_body_bytes=1 << 16)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (outcome.reason, outcome.ours) == (Reason.BODY_TOO_LARGE, False)
    assert grown_kib < 8 << 10


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 OK\r\nX: " + b"a" * (10 << 20) + b"\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 10_000 + b"\r\n"),
        raw(b"HTTP/1.1 200 " + b"a" * (1 << 20) + b"\r\n\r\n"),
        endless(b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"),
        raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"),
    ],
    ids=["10 MB header", "10 k headers", "1 MB status line", "endless 103", "no HTTP", "cut short"],
)
async def test_fault_040_malformed_answers_are_a_bounded_protocol_failure(answer) -> None:
    outcome = await trouble_of(answer)
    assert (outcome.reason, outcome.ours) == (Reason.PROTOCOL, False)


async def test_fault_041_a_redirect_loop_ends_after_its_limit() -> None:
    async with serving(reply(302, location="/again")) as server, client() as outbound:
        outcome = await outbound.fetch(get(server.url(), max_redirects=5))
        assert isinstance(outcome, Trouble)
        assert outcome.reason is Reason.REDIRECTS
        assert len(outcome.hops) == len(server.heads) == 6


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", Reason.REDIRECTS),
        ("gopher://127.0.0.1/", Reason.REDIRECTS),
        ("http://user:pw@127.0.0.1/", Reason.REDIRECTS),
        ("http://127.0.0.1:1/", Reason.EGRESS),
        ("http://169.254.169.254/latest", Reason.EGRESS),
        ("http://[::ffff:10.0.0.1]/", Reason.EGRESS),
    ],
)
async def test_fault_041_a_redirect_to_where_it_must_not_go_is_refused(location, reason) -> None:
    outcome = await trouble_of(reply(302, location=location), max_redirects=5)
    assert outcome.reason is reason
    assert len(outcome.hops) == 1


async def test_fault_041_secret_headers_stay_at_their_origin() -> None:
    table = {"other.example": "127.0.0.1"}
    headers = (("X-Api-Key", "s3cret"), ("Authorization", "Bearer s3cret"), ("Accept", "*/*"))
    async with (
        serving(reply()) as other,
        client(table, allow=("127.0.0.0/8",)) as outbound,
        serving(reply(302, location=other.url(host="other.example"))) as first,
    ):
        request = get(first.url(), headers=headers, max_redirects=1)
        outcome = await outbound.fetch(request)
        assert isinstance(outcome, Response)
        assert "s3cret" in first.heads[0]
        assert "s3cret" not in other.heads[0]
        assert [hop.status for hop in outcome.hops] == [302, 200]


async def test_fault_042_reset_half_close_silence_and_refusal_have_reasons_of_their_own() -> None:
    reset_, closed = await trouble_of(reset), await trouble_of(half_close)
    silent = await trouble_of(hang, deadline_s=0.3)
    assert (reset_.reason, closed.reason) == (Reason.RESET, Reason.PROTOCOL)
    assert (silent.reason, silent.phase) == (Reason.TIMEOUT, Phase.FIRST_BYTE)
    assert Phase.CONNECT in silent.hops[0].phases
    assert reset_.connected
    assert closed.connected
    assert silent.connected
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with client() as outbound:
            refused = await outbound.fetch(get(f"http://127.0.0.1:{port}/"))
    assert isinstance(refused, Trouble)
    assert (refused.reason, refused.connected, refused.ours) == (Reason.REFUSED, False, False)
    assert set(refused.hops[0].phases) == {Phase.RESOLVE}


async def test_fault_042_a_black_hole_is_a_timeout_in_connect() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        # A full backlog drops further SYNs: connections neither stand nor are refused.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        async with client() as outbound:
            outcome = await outbound.fetch(get(f"http://127.0.0.1:{address[1]}/", 0.3))
        for filler in fillers:
            filler.close()
    assert isinstance(outcome, Trouble)
    assert (outcome.reason, outcome.phase) == (Reason.TIMEOUT, Phase.CONNECT)
    assert not outcome.connected
    assert not outcome.ours


def server_context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@pytest.fixture
def ca(tmp_path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority


async def over_tls(context, tls: Tls, host: str = "shop.example"):
    table = {"shop.example": "127.0.0.1"}
    async with (
        serving(reply(), context) as server,
        client(table, allow=("127.0.0.0/8",)) as outbound,
    ):
        outcome = await outbound.fetch(get(server.url(host=host), tls=tls))
        return outcome, server


async def test_fault_043_a_trusted_certificate_is_described(ca, tmp_path) -> None:
    leaf = ca.issue_cert("shop.example")
    outcome, _ = await over_tls(server_context(leaf), Tls(ca_file=tmp_path / "ca.pem"))
    assert isinstance(outcome, Response)
    certificate = outcome.hops[0].certificate
    assert certificate is not None
    assert certificate["trusted"] is True
    assert certificate["host_match"] is True
    assert certificate["tls_version"] == "TLSv1.3"
    assert {Phase.CONNECT, Phase.TLS} <= set(outcome.hops[0].phases)


async def test_fault_043_an_expired_certificate_keeps_its_facts_and_gets_no_request(
    ca, tmp_path
) -> None:
    leaf = ca.issue_cert(
        "shop.example",
        not_before=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        not_after=dt.datetime(2021, 1, 1, tzinfo=dt.UTC),
    )
    outcome, server = await over_tls(server_context(leaf), Tls(ca_file=tmp_path / "ca.pem"))
    assert isinstance(outcome, Trouble)
    assert (outcome.reason, outcome.ours, outcome.connected) == (Reason.TLS, False, False)
    assert "expired" in outcome.detail
    assert outcome.phase is Phase.TLS
    certificate = outcome.hops[0].certificate
    assert certificate is not None
    assert certificate["not_after"] == 1609459200.0
    assert certificate["trusted"] is False
    assert server.heads == []


async def test_fault_043_unknown_issuer_and_wrong_host_are_told_apart(ca, tmp_path) -> None:
    right, wrong = ca.issue_cert("shop.example"), ca.issue_cert("other.example")
    unknown, first = await over_tls(server_context(right), Tls())
    mismatch, second = await over_tls(server_context(wrong), Tls(ca_file=tmp_path / "ca.pem"))
    for outcome in (unknown, mismatch):
        assert isinstance(outcome, Trouble)
        assert (outcome.reason, outcome.ours) == (Reason.TLS, False)
    assert "issuer" in unknown.detail
    assert "shop.example" in mismatch.detail
    assert unknown.hops[0].certificate["trusted"] is False
    assert unknown.hops[0].certificate["host_match"] is True
    assert mismatch.hops[0].certificate["host_match"] is False
    assert first.heads == second.heads == []


async def test_fault_043_a_server_that_wants_our_certificate_is_a_tls_failure(ca, tmp_path) -> None:
    context = server_context(ca.issue_cert("shop.example"))
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 the refusal races the answer
    outcome, server = await over_tls(context, Tls(ca_file=tmp_path / "ca.pem"))
    assert isinstance(outcome, Trouble)
    assert (outcome.reason, outcome.ours, server.heads) == (Reason.TLS, False, []), outcome
    ours = ca.issue_cert("coalmine.example")
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "ours.pem"))
    pem = tmp_path / "ours.pem"
    tls = Tls(ca_file=tmp_path / "ca.pem", cert_file=pem, key_file=pem)
    outcome, _ = await over_tls(context, tls)
    assert isinstance(outcome, Response)


async def test_a_callback_that_raises_is_our_fault(monkeypatch, capfd) -> None:
    def broken(self, piece: bytes) -> int:
        raise RuntimeError("bug")

    monkeypatch.setattr("core.outbound.transfer.Transfer._on_body", broken)
    outcome = await trouble_of(reply())
    assert (outcome.reason, outcome.ours) == (Reason.INTERNAL, True)
    assert "RuntimeError" in capfd.readouterr().err


async def test_cancelling_a_fetch_leaves_nothing_in_flight() -> None:
    async with serving(hang) as server, client() as outbound:
        task = asyncio.ensure_future(outbound.fetch(get(server.url(), 20)))
        while not server.heads:
            await asyncio.wait({task}, timeout=0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert outbound._multi is not None
        assert outbound._multi.in_flight == 0


async def test_closing_the_client_ends_what_is_in_flight_as_stopped() -> None:
    async with serving(hang) as server, client() as outbound:
        task = asyncio.ensure_future(outbound.fetch(get(server.url(), 20)))
        while not server.heads:
            await asyncio.wait({task}, timeout=0.01)
        await outbound.close()
        outcome = await task
    assert isinstance(outcome, Trouble)
    assert (outcome.reason, outcome.ours) == (Reason.STOPPED, True)


async def test_a_request_on_a_kept_connection_that_died_is_not_sent_again() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reply()(reader, writer)
        await writer.drain()
        server.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())

    async with serving(once) as server, client() as outbound:
        first = await outbound.fetch(get(server.url(), reuse=True))
        second = await outbound.fetch(get(server.url(), reuse=True))
        assert isinstance(first, Response)
        assert isinstance(second, Trouble)
        assert (second.reason, second.connected) == (Reason.RESET, True)
        assert len(server.heads) == outbound.requests_sent == 2
