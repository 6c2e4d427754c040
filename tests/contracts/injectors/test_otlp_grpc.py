"""OTLP over gRPC: what a receipt may say, against a real gRPC server with switchable faults.

Rows 18, 26 and 27 of the conformance list, and failure modes 5, 20, 22, 23 and 41 of canaries.
"""

import asyncio
import random
import socket
import subprocess
import sys
from dataclasses import replace

import grpc
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.egress import Egress
from core.errors import CoalmineError
from core.reason import Reason
from selfcheck import otlp
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors.otlp_grpc import OtlpGrpcInjector, OtlpGrpcOptions
from selfcheck.injectors.otlp_grpc.call import RETRYABLE, Failed, judged_failure
from tests.fakes.grpc_receiver import broken, echoes, never, receiver, refuses, says
from tests.support.canaries import canary_of
from tests.support.parts import real_parts
from tests.support.tree import ROOT


class QuickRandom(random.Random):
    """Jitter at its lower end, so that retries follow at once."""

    def uniform(self, a, b):
        return a


def options_of(url, **written):
    return OtlpGrpcOptions.model_validate({"url": url, **written})


async def receipt_at(url, tmp_path, deadline_s=3.0, signal=Signal.LOGS, **written):
    """What is known after sending one canary there."""
    async with real_parts(tmp_path, QuickRandom()) as parts:
        injector = OtlpGrpcInjector.build(options_of(url, **written), parts, None)
        try:
            return await injector.send(canary_of(signal), deadline_s)
        finally:
            await injector.close()


async def receipt_of(tmp_path, *answers, **how):
    """What is known after sending to a receiver with those answers, and the calls it got."""
    async with receiver(*answers) as server:
        receipt = await receipt_at(server.url, tmp_path, **how)
        return receipt, server.calls


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("signal", list(Signal))
async def test_an_ok_that_rejects_nothing_is_accepted_and_the_canary_arrives(
    signal, compression, tmp_path
):
    canary = canary_of(signal)
    answer = says(otlp.build_reply(signal))
    async with receiver(answer) as server, real_parts(tmp_path) as parts:
        options = options_of(server.url, compression=compression)
        injector = OtlpGrpcInjector.build(options, parts, None)
        receipt = await injector.send(canary, 3.0)
        await injector.close()
    assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.ACCEPTED, Reason.OK, 1)
    (call,) = server.calls
    assert otlp.parse_request(signal, call.body) == otlp.build_request(canary)
    assert receipt.body_bytes == len(call.body)


@pytest.mark.parametrize("host", ["[::1]", "localhost"])
async def test_other_spellings_of_the_loopback_are_dialled_as_judged(host, tmp_path):
    async with receiver(says(), host="[::1]" if host == "[::1]" else "127.0.0.1") as server:
        url = f"http://{host}:{server.origin.rpartition(':')[2]}"
        receipt = await receipt_at(url, tmp_path)
    assert receipt.sent is Sent.ACCEPTED
    assert len(server.calls) == 1


async def test_no_bytes_are_a_valid_answer(tmp_path):
    receipt, _ = await receipt_of(tmp_path, says(b""))
    assert receipt.sent is Sent.ACCEPTED


async def test_mode_20_partial_success_is_rejected_with_its_words_and_never_retried(tmp_path):
    answer = says(otlp.build_reply(Signal.LOGS, 1, "line too long"))
    receipt, calls = await receipt_of(tmp_path, answer)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.PARTIAL_SUCCESS)
    assert "line too long" in receipt.detail
    assert len(calls) == 1


async def test_a_message_without_rejections_is_accepted_with_the_message(tmp_path):
    receipt, _ = await receipt_of(tmp_path, says(otlp.build_reply(Signal.LOGS, 0, "use 4318")))
    assert (receipt.sent, receipt.detail) == (Sent.ACCEPTED, "use 4318")


async def test_bytes_that_are_no_otlp_answer_are_rejected(tmp_path):
    receipt, calls = await receipt_of(tmp_path, says(b"\xff\xff\xff"))
    assert (receipt.sent, receipt.reason, len(calls)) == (Sent.REJECTED, Reason.NOT_OTLP, 1)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "ABORTED", "OUT_OF_RANGE", "DATA_LOSS"])
async def test_a_retryable_status_is_tried_again_under_the_same_deadline(code, tmp_path):
    receipt, calls = await receipt_of(tmp_path, refuses(code, "not now"), says())
    assert (receipt.sent, receipt.first_try) == (Sent.ACCEPTED, Sent.REJECTED)
    assert (receipt.tries, len(calls)) == (2, 2)


@pytest.mark.parametrize("code", ["CANCELLED", "DEADLINE_EXCEEDED"])
async def test_a_receiver_that_gave_up_may_have_taken_it(code, tmp_path):
    answers = (refuses(code), refuses("INVALID_ARGUMENT", "no"))
    receipt, calls = await receipt_of(tmp_path, *answers)
    assert (receipt.sent, receipt.first_try) == (Sent.MAYBE, Sent.MAYBE)
    assert (receipt.silent, len(calls)) == (False, 2)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("UNAUTHENTICATED", Reason.AUTH),
        ("PERMISSION_DENIED", Reason.AUTH),
        ("RESOURCE_EXHAUSTED", Reason.THROTTLED),
        ("UNIMPLEMENTED", Reason.NOT_OTLP),
        ("INVALID_ARGUMENT", Reason.INJECT),
        ("INTERNAL", Reason.INJECT),
        ("UNKNOWN", Reason.INJECT),
    ],
)
async def test_a_status_that_must_not_be_retried_is_final(code, reason, tmp_path):
    receipt, calls = await receipt_of(tmp_path, refuses(code, "no"), says())
    assert (receipt.sent, receipt.reason, len(calls)) == (Sent.REJECTED, reason, 1)
    assert receipt.detail == f"{code} no"


@pytest.mark.parametrize("own", [False, True], ids=["in_status", "as_trailer"])
@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE"])
async def test_a_wait_that_fits_is_kept_and_one_beyond_the_deadline_is_throttling(
    code, own, tmp_path
):
    waits = (refuses(code, "full", 0.4, own), says())
    receipt, _ = await receipt_of(tmp_path, *waits)
    assert (receipt.sent, receipt.tries) == (Sent.ACCEPTED, 2)
    assert receipt.elapsed_s >= 0.4
    receipt, calls = await receipt_of(tmp_path, refuses(code, "full", 60.0, own), says())
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.THROTTLED)
    assert len(calls) == 1


async def test_three_tries_are_all(tmp_path):
    receipt, calls = await receipt_of(tmp_path, refuses("UNAVAILABLE"))
    assert (receipt.sent, receipt.tries, len(calls)) == (Sent.REJECTED, 3, 3)


def closed_port():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()[1]


async def test_a_port_that_refuses_is_rejected(tmp_path):
    receipt = await receipt_at(f"http://127.0.0.1:{closed_port()}", tmp_path)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.REFUSED)
    assert (receipt.tries, receipt.silent) == (3, False)


async def test_a_port_that_lets_nobody_in_is_rejected_as_never_connected(tmp_path):
    """A full backlog drops the handshake, as a packet filter that drops does."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        receipt = await receipt_at(url, tmp_path, deadline_s=0.5)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.TIMEOUT)
    assert not receipt.silent


@pytest.mark.parametrize("place", ["mute", "deaf"])
async def test_accepted_and_silent_is_unknown_and_says_so(place, tmp_path):
    async with broken(place) as server:
        receipt = await receipt_at(server.url, tmp_path, deadline_s=0.5)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.MAYBE_SENT)
    assert receipt.silent
    assert receipt.elapsed_s < 1.5


@pytest.mark.parametrize(("compression", "flag"), [("none", 0), ("gzip", 1)])
async def test_gzip_is_what_leaves_when_it_is_asked_for(compression, flag, tmp_path):
    async with broken("deaf") as server:
        await receipt_at(server.url, tmp_path, deadline_s=0.5, compression=compression)
    assert server.compressed == [flag]


async def test_a_port_that_hangs_up_before_any_request_is_rejected(tmp_path):
    async with broken("hangs_up") as server:
        receipt = await receipt_at(server.url, tmp_path)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.PROTOCOL)
    assert receipt.tries == 3


@pytest.mark.parametrize("place", ["before_body", "after_body", "resets"])
async def test_mode_05_a_connection_that_breaks_after_the_request_proves_nothing(place, tmp_path):
    async with broken(place) as server:
        receipt = await receipt_at(server.url, tmp_path)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.MAYBE_SENT)
    assert not receipt.silent


async def test_mode_22_every_try_of_a_lost_answer_is_counted(tmp_path):
    """As many copies may be stored as there were tries: both results are kept."""
    async with broken("after_body") as server:
        receipt = await receipt_at(server.url, tmp_path)
    assert receipt.tries == server.requests == 3
    assert receipt.first_try is Sent.MAYBE


async def test_a_web_server_is_no_receiver(tmp_path):
    async with broken("page") as server:
        receipt = await receipt_at(server.url, tmp_path)
    assert (receipt.sent, receipt.tries) == (Sent.REJECTED, 3)
    assert "502" in receipt.detail
    async with broken("login") as server:
        receipt = await receipt_at(server.url, tmp_path)
    assert receipt.sent is not Sent.ACCEPTED


async def test_mode_23_a_call_that_hangs_holds_no_other(tmp_path):
    """Each send has its own deadline; they share the connection and nothing else."""
    async with receiver(never, says()) as server, real_parts(tmp_path) as parts:
        injector = OtlpGrpcInjector.build(options_of(server.url), parts, None)
        hanging = asyncio.create_task(injector.send(canary_of(Signal.LOGS, 1), 2.0))
        while not server.calls:
            await asyncio.sleep(0.01)
        quick = await injector.send(canary_of(Signal.LOGS, 2), 2.0)
        assert quick.sent is Sent.ACCEPTED
        assert not hanging.done()
        assert (await hanging).silent
        await injector.close()


async def test_canaries_at_the_same_time_are_all_sent_however_many_connect(tmp_path):
    async with receiver(says()) as server, real_parts(tmp_path) as parts:
        injector = OtlpGrpcInjector.build(options_of(server.url), parts, None)
        sends = [injector.send(canary_of(Signal.LOGS, seq), 5.0) for seq in range(1, 21)]
        receipts = await asyncio.gather(*sends)
        again = await injector.send(canary_of(Signal.LOGS, 21), 5.0)
        await injector.close()
    assert {receipt.sent for receipt in (*receipts, again)} == {Sent.ACCEPTED}
    assert len({call.body for call in server.calls}) == len(server.calls) == 21


async def test_canaries_at_the_same_time_that_connect_in_vain_end_each_by_its_own_deadline(
    tmp_path,
):
    async with broken("mute") as server, real_parts(tmp_path) as parts:
        injector = OtlpGrpcInjector.build(options_of(server.url), parts, None)
        deadlines = (0.3, 0.6, 0.9)
        sends = [injector.send(canary_of(Signal.LOGS, 1), each) for each in deadlines]
        receipts = await asyncio.gather(*sends)
        await injector.close()
    assert [(one.sent, one.silent) for one in receipts] == [(Sent.MAYBE, True)] * 3
    for receipt, deadline_s in zip(receipts, deadlines, strict=True):
        assert deadline_s <= receipt.elapsed_s < deadline_s + 0.8


async def test_a_receiver_that_comes_back_is_reached_at_once(tmp_path):
    """No wait of gRPC's own after a failed connect stands between two canaries."""
    async with real_parts(tmp_path, QuickRandom()) as parts:
        async with receiver(says()) as server:
            injector = OtlpGrpcInjector.build(options_of(server.url), parts, None)
            assert (await injector.send(canary_of(Signal.LOGS), 3.0)).sent is Sent.ACCEPTED
            port = int(server.origin.rpartition(":")[2])
        # What was on the old connection as it ended may have arrived, for all that anybody knows.
        assert (await injector.send(canary_of(Signal.LOGS), 3.0)).sent is not Sent.ACCEPTED
        async with receiver(says(), port=port):
            receipt = await injector.send(canary_of(Signal.LOGS), 3.0)
            assert (receipt.sent, receipt.tries) == (Sent.ACCEPTED, 1)
        await injector.close()


async def test_no_time_to_try_is_our_own_doing(tmp_path):
    receipt = await receipt_at("http://127.0.0.1:1", tmp_path, deadline_s=-1.0)
    assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.MAYBE, Reason.HARNESS, 0)


# -- who may be spoken to, and with what


async def test_what_the_guard_denies_is_never_dialled_and_never_called_a_rejection(tmp_path):
    receipt = await receipt_at("http://169.254.169.254:4317", tmp_path, deadline_s=1.0)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.EGRESS)


async def test_our_own_listener_is_denied(tmp_path):
    async with receiver(says()) as server, real_parts(tmp_path) as parts:
        host, _, port = server.origin.partition(":")
        guarded = replace(parts, egress=Egress((), own=((host, int(port)),)))
        injector = OtlpGrpcInjector.build(options_of(server.url), guarded, None)
        receipt = await injector.send(canary_of(Signal.LOGS), 1.0)
        await injector.close()
        assert (receipt.sent, receipt.reason, server.calls) == (Sent.MAYBE, Reason.EGRESS, [])


async def test_no_proxy_of_the_host_stands_between(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{closed_port()}")
    receipt, _ = await receipt_of(tmp_path, says())
    assert receipt.sent is Sent.ACCEPTED


async def test_mode_41_tenant_headers_and_credentials_are_metadata(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "t0ken")
    written = {
        "tenant": "team-a",
        "headers": {"X-Extra": "yes"},
        "auth": {"bearer": "env:TOKEN"},
        "compression": "gzip",
    }
    _, (call,) = await receipt_of(tmp_path, says(), **written)
    told = {key: call.metadata[key] for key in ("x-scope-orgid", "x-extra", "authorization")}
    assert told == {"x-scope-orgid": "team-a", "x-extra": "yes", "authorization": "Bearer t0ken"}
    assert call.method.endswith("LogsService/Export")


async def test_mode_41_a_token_is_read_again_for_each_canary(tmp_path):
    token = tmp_path / "token"
    token.write_text("one")
    async with receiver(says()) as server, real_parts(tmp_path) as parts:
        options = options_of(server.url, auth={"bearer_file": str(token)})
        injector = OtlpGrpcInjector.build(options, parts, None)
        await injector.send(canary_of(Signal.LOGS, 1), 3.0)
        token.write_text("two")
        await injector.send(canary_of(Signal.LOGS, 2), 3.0)
        token.unlink()
        gone = await injector.send(canary_of(Signal.LOGS, 3), 3.0)
        await injector.close()
    assert [call.metadata["authorization"] for call in server.calls] == ["Bearer one", "Bearer two"]
    assert (gone.sent, gone.reason) == (Sent.REJECTED, Reason.AUTH)


async def test_a_secret_that_the_receiver_repeats_is_not_in_the_receipt(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "t0ken")
    written = {"auth": {"bearer": "env:TOKEN"}}
    receipt, _ = await receipt_of(tmp_path, echoes("authorization"), **written)
    assert "did not like" in receipt.detail
    assert "t0ken" not in repr(receipt)


async def test_a_secret_that_grpc_cannot_carry_is_not_told(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "t0ken\nsecond line")
    receipt, calls = await receipt_of(tmp_path, says(), auth={"bearer": "env:TOKEN"})
    assert (receipt.sent, receipt.reason, calls) == (Sent.REJECTED, Reason.AUTH, [])
    assert "t0ken" not in repr(receipt)


async def test_a_signal_that_the_receiver_does_not_take_is_rejected_unsent(tmp_path):
    async with receiver(says()) as server, real_parts(tmp_path) as parts:
        rule = WriteRule(server.url, {Signal.TRACES: ""}, frozenset(), False, (("X-Own", "1"),))
        injector = OtlpGrpcInjector.build(options_of(""), parts, rule)
        logs = await injector.send(canary_of(Signal.LOGS), 3.0)
        traces = await injector.send(canary_of(Signal.TRACES), 3.0)
        await injector.close()
    assert (logs.sent, logs.reason, traces.sent) == (Sent.REJECTED, Reason.INJECT, Sent.ACCEPTED)
    assert [call.metadata["x-own"] for call in server.calls] == ["1"]


async def test_neither_an_address_nor_a_backend_is_an_error(tmp_path):
    async with real_parts(tmp_path) as parts:
        with pytest.raises(CoalmineError):
            OtlpGrpcInjector.build(options_of(""), parts, None)


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ({"tls": {"insecure": "lab"}, "url": "https://a:4317"}, "cannot skip verification"),
        ({"tls": {"ca_file": "x"}, "url": "http://a:4317"}, "https"),
        ({"url": "http://a"}, "port"),
        ({"url": "http://a:4317/v1/logs"}, "path"),
        ({"url": "http://me:pw@a:4317"}, "auth"),
        ({"url": "http://a:4317", "headers": {"x-bin": "1"}}, "x-bin"),
        ({"url": "http://a:4317", "headers": {"grpc-timeout": "1"}}, "grpc-timeout"),
        ({"url": "a:4317"}, "pattern"),
    ],
)
def test_what_grpc_cannot_do_is_a_config_error(written, word):
    with pytest.raises(ValidationError, match=word):
        OtlpGrpcOptions.model_validate(written)


# -- TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def files_of(folder, ca, client=None):
    ca.cert_pem.write_to_path(folder / "ca.pem")
    written = {"ca_file": "ca.pem"}
    if client is not None:
        client.private_key_pem.write_to_path(folder / "key.pem")
        client.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        written |= {"cert_file": "cert.pem", "key_file": "key.pem"}
    return written


def server_side(ca, name, clients=None):
    issued = ca.issue_cert(name)
    pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    roots = None if clients is None else clients.cert_pem.bytes()
    return grpc.ssl_server_credentials([pair], roots, clients is not None)


async def over_tls(tmp_path, credentials, host, tls):
    async with receiver(says(), credentials=credentials) as server:
        port = server.origin.rpartition(":")[2]
        receipt = await receipt_at(f"https://{host}:{port}", tmp_path, tls=tls)
        return receipt, server.calls


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_private_authority_is_trusted_when_it_is_given(authority, host, tmp_path):
    receipt, calls = await over_tls(
        tmp_path, server_side(authority, host), host, files_of(tmp_path, authority)
    )
    assert (receipt.sent, len(calls)) == (Sent.ACCEPTED, 1)


@pytest.mark.parametrize("mistake", ["authority", "name"])
async def test_a_certificate_that_does_not_verify_is_rejected(authority, mistake, tmp_path, capfd):
    name = "elsewhere.example" if mistake == "name" else "localhost"
    tls = None if mistake == "authority" else files_of(tmp_path, authority)
    receipt, calls = await over_tls(tmp_path, server_side(authority, name), "localhost", tls)
    assert (receipt.sent, receipt.reason, calls) == (Sent.REJECTED, Reason.TLS, [])
    assert not receipt.silent


async def test_our_certificate_is_shown_to_a_receiver_that_asks(authority, tmp_path):
    credentials = server_side(authority, "localhost", clients=authority)
    ours = authority.issue_cert("client.example")
    tls = files_of(tmp_path, authority, ours)
    receipt, _ = await over_tls(tmp_path, credentials, "localhost", tls)
    assert receipt.sent is Sent.ACCEPTED
    tls = files_of(tmp_path, authority)
    receipt, calls = await over_tls(tmp_path, credentials, "localhost", tls)
    assert (receipt.sent, receipt.reason, calls) == (Sent.REJECTED, Reason.TLS, [])


async def test_a_certificate_file_that_is_gone_is_our_own_doing(authority, tmp_path):
    credentials = server_side(authority, "localhost")
    receipt, _ = await over_tls(tmp_path, credentials, "localhost", {"ca_file": "nowhere.pem"})
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.TLS)


async def test_plaintext_to_a_receiver_of_tls_is_rejected(authority, tmp_path):
    async with receiver(says(), credentials=server_side(authority, "localhost")) as server:
        receipt = await receipt_at(server.url, tmp_path)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.PROTOCOL)


# -- the pure part, and what loading costs


CODES = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
waits = st.one_of(st.none(), st.floats(0.001, 1e6))


@given(st.sampled_from(CODES), st.booleans(), waits)
def test_only_the_receivers_own_word_is_a_rejection_and_only_the_listed_codes_are_retried(
    code, own_word, wait_s
):
    attempt = judged_failure(Failed(code, "why", own_word, wait_s))
    exhausted = code == "RESOURCE_EXHAUSTED" and wait_s is not None
    assert attempt.retry == (code in RETRYABLE or exhausted)
    proven = own_word and code not in {"CANCELLED", "DEADLINE_EXCEEDED"}
    assert (attempt.sent is Sent.REJECTED) == proven
    assert attempt.left is not proven
    assert not attempt.silent


def test_the_library_is_loaded_only_when_such_an_injector_is_built():
    code = (
        "import sys, selfcheck.injectors.otlp_grpc as kind;"
        "assert 'grpc' not in sys.modules; kind.OtlpGrpcOptions(url='http://127.0.0.1:4317');"
        "assert 'grpc' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=30)


SENDER = """
import asyncio, sys
from pathlib import Path
from selfcheck.canary.model import Signal
from selfcheck.injectors.otlp_grpc import OtlpGrpcInjector, OtlpGrpcOptions
from tests.support.canaries import canary_of
from tests.support.parts import real_parts

async def main(url, folder):
    async with real_parts(Path(folder)) as parts:
        options = OtlpGrpcOptions.model_validate({"url": url})
        injector = OtlpGrpcInjector.build(options, parts, None)
        print((await injector.send(canary_of(Signal.LOGS), 3.0)).sent)
        await injector.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_failed_handshake_prints_nothing(tmp_path):
    """gRPC's core reads its verbosity when it is loaded: as in the service, by building the kind.

    In a process of its own, which has not loaded it before, what it writes to stderr can be seen.
    """
    credentials = server_side(trustme.CA(), "localhost")
    async with receiver(says(), credentials=credentials) as server:
        url = f"https://localhost:{server.origin.rpartition(':')[2]}"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SENDER, url, str(tmp_path), cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert await child.communicate() == (b"rejected\n", b"")
