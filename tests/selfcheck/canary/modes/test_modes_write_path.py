"""Failure modes 20 to 26: the write path."""

import asyncio
import itertools

import pytest

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.make import KEEP
from selfcheck.canary.model import Outcome, Receipt, Sent, Signal
from selfcheck.canary.policy import ExpectDrop
from selfcheck.injectors.protocol import INJECTORS
from selfcheck.otlp import CONTENT_TYPE, build_reply
from tests.fakes.hostile import hostile, says
from tests.fakes.route import CONTEXT, SPEC, RouteRig, replace
from tests.fakes.store import Faults, never
from tests.selfcheck.canary.modes.rigs import always, became, row_of, warm
from tests.selfcheck.hops import scrapes
from tests.selfcheck.hops.test_localise import GREEN, direct, find
from tests.support.canaries import canary_of
from tests.support.parts import real_parts


async def receipt_for(folder, answer) -> Receipt:
    """What the OTLP injector makes of one answer."""
    kind = INJECTORS.load("otlp_http")
    async with real_parts(folder) as parts, hostile(answer) as server:
        options = kind.options_model.model_validate({"url": server.url})
        injector = kind.build(options, parts, None)
        try:
            return await injector.send(canary_of(Signal.LOGS), 3.0)
        finally:
            await injector.close()


async def test_mode_20_accepted_then_dropped_is_lost_after_the_confirming_read():
    rig = await warm()
    rig.faults.drop = always
    await rig.run(120)
    lost = [row for row in await rig.rows() if row.outcome is Outcome.LOST]
    assert len(lost) >= 2
    assert await rig.count(Outcome.REJECTED) == 0
    for row in lost:
        past = [look for look in row.looks if look.at_s >= row.deadline_s and not look.seen]
        assert {look.path for look in past if look.complete} == {"by_id", "search"}


async def test_mode_20_what_the_answer_counts_as_refused_is_rejected_with_count_and_message(
    tmp_path,
):
    body = build_reply(Signal.LOGS, 1, "line too long")
    answer = says(body, "200 OK", f"Content-Type: {CONTENT_TYPE}")
    receipt = await receipt_for(tmp_path, answer)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.PARTIAL_SUCCESS)
    assert "1" in receipt.detail
    assert "line too long" in receipt.detail


async def test_mode_20_a_200_with_html_is_no_otlp_and_rejected(tmp_path):
    page = says(b"<html>please log in</html>", "200 OK", "Content-Type: text/html")
    receipt = await receipt_for(tmp_path, page)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.NOT_OTLP)


@pytest.mark.parametrize("reason", [Reason.PARTIAL_SUCCESS, Reason.NOT_OTLP])
async def test_mode_20_a_refusal_in_a_200_fails_the_route(reason):
    rig = await warm(faults=Faults(detail="1 rejected: line too long"))
    rig.faults.reject = reason
    await rig.run(25)
    row = (await rig.rows())[-1]
    assert (row.outcome, row.reason) == (Outcome.REJECTED, reason)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.FAIL, Reason.INJECT)
    assert "line too long" in status.detail


async def test_mode_21_refusals_change_neither_cadence_nor_history():
    """The checker goes on at its pace, and what was verified before stays verified."""
    rig = await warm()
    before, ok = rig.cycle.status(), await rig.count(Outcome.OK)
    verified = {row.canary.key for row in await rig.rows() if row.outcome is Outcome.OK}
    rig.faults.reject = Reason.STATUS
    first = len(await rig.rows())
    await rig.run(300)
    sent = [row.sent.boot_s for row in (await rig.rows())[first:]]
    assert [b - a for a, b in itertools.pairwise(sent)] == pytest.approx([10.0] * (len(sent) - 1))
    assert len(sent) == pytest.approx(30, abs=1)
    assert await rig.count(Outcome.OK) >= ok
    kept = {row.canary.key for row in await rig.rows() if row.outcome is Outcome.OK}
    assert verified <= kept
    assert became(rig, Outcome.LOST) == became(rig, Outcome.UNKNOWN) == 0
    during = rig.cycle.status()
    assert (during.deadline_s, during.delay_p50_s) == (before.deadline_s, before.delay_p50_s)
    assert during.ever_seen
    rig.faults.reject = None
    await rig.run(60)
    assert rig.cycle.status().verdict is Verdict.OK


async def test_mode_22_a_retry_that_had_succeeded_is_marked_and_no_incident():
    rig = await warm()
    rig.faults.copies = rig.faults.tries = 3
    rig.faults.first_try = Sent.MAYBE
    await rig.run(120)
    row = (await rig.rows())[-3]
    assert (row.outcome, row.copies) == (Outcome.OK, 3)
    assert (row.receipt.first_try, row.receipt.sent) == (Sent.MAYBE, Sent.ACCEPTED)
    assert rig.cycle.status().verdict is Verdict.OK
    rig.faults.tries = 1
    await rig.run(120)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.DEGRADED, Reason.DUPLICATED)
    assert status.duplicates == "seen"


async def test_mode_23_one_hanging_canary_holds_back_no_other():
    rig = await warm()
    first = len(rig.store.sent)
    rig.faults.hang = lambda canary: canary.key.seq == first + 1
    stuck = asyncio.create_task(rig.cycle.inject(CONTEXT))
    await rig.store.hung.wait()
    await rig.run(60)
    left = [canary.key.seq for canary in rig.store.sent[first:]]
    assert left == list(range(first + 2, first + 2 + len(left)))
    assert len(left) >= 6
    assert rig.cycle.status().verdict is Verdict.OK
    rig.store.released.set()
    await stuck


async def test_mode_24_arrival_in_batches_is_a_delay():
    """A Collector that sends every 20 s makes canaries later and loses none."""
    rig = RouteRig(faults=Faults(delay_s=20.0))
    await rig.run(900)
    assert became(rig, Outcome.LOST) == 0
    assert rig.cycle.status().verdict is Verdict.OK
    assert rig.cycle.status().delay_p50_s >= 20


async def test_mode_25_a_loss_that_no_counter_tells_of_fails_and_the_evidence_says_so():
    """Accepted, counted as sent, never stored: canaries alone find it."""
    rig = await warm()
    rig.faults.drop = always
    await rig.run(120)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.FAIL, Reason.SILENT_LOSS)
    assert {row.receipt.sent for row in status.rows} == {Sent.ACCEPTED}
    evidence = scrapes.route(
        verdict=status.verdict, reason=status.reason, lost=status.losses, of=len(status.rows)
    )
    finding = find(evidence, direct(), hops=[scrapes.state(GREEN)])["gw-logs"]
    assert finding.hop == "gateway"
    assert "the counters of gateway are green: a silent sink" in finding.evidence


async def test_mode_26_an_undeclared_drop_is_told_with_its_proof_and_how_to_declare_it():
    def told(_row) -> str:
        return "gateway: filter/canaries dropped 12 on purpose"

    rig = await warm(intended=told)
    rig.faults.drop = always
    await rig.run(200)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.FAIL, Reason.POLICY)
    assert "filter/canaries" in status.detail
    assert "expect_drop" in status.detail
    assert became(rig, Outcome.LOST) == 0


async def test_mode_26_a_declared_drop_is_no_failure_and_without_proof_it_is_a_loss():
    spec = replace(SPEC, expect_drop=ExpectDrop(None, "the filter of team x"))
    proof = "gateway: filter/canaries dropped 12 on purpose"
    rig = await warm(spec=spec, intended=lambda _row: proof)
    rig.faults.drop = lambda canary: canary.key.seq % 2 == 0
    await rig.run(300)
    assert rig.cycle.status().verdict is Verdict.OK
    assert await rig.count(Outcome.POLICY_DROP) > 5
    proof = ""
    await rig.run(300)
    assert rig.cycle.status().reason is Reason.SILENT_LOSS


async def test_mode_26_a_canary_asks_samplers_to_keep_it_unless_they_are_measured_with_it():
    plain = await warm()
    assert {one.attributes.get(KEEP) for one in plain.store.sent} == {"true"}
    sampled = RouteRig(
        replace(SPEC, expect_drop=ExpectDrop(0.9, "")),
        faults=Faults(drop=lambda canary: canary.span_id[0] >= 26),
    )
    await sampled.run(3600)
    assert {one.attributes.get(KEEP) for one in sampled.store.sent} == {None}
    assert await sampled.count(Outcome.POLICY_DROP) > 250
    dropped = [row for row in await sampled.rows() if row.outcome is Outcome.POLICY_DROP]
    assert "declared sampling explains" in dropped[-1].diff
    assert await sampled.count(Outcome.LOST) == 0


async def test_mode_26_a_kept_canary_is_never_explained_by_sampling():
    rig = await warm()
    rig.faults.drop = lambda canary: canary.key.seq % 10 != 0
    await rig.run(120)
    assert await rig.count(Outcome.POLICY_DROP) == 0
    rig.faults.drop = never
    missing = next(row for row in await rig.rows() if row.outcome is Outcome.LOST)
    assert (await row_of(rig, missing.canary.canary_id)).canary.attributes[KEEP] == "true"
