"""How Prometheus may spell the series of a route, and what it makes of exemplars of counters."""

import time

import pytest

from core.outbound.protocol import Request, Response
from deploy.stack.launch import Instance
from selfcheck import otlp
from selfcheck.canary.compare import difference
from selfcheck.canary.model import Signal
from tests.contracts.backends.case import Case
from tests.selfcheck.backends.series import SECOND_NS, fresh_route, until
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts
from tests.support.servers import stack_of

OTLP = "/api/v1/otlp/v1/metrics"
UNTRANSLATED = (
    "storage: {tsdb: {out_of_order_time_window: 10m}}\notlp: {translation_strategy: %s}\n"
)


def prometheus_case(parts, url):
    return Case("prometheus", "Prometheus", parts, {"url": url}, lambda _, service: service)


def as_counter(canary):
    """The export request of `canary` as a monotonic sum."""
    request = otlp.build_request(canary)
    (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
    points = list(metric.gauge.data_points if metric.HasField("gauge") else metric.sum.data_points)
    metric.sum.CopyFrom(type(metric.sum)(aggregation_temporality=2, is_monotonic=True))
    metric.sum.data_points.extend(points)
    return request.SerializeToString()


async def post(parts, url, body):
    headers = (("Content-Type", otlp.CONTENT_TYPE),)
    answer = await parts.outbound.fetch(Request("POST", url, 5.0, headers=headers, body=body))
    assert isinstance(answer, Response), answer
    assert answer.status == 200, answer.body


@pytest.mark.stack
@pytest.mark.parametrize("strategy", ["NoTranslation", "NoUTF8EscapingWithSuffixes"])
async def test_labels_that_keep_their_dots_are_found_by_every_path(strategy, tmp_path):
    # Its port is an argument, but a config text has to name what it listens on.
    def config(stack):
        return f"{UNTRANSLATED % strategy}# {stack['prometheus'].ports['http']}\n"

    instances = {"prometheus": Instance("prometheus", config=config)}
    with stack_of(tmp_path, instances=instances) as stack:
        async with real_parts(tmp_path) as parts:
            case = prometheus_case(parts, stack["prometheus"].url())
            backend, route, now = case.backend(), fresh_route(), time.time_ns()
            one = canary_of(Signal.METRICS, 1, route, now - SECOND_NS)
            never = canary_of(Signal.METRICS, 2, route, now)
            theirs = canary_of(Signal.METRICS, 1, route, now, instance="bbbb2222")
            await case.write(one, theirs)
            for path in backend.declaration.paths:
                (sighting,) = (await until(backend, path, question_of(one, never), 1)).sightings
                assert sighting.canary_id == one.canary_id
                assert difference(one, [sighting]) == ""
            (spelling,) = backend.spelt[route, one.service_instance]
            assert spelling.dotted


@pytest.mark.stack
async def test_a_series_that_is_spelt_anew_is_found_before_absence_is_told(opened):
    async with opened("prometheus-3") as case:
        backend, route, now = case.backend(), fresh_route(), time.time_ns()
        before = canary_of(Signal.METRICS, 1, route, now - 2 * SECOND_NS)
        after = canary_of(Signal.METRICS, 2, route, now - SECOND_NS)
        await case.write(before)
        paths = backend.declaration.paths_for(Signal.METRICS)
        await until(backend, paths[0], question_of(before), 1)
        await post(case.parts, case.options["url"] + OTLP, as_counter(after))
        for path in paths:
            reading = await until(backend, path, question_of(before, after), 2)
            assert {s.canary_id for s in reading.sightings} == {before.canary_id, after.canary_id}
        names = [spelling.name for spelling in backend.spelt[route, before.service_instance]]
        assert len(set(names)) == 2


@pytest.mark.stack
@pytest.mark.parametrize("name", ["prometheus-3", "cortex"])
async def test_an_exemplar_of_a_counter_sent_by_otlp_leads_to_its_trace(name, opened):
    async with opened(name) as case:
        backend, canary = case.backend(), canary_of(Signal.METRICS, route=fresh_route())
        rule = case.rule()
        headers = (*rule.headers, ("Content-Type", otlp.CONTENT_TYPE))
        url = rule.url + rule.paths[Signal.METRICS]
        request = Request("POST", url, 5.0, headers=headers, body=as_counter(canary))
        assert (await case.parts.outbound.fetch(request)).status == 200
        await until(backend, backend.declaration.paths[0], question_of(canary), 1)
        assert (await backend.trace_ids(canary, 5.0)).found == (canary.trace_id.hex(),)
        other = canary_of(Signal.METRICS, 2, canary.key.route, canary.stamp_ns + SECOND_NS)
        found = await backend.trace_ids(other, 5.0)
        assert (found.complete, found.found) == (True, ())
