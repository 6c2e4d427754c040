"""The Collector's configuration, as the test at hand needs it: only its own targets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SIGNALS = ("logs", "metrics", "traces")
_CONTEXTS = {"logs": "log", "metrics": "datapoint", "traces": "span"}
_STATEMENTS = {
    "logs": "log_statements",
    "metrics": "metric_statements",
    "traces": "trace_statements",
}

# Part of a YAML document.
Conf = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CollectorPlan:
    """What one Collector does.

    targets: exporter settings by signal; a signal without one has no pipeline, as a Collector
    with a dead target does not drain. processors: by signal, in order, before the batch.
    queue: settings of each exporter's `sending_queue`. hop: name for the hop stamp.
    """

    targets: Mapping[str, Conf]
    processors: Mapping[str, Mapping[str, Conf]] = field(default_factory=dict)
    queue: Conf = field(default_factory=dict)
    retry: Conf = field(default_factory=dict)
    hop: str = "gateway"

    def with_processors(self, signal: str, processors: Mapping[str, Conf]) -> "CollectorPlan":
        """The same with other processors for `signal`."""
        return replace(self, processors={**self.processors, signal: processors})

    def with_target(self, signal: str, target: Conf) -> "CollectorPlan":
        """The same with another exporter for `signal`."""
        return replace(self, targets={**self.targets, signal: target})


def render(plan: CollectorPlan, ports: Mapping[str, int], data: str) -> str:
    """The configuration file; JSON, which is YAML."""
    reader = {"pull": {"exporter": {"prometheus": _listen(ports["metrics"])}}}
    document = {
        "extensions": {
            "health_check": {"endpoint": f"127.0.0.1:{ports['health']}"},
            "file_storage": {"directory": f"{data}/queue", "create_directory": True},
        },
        "receivers": {
            "otlp": {
                "protocols": {
                    "http": {"endpoint": f"127.0.0.1:{ports['http']}"},
                    "grpc": {"endpoint": f"127.0.0.1:{ports['grpc']}"},
                }
            }
        },
        "processors": _processors(plan),
        "exporters": {f"otlp_http/{signal}": _exporter(plan, signal) for signal in plan.targets},
        "service": {
            "extensions": ["health_check", "file_storage"],
            "telemetry": {
                "logs": {"level": "warn"},
                "metrics": {"level": "detailed", "readers": [reader]},
            },
            "pipelines": {signal: _pipeline(plan, signal) for signal in plan.targets},
        },
    }
    return json.dumps(document, indent=2)


def _listen(port: int) -> Conf:
    return {"host": "127.0.0.1", "port": port}


def _processors(plan: CollectorPlan) -> Conf:
    own = {name: conf for chain in plan.processors.values() for name, conf in chain.items()}
    stamp = f'set(attributes["coalmine.hop.{plan.hop}"], "seen")'
    statements = {
        _STATEMENTS[signal]: [{"context": _CONTEXTS[signal], "statements": [stamp]}]
        for signal in plan.targets
    }
    return {"transform/stamp": statements, "batch": {"timeout": "50ms"}, **own}


def _exporter(plan: CollectorPlan, signal: str) -> Conf:
    retry = {"initial_interval": "200ms", "max_interval": "1s", "max_elapsed_time": "300s"}
    return {
        "sending_queue": {"enabled": True, **plan.queue},
        "retry_on_failure": {**retry, **plan.retry},
        **plan.targets[signal],
    }


def _pipeline(plan: CollectorPlan, signal: str) -> Conf:
    chain = [*plan.processors.get(signal, {}), "transform/stamp", "batch"]
    return {"receivers": ["otlp"], "processors": chain, "exporters": [f"otlp_http/{signal}"]}
