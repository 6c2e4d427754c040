"""What VictoriaMetrics is told with every read: no missing node, no cache, nothing held back."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from selfcheck.canary.model import Signal
from tests.fakes.front import forward
from tests.selfcheck.backends.series import fresh_route, until
from tests.support.canaries import canary_of, question_of

pytestmark = pytest.mark.stack


async def test_every_read_refuses_a_part_of_the_cluster_and_proof_refuses_caches(opened):
    async with opened("victoriametrics-otlp") as case:
        canary = canary_of(Signal.METRICS, 1, fresh_route(), time.time_ns() - 60 * 10**9)
        await case.write(canary)
        asked = set()
        for path in case.backend().declaration.paths:
            async with forward(case.model().url) as front:
                await until(case.backend(url=front.url), path, question_of(canary), 1)
            for target in (line.split(" ")[1] for line in front.asked):
                call, told = urlsplit(target).path, parse_qs(urlsplit(target).query)
                if "/api/v1/" not in call:
                    continue
                asked.add(call.rpartition("/")[2])
                assert told["deny_partial_response"] == ["1"], target
                if path.evidence:
                    assert (told["nocache"], told["latency_offset"]) == (["1"], ["1ms"]), target
        assert asked == {"export", "query", "query_range", "series"}
