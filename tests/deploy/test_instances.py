"""Stacks in which a server stands more than once, or with a config text of its own."""

import json

import pytest

from deploy.stack import table
from deploy.stack.collector import CollectorPlan
from deploy.stack.launch import Instance, LaunchError, Stack, through

EVERYTHING = ("loki", "otelcol")


@pytest.fixture
def known(monkeypatch):
    """Servers that are found; nothing is started."""
    for name in EVERYTHING:
        monkeypatch.setenv(table.SERVERS[name].variable, "/bin/true")


def written(stack, name):
    stack._write_config(stack[name])
    return (stack[name].folder / "config.yml").read_text()


@pytest.fixture
def chain(known, tmp_path):
    agent = Instance("otelcol", plan=through("otelcol", hop="agent"))
    return Stack(tmp_path, ["otelcol", "loki"], instances={"agent": agent})


def test_an_agent_sends_to_the_gateway_and_the_gateway_to_the_store(chain):
    agent, gateway = (json.loads(written(chain, name)) for name in ("agent", "otelcol"))
    exporters = agent["exporters"].values()
    assert {exporter["endpoint"] for exporter in exporters} == {chain["otelcol"].url()}
    assert gateway["exporters"]["otlp_http/logs"]["endpoint"] == f"{chain['loki'].url()}/otlp"
    assert "coalmine.hop.agent" in json.dumps(agent["processors"])
    assert "coalmine.hop.gateway" in json.dumps(gateway["processors"])


def test_two_of_a_server_share_neither_port_nor_folder(chain):
    agent, gateway = chain["agent"], chain["otelcol"]
    assert not set(agent.ports.values()) & set(gateway.ports.values())
    assert agent.folder != gateway.folder
    assert (agent.server, gateway.server) == ("otelcol", "otelcol")


def test_what_receives_starts_before_what_sends_to_it(chain):
    assert chain._order() == ["loki", "otelcol", "agent"]


def test_the_plan_is_that_of_the_one_called_otelcol(chain):
    assert set(chain.plan.targets) == {"logs"}
    assert chain.plan.hop == "gateway"


def test_a_stack_with_only_a_text_for_its_collector_has_no_plan(known, tmp_path):
    stack = Stack(tmp_path, [], instances={"otelcol": Instance("otelcol", config=lambda _: "")})
    with pytest.raises(LaunchError, match="no otelcol with a plan"):
        _ = stack.plan


def test_a_config_text_is_written_as_given_and_knows_every_port_of_the_stack(known, tmp_path):
    def text(stack):
        return f"$health {stack['edge'].ports['zipkin']} {stack['loki'].url()}"

    edge = Instance("otelcol", config=text, ports=("zipkin",))
    stack = Stack(tmp_path, ["loki"], instances={"edge": edge})
    assert written(stack, "edge") == (
        f"$health {stack['edge'].ports['zipkin']} {stack['loki'].url()}"
    )


def test_only_the_ports_that_a_config_text_names_are_waited_for(known, tmp_path):
    one = Instance("otelcol", config=lambda stack: f"health: {stack['one'].ports['health']}")
    stack = Stack(tmp_path, [], instances={"one": one, "two": Instance("otelcol")})
    assert set(stack["one"].listeners) == {"health"}
    assert stack["two"].listeners == stack["two"].ports
    assert isinstance(stack["two"].config, CollectorPlan)


def test_a_missing_server_of_an_instance_is_a_skip(known, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(table.SkippedError, match="missing servers: cortex"):
        Stack(tmp_path / "stack", ["loki"], instances={"second": Instance("cortex")})
    assert not (tmp_path / "stack").exists()
