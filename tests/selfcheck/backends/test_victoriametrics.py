"""What only VictoriaMetrics does: names as they come, doubles kept or not, values repeated."""

import dataclasses
import time

import pytest

from deploy.stack import specs
from selfcheck.backends.victoriametrics import AGGREGATE, CACHED, VictoriaMetricsBackend
from selfcheck.canary.compare import difference
from selfcheck.canary.model import Sent, Signal
from tests.contracts.backends.case import Ground
from tests.contracts.backends.cases import victoriametrics
from tests.fakes.loopback import Loopback, Reply
from tests.selfcheck.backends.series import SECOND_NS, fresh_route, until
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts
from tests.support.servers import stack_of

SERVER = "victoria-metrics"
# What the usual start sets otherwise than the server's defaults.
SET = ("-opentelemetry.usePrometheusNaming", "-search.latencyOffset=0s")


def started_with(monkeypatch, *more, without=()):
    """Let the server be started with other flags."""
    usual = specs.SPECS[SERVER]

    def arguments(ports, folder):
        return [one for one in usual.arguments(ports, folder) if one not in without] + list(more)

    other = dataclasses.replace(usual, arguments=arguments)
    monkeypatch.setitem(specs.SPECS, SERVER, other)


async def _case_with_flags(tmp_path, stack):
    async with real_parts(tmp_path) as parts:
        opening = victoriametrics.CASES["victoriametrics-otlp"]
        async with opening.open(Ground(parts, tmp_path, lambda _: stack)) as case:
            yield case


@pytest.fixture
async def as_shipped(tmp_path, monkeypatch):
    started_with(monkeypatch, without=SET)
    with stack_of(tmp_path, SERVER) as stack:
        async for case in _case_with_flags(tmp_path, stack):
            yield case


@pytest.fixture
async def deduplicating(tmp_path, monkeypatch):
    started_with(monkeypatch, "-dedup.minScrapeInterval=1ms")
    with stack_of(tmp_path, SERVER) as stack:
        async for case in _case_with_flags(tmp_path, stack):
            yield case


@pytest.mark.stack
async def test_names_that_are_stored_as_they_were_sent_are_found_by_every_path(as_shipped):
    backend, route, now = as_shipped.backend(), fresh_route(), time.time_ns()
    one = canary_of(Signal.METRICS, 1, route, now - 41 * SECOND_NS)
    never = canary_of(Signal.METRICS, 2, route, now - 40 * SECOND_NS)
    theirs = canary_of(Signal.METRICS, 1, route, now, instance="bbbb2222")
    await as_shipped.write(one, theirs)
    for path in backend.declaration.paths:
        (sighting,) = (await until(backend, path, question_of(one, never), 1)).sightings
        assert sighting.canary_id == one.canary_id
        assert difference(one, [sighting]) == ""
    (spelling,) = backend.spelt[route, one.service_instance]
    assert spelling.dotted


@pytest.mark.stack
async def test_mode_15_what_dashboards_are_not_shown_yet_is_found_by_what_is_evidence(as_shipped):
    backend, canary = as_shipped.backend(), canary_of(Signal.METRICS, route=fresh_route())
    await as_shipped.write(canary)
    declared = backend.declaration
    for path in (*declared.paths_for(Signal.METRICS), AGGREGATE):
        assert (await until(backend, path, question_of(canary), 1)).sightings
    held_back = await backend.read(question_of(canary), CACHED, 5.0)
    assert (held_back.complete, held_back.sightings) == (True, ())


@pytest.mark.stack
async def test_where_it_deduplicates_one_copy_proves_nothing(deduplicating):
    backend, canary = deduplicating.backend(), canary_of(Signal.METRICS, route=fresh_route())
    await deduplicating.write(canary, canary)
    for path in backend.declaration.paths_for(Signal.METRICS):
        (sighting,) = (await until(backend, path, question_of(canary), 1)).sightings
        assert sighting.copies is None


@pytest.mark.parametrize(
    ("reply", "copies"),
    [
        (Reply(200, b'-httpListenAddr=":8428"\n'), 1),
        (Reply(200, b'-dedup.minScrapeInterval="1ms"\n'), None),
        (Reply(200, b"<html>who are you?</html>"), None),
        (Reply(404, b"no such page"), None),
        (Reply(401, b"authKey"), None),
    ],
)
async def test_copies_are_counted_only_where_the_server_says_how_it_was_started(
    reply, copies, tmp_path
):
    canary = canary_of(Signal.METRICS)
    labels = f'{{"__name__":"coalmine_canary","coalmine_instance":"{canary.attributes["coalmine.instance"]}"'
    series = f'{labels},"coalmine_route":"{canary.key.route}"}}'
    pair = f'"values":[1],"timestamps":[{canary.stamp_ns // 10**6}]'
    answers = {
        "/api/v1/series": Reply(200, f'{{"status":"success","data":[{series}]}}'.encode()),
        "/api/v1/export": Reply(200, f'{{"metric":{series},{pair}}}\n'.encode()),
        "/flags": reply,
    }
    async with (
        real_parts(tmp_path) as parts,
        Loopback(lambda s: answers[s.path.partition("?")[0]]) as server,
    ):
        model = VictoriaMetricsBackend.options_model.model_validate({"url": server.base})
        backend = VictoriaMetricsBackend.build(model, parts)
        for _ in range(3):
            reading = await backend.read(question_of(canary), backend.declaration.paths[0], 5.0)
            assert [s.copies for s in reading.sightings] == [copies]
        assert [one.path for one in server.seen].count("/flags") == 1


@pytest.mark.stack
async def test_a_value_that_the_server_repeats_is_no_sighting(opened):
    """Its range queries show the newest value once more, at times at which nothing was stored."""
    async with opened("victoriametrics-otlp") as case:
        backend, route, now = case.backend(), fresh_route(), time.time_ns()
        stored = canary_of(Signal.METRICS, 1, route, now)
        after = [canary_of(Signal.METRICS, n, route, now + (n - 1) * SECOND_NS) for n in (2, 3)]
        await case.write(stored)
        repeated = f'{{coalmine_route="{route}"}}'
        for path in (*backend.declaration.paths_for(Signal.METRICS), CACHED):
            reading = await backend.read(question_of(stored, *after), path, 5.0)
            assert reading.complete
            assert {s.canary_id for s in reading.sightings} <= {stored.canary_id}
        second = stored.stamp_ns // SECOND_NS
        query = {"query": repeated, "start": str(second), "end": str(second + 2), "step": "1"}
        shown = await backend.ask(backend.client.session(5.0), "query_range", query, cached=True)
        assert len(shown["result"][0]["values"]) > 1


async def nothing():
    """Let the server flush when it likes."""


@pytest.mark.stack
@pytest.mark.slow
async def test_mode_15_what_nobody_flushes_shows_by_the_floor_and_is_no_error_before(opened):
    async with opened("victoriametrics-otlp") as flushing:
        case = dataclasses.replace(flushing, settle=nothing)
        backend, canary = case.backend(), canary_of(Signal.METRICS, route=fresh_route())
        paths = backend.declaration.paths_for(Signal.METRICS)
        await case.write(canary)
        started = time.monotonic()
        for path in paths:
            await until(backend, path, question_of(canary), 1)
            assert time.monotonic() - started < path.floor_s + 5


@pytest.mark.stack
async def test_row_19_a_sample_beyond_the_retention_is_accepted_and_never_stored(opened):
    async with opened("victoriametrics-remote-write") as case:
        backend, route = case.backend(), fresh_route()
        old = canary_of(Signal.METRICS, 1, route, time.time_ns() - 3 * 86400 * SECOND_NS)
        (receipt,) = await case.write(old)
        assert receipt.sent is Sent.ACCEPTED
        for path in backend.declaration.paths_for(Signal.METRICS):
            reading = await backend.read(question_of(old), path, 5.0)
            assert (reading.complete, reading.sightings) == (True, ())
        assert "too old" in backend.declaration.impossible


async def test_an_export_that_was_cut_is_a_read_error(tmp_path):
    canary = canary_of(Signal.METRICS)
    series = '{"__name__":"coalmine_canary","coalmine_instance":"ab12cd34","coalmine_route":"r1"}'
    for cut in (
        f'{{"metric":{series},"values":[1],"timestamps":[1]}}',
        f'{{"metric":{series},"values":[1],"timest\n',
        f'{{"metric":{series},"values":[1],"timestamps":[]}}\n',
    ):
        answers = {
            "/api/v1/series": Reply(200, f'{{"status":"success","data":[{series}]}}'.encode()),
            "/api/v1/export": Reply(200, cut.encode()),
        }
        async with (
            real_parts(tmp_path) as parts,
            Loopback(lambda s, a=answers: a[s.path.partition("?")[0]]) as server,
        ):
            model = VictoriaMetricsBackend.options_model.model_validate({"url": server.base})
            backend = VictoriaMetricsBackend.build(model, parts)
            reading = await backend.read(question_of(canary), backend.declaration.paths[0], 5.0)
            assert (reading.complete, reading.sightings) == (False, ())
