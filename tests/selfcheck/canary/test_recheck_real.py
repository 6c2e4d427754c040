"""Rechecks of every signal over real HTTP: a store that is emptied is found out, and said when."""

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.clock import SystemClock, instant
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.embedded import BY_ID, EmbeddedBackend, EmbeddedOptions
from selfcheck.canary.backoff import ReadBackoff
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import CanaryKey, Outcome, Signal
from selfcheck.canary.recheck.cycle import RecheckRules, Rechecks
from selfcheck.canary.recheck.memory import MemoryRechecks
from selfcheck.canary.recheck.model import RecheckState
from selfcheck.embedded.records import RecordStore
from selfcheck.embedded.store import EmbeddedStore
from selfcheck.injectors.otlp_http import OtlpHttpInjector, OtlpHttpOptions
from tests.fakes.route import SPEC
from tests.support.canaries import question_of
from tests.support.clock import VirtualClock
from tests.support.parts import real_parts
from tests.support.stores import pending_row

HOUR = 3600.0
JUDGING = JudgingRules(confirm_after=0.001)


async def seen(backend, canary):
    """Return once the store shows the canary."""
    while not (await backend.read(question_of(canary), BY_ID, 2.0)).sightings:
        pass


async def stepped(rechecks, clock, seconds):
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > 0:
        clock.move(min(left, max(0.02, await rechecks.step())))
    await rechecks.step()


@pytest.mark.parametrize("signal", list(Signal))
async def test_what_a_real_store_shows_is_ok_and_what_it_forgot_is_lost(tmp_path, signal):
    # The store keeps real time, the ledger's hours are virtual.
    clock = VirtualClock(datetime.now(UTC))
    async with real_parts(tmp_path) as parts:
        store = EmbeddedStore(parts.clock, parts.rng)
        await store.start()
        inject = OtlpHttpInjector.build(OtlpHttpOptions(url=store.url), parts, None)
        backend = EmbeddedBackend.build(EmbeddedOptions(url=store.url), parts)
        ledger = MemoryLedger("0a1b2c3d", clock)
        kept = MemoryRechecks(ledger)
        row = pending_row(
            "0a1b2c3d", CanaryKey(SPEC.name, 1, 1), clock, signal, instant(SystemClock())
        )
        row = replace(row, sent=instant(clock), sent_under=SPEC.sent_under)
        await ledger.open(row)
        receipt = await inject.send(row.canary, 5.0)
        await seen(backend, row.canary)
        await ledger.settle([replace(row, receipt=receipt, outcome=Outcome.OK, reason=Reason.OK,
                                     seen=instant(clock))])  # fmt: skip
        told, rng = [], random.Random(1)
        rechecks = Rechecks(
            replace(SPEC, signal=signal), backend, kept, clock, rng, JUDGING,
            RecheckRules(60, 2.0, 30 * 24 * HOUR), ReadBackoff(JUDGING, rng), told.append, 1, 1,
        )  # fmt: skip
        await stepped(rechecks, clock, 1.1 * HOUR)
        assert rechecks.result.verdict is Verdict.OK
        store.store = RecordStore(1000)
        await stepped(rechecks, clock, 24 * HOUR)
        result = rechecks.result
        assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.SILENT_LOSS)
        assert "24h after sending: 1 of 1 lost after having been seen, last at 20" in result.detail
        assert row.canary.canary_id in result.detail
        states = [one.state for one in await kept.of_canary(row.canary.key)]
        assert states == [RecheckState.OK, RecheckState.LOST, RecheckState.PLANNED]
        await store.stop()
        await stepped(rechecks, clock, 9 * 24 * HOUR)
        states = [one.state for one in await kept.of_canary(row.canary.key)]
        assert states[2] is RecheckState.UNKNOWN, "a store that is gone proves nothing"
