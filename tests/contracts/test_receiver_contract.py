"""Every receiver kind: one incident per key, refusals and troubles as values, secrets unseen."""

import asyncio
import json
import shutil
from collections import deque
from pathlib import Path

import httpx
import pytest

from core.clock import SystemClock, instant
from core.errors import CoalmineError
from core.kinds import Registry
from core.options import Options
from core.secrets import Secret
from paging.model import Answer, Incident, IncidentState, Page, PageAction, Severity
from paging.receivers.protocol import RECEIVERS, Receiver, ReceiverParts
from tests.fakes.loopback import Loopback, Reply
from tests.fakes.pagerduty import KEY, FakePagerDuty
from tests.fakes.webhook import SECRET, FakeWebhook

CLOCK = SystemClock()
PARTS = ReceiverParts(CLOCK, "test")
OPTIONS = {
    "webhook": lambda base: {"url": Secret.inline(base), "secret": Secret.inline(SECRET)},
    "pagerduty": lambda base: {"url": base, "routing_key": Secret.inline(KEY)},
    "alertmanager": lambda base: {"urls": (base,)},
}
ACCEPTED = {"webhook": Reply(204, b""), "pagerduty": Reply(202), "alertmanager": Reply(200)}
KINDS = sorted(RECEIVERS.entries)


def build(kind, base):
    cls = RECEIVERS.load(kind)
    return cls.build(cls.options_model(**OPTIONS[kind](base)), PARTS)


def page_of(action=PageAction.TRIGGER, seq=1, summary="lost", members=0, episode=1):
    now = instant(CLOCK)
    incident = Incident(
        "f" * 32, episode, "fail", "logs", Severity.CRITICAL, IncidentState.FIRING,
        "logs: telemetry is not arriving", summary, "gateway", ("queue full",), now, now, now,
        None, "f" * 32, "", None, "",
    )  # fmt: skip
    return Page(
        incident.dedup_key("test"), action, seq, "test", incident, (incident,) * members,
        (("board", "https://board.example/d/1"),), now,
    )  # fmt: skip


def test_every_kind_has_a_contract_case():
    assert set(OPTIONS) == set(ACCEPTED) == set(RECEIVERS.entries)
    assert isinstance(RECEIVERS, Registry)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kind_declares_options_targets_and_provider(kind):
    receiver = build(kind, "http://127.0.0.1:1")
    assert isinstance(receiver, Receiver)
    assert issubclass(receiver.options_model, Options)
    assert receiver.targets
    assert receiver.provider == f"{kind}:127.0.0.1:1"
    assert KEY not in receiver.fingerprint()
    assert receiver.fingerprint() != build(kind, "http://127.0.0.1:2").fingerprint()
    await receiver.close()


CASES = [
    (200, None), (202, None), (204, None), (301, Answer.REFUSED), (400, Answer.REFUSED),
    (401, Answer.REFUSED), (403, Answer.REFUSED), (404, Answer.REFUSED), (410, Answer.REFUSED),
    (408, Answer.RETRY), (429, Answer.RETRY), (500, Answer.RETRY), (502, Answer.RETRY),
    (503, Answer.RETRY),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_a_status_means_the_same_for_all(kind):
    """2xx other than the declared one proves nothing; 4xx is for good; 429 and 5xx come back."""
    replies = deque()
    async with Loopback(lambda _: replies.popleft()) as server:
        receiver = build(kind, server.base)
        for status, answer in CASES:
            replies.extend([Reply(status, b"", {"Location": "http://127.0.0.1:1/"})] * 2)
            delivery = await receiver.deliver(page_of(), receiver.targets[0], "", 5.0)
            replies.clear()
            declared = kind == "webhook" or status == ACCEPTED[kind].status
            expected = answer or (Answer.ACCEPTED if declared else Answer.RETRY)
            assert delivery.answer is expected, status
        await receiver.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reply", [Reply(hang=True), Reply(cut=True), Reply(drip=True)])
async def test_a_hang_a_cut_and_a_drip_are_retried_within_the_deadline(kind, reply):
    async with Loopback(lambda _: reply) as server:
        receiver = build(kind, server.base)
        began = CLOCK.monotonic()
        delivery = await receiver.deliver(page_of(), receiver.targets[0], "", 0.4)
        assert delivery.answer is Answer.RETRY
        assert CLOCK.monotonic() - began < 3
        await receiver.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_listening_is_retried(kind):
    async with Loopback(lambda _: Reply()) as server:
        base = server.base
    receiver = build(kind, base)
    delivery = await receiver.deliver(page_of(), receiver.targets[0], "", 2.0)
    assert delivery.answer is Answer.RETRY
    assert delivery.detail
    await receiver.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_retry_after_is_handed_on_in_seconds(kind):
    async with Loopback(lambda _: Reply(429, b"", {"Retry-After": "17"})) as server:
        receiver = build(kind, server.base)
        delivery = await receiver.deliver(page_of(), receiver.targets[0], "", 5.0)
        assert delivery.retry_after_s == 17.0
        await receiver.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_input_40_redirects_are_not_followed_and_an_odd_body_is_shown_safely(kind):
    reply = Reply(302, b"go \x1b[31m there" + b"x" * 100_000, {"Location": "http://127.0.0.1:1/"})
    async with Loopback(lambda _: reply) as server:
        receiver = build(kind, server.base)
        delivery = await receiver.deliver(page_of(), receiver.targets[0], "", 5.0)
        assert len(server.seen) == 1
        assert delivery.answer is Answer.REFUSED
        assert "\x1b" not in delivery.detail
        assert len(delivery.detail) < 300
        await receiver.close()


async def test_repeats_make_one_incident_and_the_resolve_closes_it():
    pd, hook = FakePagerDuty(), FakeWebhook()
    for kind, fake in (("pagerduty", pd), ("webhook", hook)):
        async with fake.server() as server:
            receiver = build(kind, server.base)
            steps = (PageAction.TRIGGER, PageAction.TRIGGER, PageAction.ACK, PageAction.RESOLVE)
            for seq, step in enumerate(steps):
                page = page_of(step, max(1, seq))
                delivery = await receiver.deliver(page, receiver.targets[0], "", 5.0)
                assert delivery.answer is Answer.ACCEPTED
            await receiver.close()
    assert [alert.state for alert in pd.alerts] == ["resolved"]
    assert hook.repeats == 1
    assert hook.forged == 0
    assert hook.actions() == ["trigger", "acknowledge", "resolve"]


async def test_input_39_a_page_over_512_kb_goes_out_without_its_details():
    fake = FakePagerDuty()
    async with fake.server() as server:
        receiver = build("pagerduty", server.base)
        page = page_of(summary="x" * 1500, members=500)
        fat = Page(
            page.dedup_key, page.action, page.seq, page.namespace, page.incident, page.members,
            tuple((f"l{i}", "https://x.example/" + "y" * 2000) for i in range(150)), page.at,
        )  # fmt: skip
        delivery = await receiver.deliver(fat, receiver.targets[0], "", 5.0)
        assert delivery.answer is Answer.ACCEPTED
        details = fake.events[0]["payload"]["custom_details"]
        assert "dropped" in details["note"]
        assert len(fake.events[0]["payload"]["summary"]) <= 1024
        await receiver.close()


async def test_a_webhook_body_stays_under_20_kb_and_counts_its_members():
    fake = FakeWebhook()
    async with fake.server() as server:
        receiver = build("webhook", server.base)
        await receiver.deliver(page_of(members=5000), receiver.targets[0], "", 5.0)
        assert len(server.seen[0].body) <= 20_000
        assert json.loads(server.seen[0].body)["data"]["members_total"] == 5000
        await receiver.close()


def test_input_37_a_routing_key_of_wrong_length_is_an_error_at_load():
    cls = RECEIVERS.load("pagerduty")
    options = cls.options_model(routing_key=Secret.inline("short"))
    with pytest.raises(CoalmineError, match="32 characters"):
        cls.build(options, PARTS)


async def test_alertmanager_labels_hold_nothing_that_changes_and_the_end_lies_ahead():
    async with Loopback(lambda _: Reply(200)) as server:
        receiver = build("alertmanager", server.base)
        first, later = page_of(summary="5 of 6"), page_of(PageAction.UPDATE, 2, summary="9 of 9")
        for page in (first, later):
            await receiver.deliver(page, receiver.targets[0], "", 5.0)
        one, two = (json.loads(seen.body)[0] for seen in server.seen)
        assert one["labels"] == two["labels"]
        assert one["annotations"] != two["annotations"]
        assert receiver.republish_every_s == 60.0
        await receiver.close()


ALERTMANAGER = shutil.which("prometheus-alertmanager") or "/usr/bin/prometheus-alertmanager"


@pytest.mark.stack
@pytest.mark.skipif(not Path(ALERTMANAGER).exists(), reason="no Alertmanager on this machine")
async def test_a_real_alertmanager_shows_one_alert_and_then_none(tmp_path):
    """Trigger, repeat and resolve against the real server."""
    (tmp_path / "am.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    probe = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    process = await asyncio.create_subprocess_exec(
        ALERTMANAGER, f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    receiver = build("alertmanager", base)
    try:
        while b"Listening on" not in (line := await process.stderr.readline()):
            assert line, "Alertmanager ended"
        async with httpx.AsyncClient(trust_env=False) as client:
            for seq in (1, 2):
                delivery = await receiver.deliver(page_of(seq=seq), receiver.targets[0], "", 5.0)
                assert delivery.answer is Answer.ACCEPTED, delivery.detail
            alerts = (await client.get(f"{base}/api/v2/alerts")).json()
            assert len({alert["fingerprint"] for alert in alerts}) == 1
            resolve = page_of(PageAction.RESOLVE, 3)
            await receiver.deliver(resolve, receiver.targets[0], "", 5.0)
            alerts = (await client.get(f"{base}/api/v2/alerts?active=true")).json()
            assert [alert for alert in alerts if alert["endsAt"] > resolve.at.utc.isoformat()] == []
    finally:
        await receiver.close()
        process.terminate()
        await process.communicate()
