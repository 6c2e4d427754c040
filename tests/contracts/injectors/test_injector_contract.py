"""What an injector that posts may call accepted, rejected or unknown: over every one registered.

Row 18 of the conformance list and faults 50 and 51: success is the receiver's declared status and
a parsable answer, nothing else.
"""

import asyncio
import random
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import CoalmineError
from core.kinds import Parts
from core.outbound.protocol import Trouble
from core.reason import Reason
from selfcheck.backends.protocol import BACKENDS, WriteRule
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors.posting import PostingInjector
from selfcheck.injectors.protocol import INJECTORS
from tests.contracts.injectors.dialect import Said
from tests.contracts.injectors.known import DIALECTS, speaking
from tests.fakes.hostile import hostile, reset, silence
from tests.support.canaries import canary_of
from tests.support.clock import VirtualClock
from tests.support.parts import real_parts

TOKEN = "t0ken-of-somebody"


class QuickRandom(random.Random):
    """Jitter at its lower end, so that retries follow at once."""

    def uniform(self, a, b):
        return a


def built(dialect, parts, url="", rule=None, **options):
    kind = INJECTORS.load(dialect.kind)
    written = {"url": url, **dialect.options, **options}
    return kind.build(kind.options_model.model_validate(written), parts, rule)


async def receipt_of(dialect, tmp_path, *answers, deadline_s=3.0, signal=None, rule=None):
    """What is known after sending to a receiver with those answers, and the requests it got."""
    async with real_parts(tmp_path, QuickRandom()) as parts, hostile(*answers) as server:
        if rule is not None:
            rule = replace(rule, url=server.url)
        injector = built(dialect, parts, "" if rule else server.url, rule)
        receipt = await injector.send(canary_of(signal or dialect.signal), deadline_s)
        await injector.close()
        return receipt, server.requests


def test_every_kind_has_a_dialect_or_tests_of_its_own():
    """One that posts speaks a dialect; any other has a file of its name beside this one."""
    for kind in INJECTORS.entries:
        if issubclass(INJECTORS.load(kind), PostingInjector):
            assert kind in {one.kind for one in DIALECTS.values()}, kind
        else:
            assert Path(__file__).with_name(f"test_{kind}.py").is_file(), kind


def test_every_kind_says_what_its_receipts_stand_on():
    for kind in INJECTORS.entries:
        declared = INJECTORS.load(kind)
        assert set(declared.says) == set(Sent), kind
        assert declared.source, kind
        assert declared.proved, kind
        assert declared.unstamped <= declared.signals, kind


def test_a_dialect_has_words_for_every_signal_of_its_kind(dialect):
    kind = INJECTORS.load(dialect.kind)
    assert set(dialect.yes) == set(kind.signals) == set(kind.other_receiver.paths)
    assert (dialect.partial is None) == bool(dialect.whole)


async def test_a_declared_status_with_a_parsable_answer_is_accepted(dialect, tmp_path):
    for signal, answers in dialect.yes.items():
        for said in answers:
            receipt, _ = await receipt_of(dialect, tmp_path, said.answer, signal=signal)
            assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.ACCEPTED, Reason.OK, 1)
            assert receipt.body_bytes > 0
            assert receipt.silent is False


async def test_fault_050_what_is_no_answer_of_the_receiver_is_rejected(dialect, tmp_path):
    for name, (said, reason) in dialect.no.items():
        receipt, requests = await receipt_of(dialect, tmp_path, said.answer)
        assert (receipt.sent, receipt.reason) == (Sent.REJECTED, reason), name
        assert (receipt.tries, len(requests)) == (1, 1), name


@pytest.mark.parametrize("name", sorted(name for name, one in DIALECTS.items() if one.partial))
async def test_fault_051_partial_success_with_rejections_is_rejected_and_never_retried(
    name, tmp_path
):
    receipt, requests = await receipt_of(DIALECTS[name], tmp_path, DIALECTS[name].partial.answer)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.PARTIAL_SUCCESS)
    assert "line too long" in receipt.detail
    assert len(requests) == 1


@pytest.mark.parametrize("name", sorted(name for name, one in DIALECTS.items() if one.remark))
async def test_fault_051_a_message_without_rejections_is_accepted_with_the_message(name, tmp_path):
    receipt, _ = await receipt_of(DIALECTS[name], tmp_path, DIALECTS[name].remark.answer)
    assert (receipt.sent, receipt.detail) == (Sent.ACCEPTED, "use the other port")


async def test_mode_20_a_yes_that_is_none_is_rejected_with_what_was_said(dialect, tmp_path):
    """Accepted and dropped would end as lost; said and dropped is a refusal with its reason."""
    refusals = [said for said, _ in dialect.no.values()]
    refusals += [dialect.partial] if dialect.partial else [Said(400, b"line too long")]
    for said in refusals:
        receipt, _ = await receipt_of(dialect, tmp_path, said.answer, dialect.accepted.answer)
        assert receipt.sent is Sent.REJECTED
        assert receipt.detail


@pytest.mark.parametrize("status", [400, 404, 413, 500])
async def test_a_status_that_must_not_be_retried_is_final(dialect, status, tmp_path):
    no = Said(status, b"because of its size")
    receipt, requests = await receipt_of(dialect, tmp_path, no.answer, dialect.accepted.answer)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
    assert "because of its size" in receipt.detail
    assert len(requests) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_retryable_status_is_tried_again_under_the_same_deadline(dialect, status, tmp_path):
    yes = dialect.accepted.answer
    receipt, requests = await receipt_of(dialect, tmp_path, Said(status).answer, yes)
    assert (receipt.sent, receipt.first_try) == (Sent.ACCEPTED, Sent.REJECTED)
    assert (receipt.tries, len(requests)) == (2, 2)


async def test_three_tries_are_all(dialect, tmp_path):
    receipt, requests = await receipt_of(dialect, tmp_path, Said(503).answer)
    assert (receipt.sent, receipt.tries, len(requests)) == (Sent.REJECTED, 3, 3)


async def test_a_wait_beyond_the_deadline_is_throttling(dialect, tmp_path):
    answer = Said(503, b"", {"Retry-After": "60"}).answer
    receipt, requests = await receipt_of(dialect, tmp_path, answer, dialect.accepted.answer)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.THROTTLED)
    assert len(requests) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_credentials_that_are_refused_are_rejected_as_auth(dialect, status, tmp_path):
    receipt, requests = await receipt_of(dialect, tmp_path, Said(status).answer)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.AUTH)
    assert len(requests) == 1


async def test_a_port_that_refuses_is_rejected(dialect, tmp_path):
    async with real_parts(tmp_path, QuickRandom()) as parts:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        receipt = await built(dialect, parts, url).send(canary_of(dialect.signal), 3.0)
        assert (receipt.sent, receipt.tries, receipt.silent) == (Sent.REJECTED, 3, False)


async def test_accepted_and_silent_is_unknown_and_says_so(dialect, tmp_path):
    receipt, _ = await receipt_of(dialect, tmp_path, silence, deadline_s=0.5)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.MAYBE_SENT)
    assert receipt.silent
    assert receipt.elapsed_s < 1.5


async def test_a_reset_after_the_request_stays_possible_even_when_a_retry_is_refused(
    dialect, tmp_path
):
    receipt, requests = await receipt_of(dialect, tmp_path, reset, Said(400, b"no").answer)
    assert receipt.sent is Sent.MAYBE
    assert len(requests) == 2


async def test_mode_22_a_reset_and_then_an_acceptance_keeps_both_results(dialect, tmp_path):
    """The first try may be stored too: under one id, so that copies up to `tries` are no news."""
    receipt, _ = await receipt_of(dialect, tmp_path, reset, dialect.accepted.answer)
    assert (receipt.sent, receipt.first_try, receipt.tries) == (Sent.ACCEPTED, Sent.MAYBE, 2)


@asynccontextmanager
async def slamming():
    """A server that takes connections and resets them before it reads a byte."""

    def slam(_reader, writer):
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    server = await asyncio.start_server(slam, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def test_a_reset_before_the_request_was_read_proves_nothing_and_is_tried_again(
    dialect, tmp_path
):
    """From here it cannot be told from one that came after the request was taken."""
    async with real_parts(tmp_path, QuickRandom()) as parts, slamming() as url:
        receipt = await built(dialect, parts, url).send(canary_of(dialect.signal), 3.0)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.MAYBE_SENT)
    assert (receipt.tries, receipt.silent) == (3, False)


async def test_mode_23_one_stuck_write_holds_nobody_else_up(dialect, tmp_path):
    async with (
        real_parts(tmp_path) as parts,
        hostile(silence) as stuck,
        hostile(dialect.accepted.answer) as well,
    ):
        slow = asyncio.create_task(
            built(dialect, parts, stuck.url).send(canary_of(dialect.signal), 1.0)
        )
        others = [
            await built(dialect, parts, well.url).send(canary_of(dialect.signal, seq), 1.0)
            for seq in range(1, 11)
        ]
        assert not slow.done()
        assert {one.sent for one in others} == {Sent.ACCEPTED}
        assert (await slow).silent


def _rules():
    for name, dialect in sorted(DIALECTS.items()):
        for kind in sorted(BACKENDS.entries):
            adapter = BACKENDS.load(kind)
            written = {"url": "http://127.0.0.1:1"}
            if "write_url" in adapter.options_model.model_fields:
                written["write_url"] = written["url"]
            rules = adapter.write_rules(adapter.options_model.model_validate(written))
            if dialect.kind in rules:
                yield pytest.param(dialect, rules[dialect.kind], id=f"{name}-{kind}")


@pytest.mark.parametrize(("dialect", "rule"), list(_rules()))
async def test_a_backends_own_rule_decides_what_it_accepts(dialect, rule, tmp_path):
    signal = min(rule.paths)
    for status in (200, 202, 204):
        said = next((one for one in dialect.yes[signal] if one.status == status), Said(status))
        bare = Said(status, b"", {k: v for k, v in said.headers.items() if k != "Content-Type"})
        receipt, requests = await receipt_of(
            dialect, tmp_path, bare.answer, signal=signal, rule=rule
        )
        fine = status in rule.accepted_status and rule.empty_body
        assert receipt.sent is (Sent.ACCEPTED if fine else Sent.REJECTED), status
        assert f" {rule.paths[signal]}" in requests[0]


async def test_a_signal_that_the_receiver_does_not_take_is_rejected_unsent(dialect, tmp_path):
    rule = WriteRule("", {}, frozenset({200}), empty_body=False)
    yes = dialect.accepted.answer
    receipt, requests = await receipt_of(dialect, tmp_path, yes, rule=rule)
    assert (receipt.sent, receipt.reason, requests) == (Sent.REJECTED, Reason.INJECT, [])


async def test_neither_an_address_nor_a_backend_is_an_error(dialect, tmp_path):
    async with real_parts(tmp_path) as parts:
        with pytest.raises(CoalmineError):
            built(dialect, parts)


class Recorder:
    """An HTTP client that answers from a list and keeps what it was asked, without a network."""

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), []

    async def fetch(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request) if callable(answer) else answer

    async def close(self):
        pass


def recorded(dialect, tmp_path, *answers, **options):
    """An injector on virtual time, its client and its clock."""
    outbound, clock = Recorder(*answers), VirtualClock()
    parts = Parts(outbound, clock, random.Random(3), tmp_path, tmp_path, "ab12cd34", "tests")
    url = "http://127.0.0.1:4318/"
    return built(dialect, parts, url, **options), outbound, clock


async def test_pauses_double_with_full_jitter_and_the_rest_of_the_deadline_is_passed_on(
    dialect, tmp_path
):
    no, yes = Said(503).response, dialect.accepted.response
    injector, outbound, clock = recorded(dialect, tmp_path, no, no, yes)
    task = asyncio.create_task(injector.send(canary_of(dialect.signal), 10.0))
    await clock.advance(1.5)
    assert task.done(), "pauses of at most 0.5 s and 1 s"
    deadlines = [request.deadline_s for request in outbound.requests]
    assert deadlines[0] == 10.0
    assert deadlines[0] > deadlines[1] > deadlines[2] >= 8.5
    assert (await task).sent is Sent.ACCEPTED


async def test_a_wait_that_fits_is_kept_to_the_second(dialect, tmp_path):
    no, yes = Said(429, b"", {"Retry-After": "4"}).response, dialect.accepted.response
    injector, outbound, clock = recorded(dialect, tmp_path, no, yes)
    task = asyncio.create_task(injector.send(canary_of(dialect.signal), 10.0))
    await clock.advance(3.9)
    assert len(outbound.requests) == 1
    await clock.advance(0.2)
    assert (await task).sent is Sent.ACCEPTED


async def test_our_own_trouble_is_never_called_a_rejection(dialect, tmp_path):
    ours = Trouble(Reason.DESCRIPTORS, "no descriptors", True, False, None, (), 0.0)
    injector, _, clock = recorded(dialect, tmp_path, ours)
    task = asyncio.create_task(injector.send(canary_of(dialect.signal), 10.0))
    await clock.advance(5)
    receipt = await task
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.DESCRIPTORS)


async def test_no_time_is_no_try(dialect, tmp_path):
    injector, outbound, _ = recorded(dialect, tmp_path, dialect.accepted.response)
    receipt = await injector.send(canary_of(dialect.signal), 0.0)
    assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.MAYBE, Reason.HARNESS, 0)
    assert outbound.requests == []


async def test_mode_06_while_the_endpoint_refuses_every_canary_is_rejected_for_ten_minutes(
    dialect, tmp_path
):
    refused = Trouble(Reason.REFUSED, "connection refused", False, False, None, (), 0.0)
    injector, _, clock = recorded(dialect, tmp_path, refused)
    for seq in range(1, 61):
        task = asyncio.create_task(injector.send(canary_of(dialect.signal, seq), 10.0))
        await clock.advance(10)
        receipt = await task
        assert (receipt.sent, receipt.reason, receipt.silent) == (
            Sent.REJECTED, Reason.REFUSED, False,
        )  # fmt: skip


async def test_the_request_carries_the_canary_and_nothing_of_another(dialect, tmp_path):
    for signal, (said, *_) in dialect.yes.items():
        injector, outbound, _ = recorded(dialect, tmp_path, said.response)
        for seq in (1, 2):
            canary = canary_of(signal, seq)
            receipt = await injector.send(canary, 10.0)
            request = outbound.requests[-1]
            seen = dialect.parse(signal, request)
            assert request.method == dialect.method
            assert receipt.body_bytes == len(request.body)
            assert seen.canary_id in {None, canary.canary_id}
            stamp_ns = canary.stamp_ns // dialect.precision_ns * dialect.precision_ns
            assert seen.stamp_ns in {None, stamp_ns}
            assert seen.trace_id in {None, canary.trace_id.hex()}
            assert seen.body in {None, canary.body}
            assert seen.value in {None, canary.value}
            unstamped = signal in INJECTORS.load(dialect.kind).unstamped
            assert unstamped == (seen.stamp_ns is None)
            proofs = (seen.canary_id, seen.value) if unstamped else (seen.canary_id,)
            assert any(proof is not None for proof in proofs)


@pytest.mark.parametrize("name", [*speaking(Signal.METRICS), "loki_push"])
async def test_mode_39_neither_id_nor_number_of_a_canary_is_a_label(name, tmp_path):
    """A thousand canaries of a route are one series, or one stream."""
    dialect = DIALECTS[name]
    signal = Signal.METRICS if Signal.METRICS in dialect.yes else Signal.LOGS
    injector, outbound, _ = recorded(dialect, tmp_path, dialect.yes[signal][0].response)
    found = set()
    for seq in range(1, 1001):
        canary = canary_of(signal, seq, epoch=7 + seq // 500)
        await injector.send(canary, 10.0)
        series = dialect.parse(signal, outbound.requests.pop()).series
        found.add(tuple(sorted(series.items())))
        assert canary.canary_id not in series.values()
    assert len(found) == 1


@pytest.mark.parametrize("name", speaking(Signal.METRICS))
async def test_two_routes_of_one_installation_are_two_series(name, tmp_path):
    dialect = DIALECTS[name]
    said = dialect.yes[Signal.METRICS][0].response
    injector, outbound, _ = recorded(dialect, tmp_path, said)
    for route in ("r1", "r2"):
        await injector.send(canary_of(Signal.METRICS, route=route), 10.0)
    one, two = (dialect.parse(Signal.METRICS, sent).series for sent in outbound.requests)
    assert one != two


async def test_the_request_carries_tenant_and_credentials_at_the_receivers_address(
    dialect, tmp_path, monkeypatch
):
    monkeypatch.setenv("TOKEN", TOKEN)
    injector, outbound, _ = recorded(
        dialect,
        tmp_path,
        dialect.accepted.response,
        tenant="team-a",
        headers={"X-More": "1"},
        auth={"bearer": "env:TOKEN"},
    )
    receipt = await injector.send(canary_of(dialect.signal), 10.0)
    (request,) = outbound.requests
    headers = dict(request.headers)
    assert receipt.sent is Sent.ACCEPTED
    assert headers["X-Scope-OrgID"] == "team-a"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["X-More"] == "1"
    path = INJECTORS.load(dialect.kind).other_receiver.paths[dialect.signal]
    assert request.url.startswith(f"http://127.0.0.1:4318{path}")


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, one in DIALECTS.items()
        if "compression" in INJECTORS.load(one.kind).options_model.model_fields
    ),
)
async def test_what_is_compressed_is_said_to_be_and_can_be_read(name, tmp_path):
    dialect = DIALECTS[name]
    yes = dialect.accepted.response
    injector, outbound, _ = recorded(dialect, tmp_path, yes, compression="gzip")
    canary = canary_of(dialect.signal)
    await injector.send(canary, 10.0)
    (request,) = outbound.requests
    assert dict(request.headers)["Content-Encoding"] == "gzip"
    assert request.body[:2] == b"\x1f\x8b"
    assert dialect.parse(dialect.signal, request).canary_id == canary.canary_id


async def test_secrets_that_a_receiver_echoes_never_reach_a_receipt(dialect, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", TOKEN)

    def echo(status):
        def answer(request):
            told = f"{request.url} {dict(request.headers)}"
            return Said(status, told.encode()).response

        return answer

    for status in (200, 202, 204, 302, 400, 401, 500):
        injector, _, _ = recorded(dialect, tmp_path, echo(status), auth={"bearer": "env:TOKEN"})
        receipt = await injector.send(canary_of(dialect.signal), 10.0)
        assert TOKEN not in repr(receipt), status
        assert TOKEN not in repr(injector)


async def test_a_secret_that_is_gone_is_our_own_refusal_to_send(dialect, tmp_path):
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    kind = INJECTORS.load(dialect.kind)
    written = {"url": "http://127.0.0.1:1", **dialect.options, "auth": {"bearer_file": str(secret)}}
    outbound = Recorder(dialect.accepted.response)
    parts = Parts(outbound, VirtualClock(), QuickRandom(), tmp_path, tmp_path, "ab12cd34", "tests")
    injector = kind.build(kind.options_model.model_validate(written), parts, None)
    secret.unlink()
    receipt = await injector.send(canary_of(dialect.signal), 10.0)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.AUTH)
    assert outbound.requests == []
