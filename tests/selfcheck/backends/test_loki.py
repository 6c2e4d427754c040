"""What only Loki shows: counts beside entries, a cache that can be passed by, derived fields."""

import asyncio
import dataclasses
import json
import string
import time

import pytest

from core.reason import Reason
from deploy.stack.launch import CONF, TENANT, Instance, Stack
from selfcheck.backends.loki import (
    AGGREGATE,
    AGGREGATE_CACHED,
    BY_ID,
    IDS_IN_QUERY,
    SEARCH,
    LokiBackend,
    LokiOptions,
)
from selfcheck.canary.compare import difference
from selfcheck.canary.model import Sent, Signal
from tests.contracts.backends.case import Case, Ground
from tests.contracts.backends.cases.loki import CASES
from tests.fakes.loopback import Loopback, Reply
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts
from tests.support.servers import stack_of

SECOND_NS = 10**9
_CACHE = """
query_range:
  cache_instant_metric_results: true
  instant_metric_query_split_align: true
  instant_metric_results_cache: {cache: {embedded_cache: {enabled: true, max_size_mb: 10}}}
"""


def log_of(seq=1, stamp_ns=None):
    return canary_of(Signal.LOGS, seq, f"loki-{time.time_ns()}", stamp_ns)


async def written(case, *canaries):
    """Written, and found by their ids: they are there, whatever another path shows."""
    assert {receipt.sent for receipt in await case.write(*canaries)} == {Sent.ACCEPTED}
    async with asyncio.timeout(10):
        while True:
            reading = await case.backend().read(question_of(*canaries), BY_ID, 5.0)
            assert reading.complete, reading.detail
            if {s.canary_id for s in reading.sightings} == {c.canary_id for c in canaries}:
                return


@pytest.fixture(params=sorted(CASES))
async def case(request, tmp_path, start_server):
    async with (
        real_parts(tmp_path) as parts,
        CASES[request.param].open(Ground(parts, tmp_path, start_server)) as opened,
    ):
        yield opened


@pytest.fixture
async def caching_case(tmp_path):
    """A Loki that keeps the results of instant queries but for the newest second."""

    def config(stack: Stack) -> str:
        server = stack["loki"]
        text = string.Template((CONF / "loki.yml").read_text())
        usual = text.substitute({**server.ports, "data": server.folder})
        limited = usual.replace(
            "limits_config: {", "limits_config: {max_cache_freshness_per_query: 1s, "
        )
        assert limited != usual
        return limited + _CACHE

    with stack_of(tmp_path, instances={"loki": Instance("loki", config=config)}) as stack:
        async with real_parts(tmp_path) as parts:
            options = {"url": stack["loki"].url(), "tenant": TENANT}
            yield Case("loki", "", parts, options, lambda _, s: s)


@pytest.mark.stack
@pytest.mark.parametrize("path", [AGGREGATE, AGGREGATE_CACHED])
async def test_a_count_shows_that_an_entry_is_there_and_proves_nothing_of_it(case, path):
    there, missing = log_of(1), log_of(2)
    await written(case, there)
    reading = await case.backend().read(question_of(there, missing), path, 5.0)
    assert reading.complete, reading.detail
    (sighting,) = reading.sightings
    assert (sighting.canary_id, sighting.stamp_ns, sighting.copies) == (there.canary_id, None, None)
    assert not path.evidence


@pytest.mark.stack
async def test_mode_27_two_lines_of_one_id_are_counted_as_two(case):
    canary = log_of()
    await written(case, canary)
    again = dataclasses.replace(canary, filler=f"{canary.filler}~", stamp_ns=canary.stamp_ns + 1)
    await case.write(again)
    async with asyncio.timeout(10):
        while True:
            reading = await case.backend().read(question_of(canary), AGGREGATE, 5.0)
            assert reading.complete, reading.detail
            if reading.sightings[0].copies == 2:
                return


@pytest.mark.stack
async def test_more_ids_than_one_query_names_are_all_counted(case):
    route, start_ns = f"many-{time.time_ns()}", time.time_ns() - 100 * SECOND_NS
    many = [
        canary_of(Signal.LOGS, n, route, start_ns + n * SECOND_NS)
        for n in range(1, 2 * IDS_IN_QUERY + 3)
    ]
    await written(case, *many)
    reading = await case.backend().read(question_of(*many), AGGREGATE, 5.0)
    assert reading.complete, reading.detail
    assert {s.canary_id for s in reading.sightings} == {canary.canary_id for canary in many}


@pytest.mark.stack
async def test_mode_13_an_empty_count_served_from_the_cache_is_only_that_paths(caching_case):
    backend = caching_case.backend()
    canary = log_of(stamp_ns=time.time_ns() - 60 * SECOND_NS)
    early = await backend.read(question_of(canary), AGGREGATE_CACHED, 5.0)
    assert (early.complete, early.sightings) == (True, ())
    await written(caching_case, canary)
    stale = await backend.read(question_of(canary), AGGREGATE_CACHED, 5.0)
    assert (stale.complete, stale.sightings) == (True, ())
    for path in (BY_ID, SEARCH, AGGREGATE):
        reading = await backend.read(question_of(canary), path, 5.0)
        assert [sighting.canary_id for sighting in reading.sightings] == [canary.canary_id]


@pytest.mark.stack
@pytest.mark.parametrize("trace_id", ["ab" * 16, "0000a" + "1" * 27, "0" * 16 + "2" * 16])
async def test_a_stored_line_leads_to_its_trace(case, trace_id):
    canary = dataclasses.replace(log_of(), trace_id=bytes.fromhex(trace_id))
    await written(case, canary)
    linked = await case.backend().trace_ids(canary, 5.0)
    assert (linked.complete, linked.found) == (True, (trace_id,))


@pytest.mark.stack
async def test_a_line_that_is_not_there_or_has_no_trace_leads_nowhere(case):
    linked = await case.backend().trace_ids(log_of(), 5.0)
    assert (linked.complete, linked.found) == (True, ())
    bare = dataclasses.replace(log_of(), trace_id=b"")
    await written(case, bare)
    linked = await case.backend().trace_ids(bare, 5.0)
    assert (linked.complete, linked.found) == (True, ())


@pytest.mark.stack
async def test_a_link_that_could_not_be_read_is_not_broken(case):
    linked = await case.backend(tenant="").trace_ids(log_of(), 5.0)
    assert (linked.complete, linked.reason) == (False, Reason.AUTH)


async def read_from(answer, folder, path):
    async with real_parts(folder) as parts, Loopback(lambda _: Reply(200, answer)) as server:
        backend = LokiBackend.build(LokiOptions.model_validate({"url": server.base}), parts)
        return await backend.read(question_of(log_of()), path, 2.0), server.seen


def vector(*result, **more):
    told = {"status": "success", "data": {"resultType": "vector", "result": list(result)}, **more}
    return json.dumps(told).encode()


async def test_only_the_path_that_may_be_cached_asks_without_the_header(tmp_path):
    for path in (BY_ID, SEARCH, AGGREGATE, AGGREGATE_CACHED):
        _, (seen, *_) = await read_from(vector(), tmp_path, path)
        assert (seen.headers.get("cache-control") == "no-cache") is not path.cached, path.name


@pytest.mark.parametrize(
    "answer",
    [
        vector(warnings=["partial"]),
        vector({"metric": {"canary_id": "x"}}),
        vector({"metric": {"canary_id": "x"}, "value": [1]}),
        vector({"metric": {"canary_id": "x"}, "value": [1, "many"]}),
        vector({"value": [1, "1"]}),
        b'{"status":"success","data":{"resultType":"streams","result":[]}}',
        b'{"status":"error","data":{"resultType":"vector","result":[]}}',
    ],
)
async def test_mode_10_a_count_that_is_none_is_a_read_error(answer, tmp_path):
    for path in (AGGREGATE, AGGREGATE_CACHED):
        reading, _ = await read_from(answer, tmp_path, path)
        assert not reading.complete
        assert reading.sightings == ()
        assert reading.detail


@pytest.mark.parametrize("by_otlp", [False, True])
async def test_an_agent_that_pushes_knows_no_number_of_a_severity(tmp_path, by_otlp):
    """What came by OTLP had one: there it was taken away."""
    canary = log_of()
    names = {name.replace(".", "_"): value for name, value in canary.attributes.items()}
    ids = {"trace_id": canary.trace_id.hex(), "span_id": canary.span_id.hex()}
    mark = {"observed_timestamp": str(canary.stamp_ns)} if by_otlp else {}
    stream = {**names, **ids, **mark, "severity_text": "INFO"}
    result = [{"stream": stream, "values": [[str(canary.stamp_ns), canary.body]]}]
    told = {"status": "success", "data": {"resultType": "streams", "result": result}}
    answer = Reply(200, json.dumps(told).encode())
    async with real_parts(tmp_path) as parts, Loopback(lambda _: answer) as server:
        backend = LokiBackend.build(LokiOptions.model_validate({"url": server.base}), parts)
        for path in (BY_ID, SEARCH):
            (one,) = (await backend.read(question_of(canary), path, 2.0)).sightings
            said = "severity_number: sent '9', stored ''" if by_otlp else ""
            assert difference(canary, [one]) == said
