"""The table of the real servers: what each is, and where this machine has it.

Binaries live in a cache outside the repository and survive it.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

REQUIRE_ALL = "COALMINE_REQUIRE_ALL"
UNTOLD = "unknown version"
_ASK_S = 20.0


class SkippedError(Exception):
    """This machine cannot have the server; the text says why and what would help."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server, and one way to get it: a Go build, a Debian package, or a jar.

    commands: names to look for on the PATH. must_say: what `--version` of one found there has to
    contain, as some distributions carry a version that lacks what the tests need.
    package, tags: what `go build` is given; mods: the folder of its pinned modules, where another
    server has the same. debian: the package. artifact, sha256: Maven coordinates and checksum.
    asks: arguments that make it tell its version; none for what cannot tell. revision: tells
    builds of one version apart, where its parts or their pins changed.
    """

    name: str
    version: str
    commands: tuple[str, ...] = ()
    package: str = ""
    tags: str = ""
    mods: str = ""
    debian: str = ""
    artifact: str = ""
    sha256: str = ""
    must_say: str = ""
    asks: tuple[str, ...] = ("--version",)
    revision: str = ""

    @property
    def variable(self) -> str:
        """The environment variable that names its executable."""
        return f"COALMINE_SERVER_{self.name.upper().replace('-', '_')}"

    @property
    def cached(self) -> Path:
        """Its place in the cache; the version is part of it: a new pin never meets an old build."""
        revision = f"-{self.revision}" if self.revision else ""
        suffix = ".jar" if self.artifact else ""
        return cache() / f"{self.name}-{self.version}{revision}{suffix}"


SERVERS: Mapping[str, Server] = {
    server.name: server
    for server in (
        Server(
            "otelcol",
            "0.159.0",
            ("otelcol-canary",),
            package=".",
            tags="remove_all_sd",
            revision="2",
        ),
        Server("loki", "3.7.8", ("loki",), package="github.com/grafana/loki/v3/cmd/loki"),
        Server(
            "prometheus",
            "3.14.0",
            ("prometheus",),
            package="github.com/prometheus/prometheus/cmd/prometheus",
            tags="remove_all_sd",
            must_say="version 3.",
        ),
        Server(
            "prometheus2", "debian", ("prometheus",), debian="prometheus", must_say="version 2."
        ),
        Server(
            "cortex",
            "1.21.1",
            ("cortex",),
            package="github.com/cortexproject/cortex/cmd/cortex",
            tags="netgo slicelabels",
            must_say="Cortex, version 1.",
        ),
        Server(
            "victoria-metrics",
            "1.150.0",
            ("victoria-metrics",),
            package="github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics",
        ),
        Server(
            "jaeger",
            "1.62.0",
            ("jaeger-all-in-one",),
            package="github.com/jaegertracing/jaeger/cmd/all-in-one",
            asks=("version",),
        ),
        # Nothing is taken from the PATH: there, `jaeger` may be any version of the second series.
        Server(
            "jaeger2",
            "2.0.0-rc2",
            package="github.com/jaegertracing/jaeger/cmd/jaeger",
            mods="jaeger",
        ),
        Server(
            "zipkin",
            "3.6.1",
            artifact="io.zipkin:zipkin-server:3.6.1:jar:exec",
            sha256="d8326e0ed4f43855dba81228f688554706e52578a7c782d9a90b73f8680654a1",
            asks=(),
        ),
        Server(
            "toxiproxy",
            "2.12.0",
            ("toxiproxy-server",),
            package="github.com/Shopify/toxiproxy/v2/cmd/server",
        ),
        Server(
            "pushgateway",
            "debian",
            ("pushgateway", "prometheus-pushgateway"),
            debian="prometheus-pushgateway",
        ),
        Server(
            "alertmanager",
            "debian",
            ("alertmanager", "prometheus-alertmanager"),
            debian="prometheus-alertmanager",
        ),
        Server("promtool", "debian", ("promtool",), debian="prometheus"),
        Server(
            "blackbox",
            "debian",
            ("blackbox_exporter", "prometheus-blackbox-exporter"),
            debian="prometheus-blackbox-exporter",
        ),
        Server("chromium", "debian", ("chromium", "chromium-browser"), debian="chromium"),
    )
}


def cache() -> Path:
    """The folder of the built binaries."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "coalmine" / "servers"


def required() -> bool:
    """Whether a missing server is an error instead of a skip."""
    return os.environ.get(REQUIRE_ALL) == "1"


def java() -> str | None:
    """The command that runs jars: the one below JAVA_HOME, else that of the PATH."""
    home = os.environ.get("JAVA_HOME")
    return (home and shutil.which(f"{home}/bin/java")) or shutil.which("java")


def find(name: str) -> Path | None:
    """The executable or jar of a server: COALMINE_SERVER_<NAME>, then the cache, then the PATH.

    None when it is in none of them, and for a jar where nothing runs it. Raises KeyError for a name
    that is no server.
    """
    server = SERVERS[name]
    named = os.environ.get(server.variable)
    if named:
        return Path(named)
    if server.artifact:
        return server.cached if server.cached.is_file() and java() else None
    if os.access(server.cached, os.X_OK):
        return server.cached
    for command in server.commands:
        for found in _on_path(command):
            if server.must_say in _said(found, server.asks):
                return found
    return None


def version_of(name: str) -> str:
    """The version of the server that `find` finds, as its own binary tells it.

    Ours from pinned sources may tell nothing: then it is the pin. What comes from elsewhere and
    tells nothing is `UNTOLD`. Raises SkippedError when it is missing.
    """
    server, found = SERVERS[name], find(name)
    if found is None:
        raise SkippedError(f"missing server: {name}")
    told = re.search(r"(?<![\w.])v?(\d+\.\d+\.\d+[\w.+-]*)", _said(found, server.asks))
    if told:
        return told[1]
    return server.version if found == server.cached else UNTOLD


def _on_path(command: str) -> Iterator[Path]:
    """Every executable of that name: the first may be of a version that does not serve."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if folder and (found := shutil.which(command, path=folder)):
            yield Path(found)


def _said(command: Path, asks: tuple[str, ...]) -> str:
    if not asks:
        return ""
    done = subprocess.run(
        [str(command), *asks], capture_output=True, text=True, check=False, timeout=_ASK_S
    )
    return done.stdout + done.stderr
