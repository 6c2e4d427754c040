"""How each server is started: its listeners, all on loopback, its arguments and its proof.

Every listener is named: those left out would take their usual ports, some on all interfaces.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack import proofs
from deploy.stack.ports import HOST
from deploy.stack.proofs import Ports, Proof
from deploy.stack.table import java

STOP_S = 5.0

Arguments = Callable[[Ports, Path], list[str]]


def _nothing(_folder: Path) -> list[str]:
    """Most servers are executables of their own."""
    return []


@dataclass(frozen=True, slots=True)
class Spec:
    """How one server is started: names of its ports, arguments, ready path, proof of use.

    config: its template in `conf`. folders: those below its own that have to be there. runner:
    what stands before the executable, given the folder. grace_s: how long a SIGTERM is given
    before a SIGKILL.
    """

    ports: tuple[str, ...]
    arguments: Arguments
    ready: tuple[str, str]
    prove: Proof
    config: str = ""
    folders: tuple[str, ...] = ()
    runner: Callable[[Path], list[str]] = _nothing
    environment: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = STOP_S


def _with_config(flag: str) -> Arguments:
    return lambda _ports, folder: [f"{flag}={folder}/config.yml"]


def _prometheus(*more: str) -> Arguments:
    return lambda ports, folder: [
        f"--config.file={folder}/config.yml",
        f"--web.listen-address={HOST}:{ports['http']}",
        f"--storage.tsdb.path={folder}/data",
        "--web.enable-remote-write-receiver",
        "--web.enable-admin-api",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
        *more,
    ]


def _victoria_metrics(ports: Ports, folder: Path) -> list[str]:
    return [
        f"-httpListenAddr={HOST}:{ports['http']}",
        f"-storageDataPath={folder}/data",
        "-retentionPeriod=1d",
        "-search.latencyOffset=0s",
        "-opentelemetry.usePrometheusNaming",
        "-loggerLevel=WARN",
    ]


_JAEGER_LISTENERS = {
    "query.http-server.host-port": "http",
    "query.grpc-server.host-port": "query-grpc",
    "collector.otlp.http.host-port": "otlp",
    "collector.otlp.grpc.host-port": "otlp-grpc",
    "collector.http-server.host-port": "thrift",
    "collector.grpc-server.host-port": "grpc",
    "admin.http.host-port": "admin",
    "http-server.host-port": "agent",
    "processor.jaeger-binary.server-host-port": "udp-binary",
    "processor.jaeger-compact.server-host-port": "udp-compact",
    "processor.zipkin-compact.server-host-port": "udp-zipkin",
}


def _jaeger(ports: Ports, _folder: Path) -> list[str]:
    named = [f"--{flag}={HOST}:{ports[port]}" for flag, port in _JAEGER_LISTENERS.items()]
    return [*named, "--collector.zipkin.host-port="]


def _zipkin(ports: Ports, _folder: Path) -> list[str]:
    # QUERY_PORT and SERVER_ADDRESS leave it on all interfaces; these do not.
    listener = "--armeria.ports[0]"
    return [
        f"{listener}.address={HOST}",
        f"{listener}.port={ports['http']}",
        f"{listener}.protocols[0]=http",
    ]


def _run_jar(folder: Path) -> list[str]:
    # Its own DNS client has a UDP socket on all interfaces. The JVM's performance data and
    # unpacked libraries would be left in the machine's temporary folder.
    return [
        java() or "java",
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        f"-Djava.io.tmpdir={folder}",
        "-Dcom.linecorp.armeria.useJdkDnsResolver=true",
        "-jar",
    ]


SPECS: Mapping[str, Spec] = {
    "otelcol": Spec(
        ("http", "grpc", "metrics", "health"),
        _with_config("--config"),
        ("health", "/"),
        proofs.collector,
    ),
    "loki": Spec(
        ("http", "grpc", "gossip"),
        _with_config("-config.file"),
        ("http", "/ready"),
        proofs.loki,
        "loki.yml",
    ),
    "prometheus": Spec(
        ("http",),
        _prometheus("--web.enable-otlp-receiver"),
        ("http", "/-/ready"),
        proofs.prometheus,
        "prometheus.yml",
    ),
    "prometheus2": Spec(
        ("http",),
        _prometheus(),
        ("http", "/-/ready"),
        proofs.prometheus2,
        "prometheus.yml",
    ),
    "cortex": Spec(
        ("http", "grpc", "gossip"),
        _with_config("-config.file"),
        ("http", "/ready"),
        proofs.cortex,
        "cortex.yml",
        folders=("ruler", "alertmanager"),
    ),
    "victoria-metrics": Spec(
        ("http",),
        _victoria_metrics,
        ("http", "/health"),
        proofs.victoria_metrics,
    ),
    "jaeger": Spec(
        tuple(_JAEGER_LISTENERS.values()),
        _jaeger,
        ("admin", "/"),
        proofs.jaeger,
        environment={"SPAN_STORAGE_TYPE": "memory", "OTEL_TRACES_SAMPLER": "always_off"},
    ),
    "jaeger2": Spec(
        ("http", "query-grpc", "otlp", "otlp-grpc", "admin"),
        _with_config("--config"),
        ("admin", "/status"),
        proofs.jaeger,
        "jaeger2.yml",
        environment={"OTEL_TRACES_SAMPLER": "always_off"},
    ),
    "zipkin": Spec(
        ("http",),
        _zipkin,
        ("http", "/health"),
        proofs.zipkin,
        runner=_run_jar,
        environment={
            "STORAGE_TYPE": "mem",
            "MEM_MAX_SPANS": "50000",
            "UI_ENABLED": "false",
            "SELF_TRACING_ENABLED": "false",
            "LOGGING_LEVEL_ROOT": "WARN",
        },
    ),
    "toxiproxy": Spec(
        ("http",),
        lambda ports, _folder: ["-host", HOST, "-port", str(ports["http"])],
        ("http", "/version"),
        proofs.toxiproxy,
        environment={"LOG_LEVEL": "warn"},
    ),
    "pushgateway": Spec(
        ("http",),
        lambda ports, folder: [
            f"--web.listen-address={HOST}:{ports['http']}",
            f"--persistence.file={folder}/data",
            "--log.level=warn",
        ],
        ("http", "/-/ready"),
        proofs.pushgateway,
    ),
    "alertmanager": Spec(
        ("http",),
        lambda ports, folder: [
            f"--config.file={folder}/config.yml",
            f"--web.listen-address={HOST}:{ports['http']}",
            "--cluster.listen-address=",
            f"--storage.path={folder}/data",
        ],
        ("http", "/-/ready"),
        proofs.alertmanager,
        "alertmanager.yml",
    ),
    "blackbox": Spec(
        ("http",),
        lambda ports, folder: [
            f"--config.file={folder}/config.yml",
            f"--web.listen-address={HOST}:{ports['http']}",
        ],
        ("http", "/-/healthy"),
        proofs.blackbox,
        "blackbox.yml",
    ),
}
