"""A real Collector that changes one field of a record on its way, and is not told unaltered."""

import time

import pytest

from deploy.stack.launch import TENANT
from selfcheck.backends.protocol import BACKENDS
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors.otlp_http import OtlpHttpInjector, OtlpHttpOptions
from tests.contracts.backends.asking import until_seen
from tests.support.canaries import canary_of
from tests.support.parts import real_parts
from tests.support.servers import stack_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(90)]

# What a hop does to the records of one route, and what is said of it.
SPANS = {
    "renamed": ('set(span.name, "GET /")', "span_name: sent 'coalmine.canary', stored 'GET /'"),
    "kind": ("set(span.kind, SPAN_KIND_SERVER)", "span_kind: sent 'internal', stored 'server'"),
    "failed": ("set(span.status.code, 2)", "span_status: sent 'unset', stored 'error'"),
    "longer": (
        "set(span.end_time_unix_nano, span.end_time_unix_nano + 1000000)",
        "span_duration_ns: sent '1000000', stored '2000000'",
    ),
    "adopted": (
        'set(span.parent_span_id.string, "00f067aa0ba902b7")',
        "parent_span_id: sent '', stored '00f067aa0ba902b7'",
    ),
    "typed": (
        'set(span.attributes["coalmine.seq"], Int(span.attributes["coalmine.seq"]))',
        "type of coalmine.seq: sent 'string', stored 'int",
    ),
    "lowered": (
        'set(span.attributes["canary.text"], ToLowerCase(span.attributes["canary.text"]))',
        "attribute canary.text: sent 'Grüße-日本🐤', stored 'grüße-日本🐤'",
    ),
    "ascii": (
        'replace_pattern(span.attributes["canary.text"], "[^ -~]", "?")',
        "attribute canary.text: sent 'Grüße-日本🐤', stored 'Gr??e-???'",
    ),
}
LOGS = {
    "louder": ('set(log.severity_text, "ERROR")', "severity_text: sent 'INFO', stored 'ERROR'"),
    "quieter": (
        "set(log.severity_number, SEVERITY_NUMBER_DEBUG)",
        "severity_number: sent '9', stored '5'",
    ),
    "lowered": ("set(log.body, ToLowerCase(log.body))", "body: sent 'Coalmine "),
    "ascii": ('replace_pattern(log.body, "[^ -~]", "?")', "body: sent 'Coalmine "),
    "folded": ('replace_pattern(log.body, " +", " ")', "body: sent 'Coalmine "),
    "unlinked": ('set(log.trace_id.string, "00f067aa0ba902b700f067aa0ba902b7")', "trace_id: sent "),
}


def processors(signal: Signal, context: str, changes) -> dict[str, object]:
    """One transform that does to each route's records what the route is named after."""
    statements = [
        f'{what} where {context}.attributes["coalmine.route"] == "{name}"'
        for name, (what, _) in changes.items()
    ]
    kind = "trace_statements" if signal is Signal.TRACES else "log_statements"
    return {f"transform/{signal}": {"error_mode": "propagate", kind: statements}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with stack_of(tmp_path_factory.mktemp("stack"), "otelcol", "loki", "jaeger") as running:
        plan = running.plan.with_processors("logs", processors(Signal.LOGS, "log", LOGS))
        plan = plan.with_processors("traces", processors(Signal.TRACES, "span", SPANS))
        running.reconfigure(plan)
        yield running


async def told(stack, tmp_path, kind, signal, options, changes) -> dict[str, set[str]]:
    """By route, what each access path's sighting differs by."""
    adapter = BACKENDS.load(kind)
    found = {}
    async with real_parts(tmp_path) as parts:
        written = {"url": stack[kind].url(), **options}
        backend = adapter.build(adapter.options_model.model_validate(written), parts)
        inject = OtlpHttpInjector.build(OtlpHttpOptions(url=stack["otelcol"].url()), parts, None)
        for name in ("untouched", *changes):
            canary = canary_of(signal, time.time_ns(), name)
            assert (await inject.send(canary, 5.0)).sent is Sent.ACCEPTED
            found[name] = set()
            for path in adapter.declaration.paths_for(signal):
                (one,) = (await until_seen(backend, path, canary, within_s=20)).sightings
                assert same_record(canary, one, adapter.declaration.precision_ns)
                found[name].add(difference(canary, [one]))
    return found


@pytest.mark.parametrize("api", ["v1", "v3"])
async def test_a_span_that_a_hop_changed_in_one_field_is_altered(stack, tmp_path, api):
    found = await told(stack, tmp_path, "jaeger", Signal.TRACES, {"api": api}, SPANS)
    assert found.pop("untouched") == {""}
    for name, (_, said) in SPANS.items():
        assert all(one.startswith(said) for one in found[name]), (name, found[name])


async def test_a_log_that_a_hop_changed_in_one_field_is_altered(stack, tmp_path):
    found = await told(stack, tmp_path, "loki", Signal.LOGS, {"tenant": TENANT}, LOGS)
    assert found.pop("untouched") == {""}
    for name, (_, said) in LOGS.items():
        assert all(one.startswith(said) for one in found[name]), (name, found[name])
