"""Two real Collectors in a row, and one whose parts are those of the scrape, Zipkin and file routes."""

import json
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest

from deploy.stack.launch import TENANT, Instance, through
from tests.support.servers import listeners, stack_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(90)]

PATIENCE_S = 30.0
SPAN = {
    "traceId": "00000000000000000000000000beef01",
    "id": "00000000000000b1",
    "name": "lamp",
    "localEndpoint": {"serviceName": "shop"},
}


def call(url, body=None, headers=None, method=None):
    """The answer's text; empty for a refusal."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    fixed = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, fixed, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as exc:
        exc.close()
        return ""


def until(url, part, headers=None, first=""):
    """The first answer that has `part`; `first` is asked before each."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        if first:
            call(first)
        text = call(url, headers=headers)
        if part in text:
            return text
        assert time.monotonic() < ends, f"{part!r} is never in {url}: {text[-500:]}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    agent = Instance("otelcol", plan=through("otelcol", hop="agent"))
    folder = tmp_path_factory.mktemp("chain")
    with stack_of(folder, "otelcol", "loki", instances={"agent": agent}) as stack:
        yield stack


def found(stack, word):
    query = quote(f'{{service_name="shop"}} |= "{word}"')
    return f"{stack['loki'].url()}/loki/api/v1/query_range?query={query}"


def say(stack, word):
    record = {"timeUnixNano": str(time.time_ns()), "body": {"stringValue": word}}
    named = {"key": "service.name", "value": {"stringValue": "shop"}}
    logs = {"resource": {"attributes": [named]}, "scopeLogs": [{"logRecords": [record]}]}
    call(f"{stack['agent'].url()}/v1/logs", {"resourceLogs": [logs]})


def test_a_line_passes_agent_and_gateway_and_carries_both_stamps(chain):
    say(chain, "sold a lamp")
    text = until(found(chain, "lamp"), "sold a lamp", {"X-Scope-OrgID": TENANT})
    assert "coalmine_hop_agent" in text
    assert "coalmine_hop_gateway" in text


def test_the_agent_keeps_a_line_while_the_gateway_is_gone(chain):
    chain.stop("otelcol")
    try:
        say(chain, "sold a chair")
    finally:
        chain.start("otelcol")
    until(found(chain, "chair"), "sold a chair", {"X-Scope-OrgID": TENANT})


def test_both_keep_to_loopback(chain):
    for name in ("agent", "otelcol"):
        waits = listeners(chain[name].process.pid)
        assert {port for _, _, port in waits} == set(chain[name].ports.values())
        assert [wait for wait in waits if not wait[1].is_loopback] == []


def edge(stack):
    """Scrapes and writes on by remote write, turns Zipkin into OTLP/gRPC, tails a file."""
    own, data = stack["edge"].ports, stack["edge"].folder
    target = {"targets": [f"127.0.0.1:{stack['pushgateway'].ports['http']}"]}
    job = {
        "job_name": "shop",
        "honor_labels": True,
        "scrape_interval": "200ms",
        "scrape_timeout": "200ms",
        "static_configs": [target],
    }
    store = stack["victoria-metrics"].url()
    return json.dumps(
        {
            "extensions": {
                "health_check": {"endpoint": f"127.0.0.1:{own['health']}"},
                "file_storage": {"directory": f"{data}/state", "create_directory": True},
            },
            "receivers": {
                "prometheus": {"config": {"scrape_configs": [job]}},
                "zipkin": {"endpoint": f"127.0.0.1:{own['zipkin']}"},
                "file_log": {
                    "include": [f"{data}/*.txt"],
                    "start_at": "beginning",
                    "poll_interval": "50ms",
                    "storage": "file_storage",
                },
            },
            "processors": {"memory_limiter": {"check_interval": "1s", "limit_mib": 400}},
            "connectors": {"forward": {}},
            "exporters": {
                "prometheus_remote_write": {"endpoint": f"{store}/api/v1/write"},
                "prometheus": {"endpoint": f"127.0.0.1:{own['page']}"},
                "otlp_grpc": {
                    "endpoint": f"127.0.0.1:{stack['jaeger2'].ports['otlp-grpc']}",
                    "tls": {"insecure": True},
                },
                "file": {"path": f"{data}/out.jsonl", "flush_interval": "50ms"},
            },
            "service": {
                "extensions": ["health_check", "file_storage"],
                "telemetry": {"logs": {"level": "warn"}, "metrics": {"level": "none"}},
                "pipelines": {
                    "metrics": {
                        "receivers": ["prometheus"],
                        "processors": ["memory_limiter"],
                        "exporters": ["prometheus_remote_write", "prometheus"],
                    },
                    "traces": {"receivers": ["zipkin"], "exporters": ["otlp_grpc"]},
                    "logs/in": {"receivers": ["file_log"], "exporters": ["forward"]},
                    "logs/out": {"receivers": ["forward"], "exporters": ["file"]},
                },
            },
        }
    )


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    one = Instance("otelcol", config=edge, ports=("zipkin", "page"))
    names = ("victoria-metrics", "pushgateway", "jaeger2")
    with stack_of(tmp_path_factory.mktemp("edge"), *names, instances={"edge": one}) as stack:
        yield stack


def test_what_is_scraped_reaches_the_store_and_the_page(routes):
    group = f"{routes['pushgateway'].url()}/metrics/job/shop/instance/till"
    call(group, b"lamps_sold 3\n", method="PUT")
    store = routes["victoria-metrics"].url()
    page = until(f"{routes['edge'].url('page')}/metrics", 'lamps_sold{instance="till",job="shop"')
    assert re.search(r"^lamps_sold\{.*} 3$", page, re.MULTILINE)
    query = f"{store}/api/v1/query?query=lamps_sold{{instance=%22till%22}}&time=now&nocache=1"
    assert '"3"]' in until(query, '"lamps_sold"', first=f"{store}/internal/force_flush")


def test_a_zipkin_span_becomes_one_of_otlp(routes):
    span = {**SPAN, "timestamp": time.time_ns() // 1000, "duration": 5}
    call(f"{routes['edge'].url('zipkin')}/api/v2/spans", [span])
    until(f"{routes['jaeger2'].url()}/api/traces/{SPAN['traceId']}", '"operationName":"lamp"')


def test_a_line_of_a_file_passes_the_forward_connector(routes):
    folder: Path = routes["edge"].folder
    (folder / "till.txt").write_text("sold a table\n")
    ends = time.monotonic() + PATIENCE_S
    while "sold a table" not in (folder / "out.jsonl").read_text():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_another_config_text_takes_effect_on_the_same_ports(routes):
    before = routes["edge"].ports
    document = json.loads(edge(routes))
    document["extensions"]["health_check"]["response_body"] = {"healthy": "a second text"}
    routes.reconfigure(json.dumps(document), "edge")
    assert routes["edge"].ports == before
    assert call(routes["edge"].url("health")) == "a second text"
