"""What only a store with tenants and a results cache can show, on Cortex."""

import string
import time

import pytest

from core.reason import Reason
from deploy.stack.launch import CONF, TENANT, Instance, Stack
from selfcheck.backends.cortex import CortexBackend, CortexOptions, MimirBackend
from selfcheck.backends.promql import CACHED, SEARCH
from selfcheck.canary.model import Sent, Signal
from tests.contracts.backends.case import Case
from tests.selfcheck.backends.series import SECOND_NS, fresh_route, until
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts
from tests.support.servers import stack_of

_CACHE = """
query_range:
  split_queries_by_interval: 24h
  cache_results: true
  results_cache: {cache: {enable_fifocache: true, fifocache: {max_size_items: 1000, validity: 1h}}}
"""


def cached_config(stack: Stack) -> str:
    """The usual configuration with a results cache that keeps all but the newest second."""
    server = stack["cortex"]
    template = string.Template((CONF / "cortex.yml").read_text())
    usual = template.substitute({**server.ports, "data": server.folder})
    limited = usual.replace("limits: {", "limits: {max_cache_freshness: 1s, ")
    assert limited != usual
    return limited + _CACHE


@pytest.fixture
def caching_cortex(tmp_path):
    with stack_of(
        tmp_path, instances={"cortex": Instance("cortex", config=cached_config)}
    ) as stack:
        yield stack["cortex"]


@pytest.mark.stack
async def test_mode_13_an_old_answer_of_the_cache_is_seen_on_the_cached_path_alone(
    caching_cortex, tmp_path
):
    async with real_parts(tmp_path) as parts:
        options = {"url": caching_cortex.url(), "tenant": TENANT}
        case = Case("cortex", "Cortex", parts, options, lambda _, service: service)
        backend, route, now = case.backend(), fresh_route(), time.time_ns()
        known = canary_of(Signal.METRICS, 1, route, now - 120 * SECOND_NS)
        late = canary_of(Signal.METRICS, 2, route, now - 60 * SECOND_NS)
        await case.write(known)
        await until(backend, SEARCH, question_of(known), 1)
        before = await backend.read(question_of(late), CACHED, 5.0)
        assert (before.complete, before.sightings) == (True, ())
        (receipt,) = await case.write(late)
        assert receipt.sent is Sent.ACCEPTED, receipt.detail
        for path in backend.declaration.paths_for(Signal.METRICS):
            assert (await until(backend, path, question_of(late), 1)).sightings
        stale = await backend.read(question_of(late), CACHED, 5.0)
        assert (stale.complete, stale.sightings) == (True, ())


@pytest.mark.stack
async def test_row_04_without_a_tenant_it_is_auth_and_a_wrong_one_looks_absent(opened):
    async with opened("cortex") as case:
        canary = canary_of(Signal.METRICS, route=fresh_route())
        await case.write(canary)
        for path in case.backend().declaration.paths:
            await until(case.backend(), path, question_of(canary), 1)
            none = await case.backend(tenant="").read(question_of(canary), path, 5.0)
            assert (none.complete, none.reason) == (False, Reason.AUTH)
            wrong = await case.backend(tenant="another-team").read(question_of(canary), path, 5.0)
            assert (wrong.complete, wrong.sightings) == (True, ())
        (receipt,) = await case.write(canary, tenant="")
        assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.AUTH)


def test_mimir_is_written_to_on_a_path_of_its_own_and_takes_no_202():
    options = CortexOptions.model_validate({"url": "http://m:9009", "tenant": "t"})
    rules = {kind.__name__: kind.write_rules(options) for kind in (CortexBackend, MimirBackend)}
    paths = {name: rule["otlp_http"].paths[Signal.METRICS] for name, rule in rules.items()}
    assert paths == {
        "CortexBackend": "/api/v1/otlp/v1/metrics",
        "MimirBackend": "/otlp/v1/metrics",
    }
    for rule in rules["MimirBackend"].values():
        assert 202 not in rule.accepted_status
        assert rule.headers == (("X-Scope-OrgID", "t"),)
