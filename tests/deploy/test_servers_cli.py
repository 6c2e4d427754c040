"""Where servers are looked for, and that a missing one is never passed over in silence."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.stack import gobuild, packages, servers
from deploy.stack.collector import CollectorPlan, render
from deploy.stack.launch import Stack, free_ports

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with an empty cache and nothing on the PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv(servers.REQUIRE_ALL, raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    for server in servers.SERVERS.values():
        monkeypatch.delenv(server.variable, raising=False)
    return tmp_path


def program(path, says="", code=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_the_environment_wins_over_the_cache_and_the_cache_over_the_path(bare, monkeypatch):
    assert servers.find("loki") is None
    on_path = program(bare / "bin" / "loki")
    assert servers.find("loki") == on_path
    cached = program(servers.cache() / "loki-3.7.8")
    assert servers.find("loki") == cached
    monkeypatch.setenv("COALMINE_SERVER_LOKI", "/opt/loki")
    assert servers.find("loki") == Path("/opt/loki")


def test_a_name_with_a_dash_has_a_variable_that_a_shell_can_set():
    assert servers.SERVERS["victoria-metrics"].variable == "COALMINE_SERVER_VICTORIA_METRICS"


def test_of_two_prometheus_on_the_path_each_server_gets_its_own(bare, monkeypatch):
    monkeypatch.setenv("PATH", f"{bare}/local:{bare}/bin")
    old = program(bare / "bin" / "prometheus", "prometheus, version 2.42.0+ds (branch: debian)")
    assert servers.find("prometheus") is None
    assert servers.find("prometheus2") == old
    new = program(bare / "local" / "prometheus", "prometheus, version 3.14.0 (branch: main)")
    assert (servers.find("prometheus"), servers.find("prometheus2")) == (new, old)
    assert (servers.version_of("prometheus"), servers.version_of("prometheus2")) == (
        "3.14.0", "2.42.0+ds",
    )  # fmt: skip


def test_the_version_is_what_the_binary_tells_else_the_pin_of_our_own_build(bare, monkeypatch):
    with pytest.raises(servers.SkippedError, match="missing server: loki"):
        servers.version_of("loki")
    program(servers.SERVERS["loki"].cached, "loki, version  (branch: , revision: )\ngo1.26.8")
    assert servers.version_of("loki") == "3.7.8"
    stranger = program(bare / "loki", "a loki")
    monkeypatch.setenv("COALMINE_SERVER_LOKI", str(stranger))
    assert servers.version_of("loki") == servers.UNTOLD
    program(stranger, "loki, version v3.9.1-rc.2 (branch: main)")
    assert servers.version_of("loki") == "3.9.1-rc.2"


def test_a_jar_counts_only_where_something_runs_it(bare, monkeypatch):
    jar = servers.SERVERS["zipkin"].cached
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"jar")
    assert jar.name == "zipkin-3.6.1.jar"
    assert servers.find("zipkin") is None
    program(bare / "jdk" / "bin" / "java")
    monkeypatch.setenv("JAVA_HOME", str(bare / "jdk"))
    assert servers.find("zipkin") == jar
    assert servers.version_of("zipkin") == "3.6.1"


def test_without_java_the_jar_is_skipped_with_the_remedy(bare, monkeypatch, capsys):
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    assert servers.install_all(["zipkin"]) == 0
    said = capsys.readouterr().out
    assert "apt-get install default-jre-headless maven" in said
    assert "1 skipped: zipkin" in said


MVN = """#!/bin/sh
for word in "$@"; do case $word in -DoutputDirectory=*) folder=${word#*=};; esac; done
printf '%s' "$*" > "$MVN_SAW"
printf jar > "$folder/zipkin-server-3.6.1-exec.jar"
"""


@pytest.mark.parametrize("right", [True, False])
def test_a_jar_reaches_the_cache_only_with_the_right_checksum(bare, monkeypatch, capsys, right):
    program(bare / "bin" / "java")
    program(bare / "bin" / "mvn").write_text(MVN)
    monkeypatch.setenv("MVN_SAW", str(bare / "saw"))
    zipkin = servers.SERVERS["zipkin"]
    checksum = hashlib.sha256(b"jar").hexdigest() if right else zipkin.sha256
    monkeypatch.setitem(servers.SERVERS, "zipkin", replace(zipkin, sha256=checksum))
    servers.install_all(["zipkin"])
    assert "-Dartifact=io.zipkin:zipkin-server:3.6.1:jar:exec" in (bare / "saw").read_text()
    assert zipkin.cached.exists() is right
    assert ("has sha256" in capsys.readouterr().out) is not right
    assert {path.name for path in servers.cache().iterdir()} <= {".lock", zipkin.cached.name}


def test_a_package_of_another_version_is_a_skip_that_says_so(bare, monkeypatch, capsys):
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "POLICY", bare / "policy-rc.d")
    program(bare / "bin" / "apt-get")
    program(bare / "bin" / "prometheus", "prometheus, version 3.5.0")
    servers.install_all(["prometheus2"])
    assert "installed, but no prometheus that says 'version 2.'" in capsys.readouterr().out


def test_what_cannot_be_installed_is_skipped_with_its_reason_and_counted(bare, monkeypatch, capsys):
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    program(bare / "bin" / "apt-get")
    assert servers.install_all(["chromium"]) == 0
    said = capsys.readouterr().out
    assert "skipped: needs root" in said
    assert "0 ready, 1 skipped: chromium" in said
    monkeypatch.setenv(servers.REQUIRE_ALL, "1")
    assert servers.install_all(["chromium"]) == 1
    assert servers.status(["chromium"]) == 1


def test_a_build_that_fails_leaves_nothing_in_the_cache_and_is_a_skip(bare, capsys):
    program(bare / "bin" / "go", "go version go1.99.1 linux/amd64", code=3)
    servers.install_all(["loki"])
    assert "skipped: go ended with 3" in capsys.readouterr().out
    assert [path.name for path in servers.cache().iterdir()] == [".lock"]


def test_a_build_is_renamed_into_the_cache_when_it_is_whole(bare, capsys):
    script = 'if [ "$1" = version ]; then echo go version go1.99.1; else echo x > built; fi'
    go = program(bare / "bin" / "go")
    go.write_text(f"#!/bin/sh\n{script}\n")
    servers.install_all(["jaeger"])
    assert "installed" in capsys.readouterr().out
    assert (servers.cache() / "jaeger-1.62.0").read_text() == "x\n"


def test_services_are_held_back_while_packages_install_and_the_policy_is_restored(
    bare, monkeypatch
):
    policy = bare / "policy-rc.d"
    monkeypatch.setattr(packages, "POLICY", policy)
    with packages.no_service_starts():
        assert "exit 101" in policy.read_text()
        assert os.access(policy, os.X_OK)
    assert not policy.exists()
    program(policy, "mine")
    with pytest.raises(RuntimeError), packages.no_service_starts():
        raise RuntimeError("apt failed")
    assert "mine" in policy.read_text()


def test_the_command_line_names_every_server(bare):
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy/stack/servers.py"), "status"],
        capture_output=True, text=True, check=True, env={**os.environ},
    )  # fmt: skip
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(servers.SERVERS)
    assert done.stdout.count("missing") == len(servers.SERVERS)


def test_a_stack_with_a_missing_server_is_skipped_before_anything_starts(bare):
    with pytest.raises(servers.SkippedError, match="loki"):
        Stack(bare / "stack", ["loki"])
    assert not (bare / "stack").exists()


def test_ports_are_free_and_differ():
    ports = free_ports(["a", "b", "c", "d"])
    assert len(set(ports.values())) == 4
    assert all(15_000 <= port < 32_000 for port in ports.values())


def test_the_collector_gets_pipelines_only_for_its_targets():
    plan = CollectorPlan({"logs": {"endpoint": "http://127.0.0.1:1"}}, hop="agent")
    text = render(plan, dict.fromkeys(("http", "grpc", "metrics", "health"), 1), "/data")
    assert '"pipelines": {\n      "logs"' in text
    assert "traces" not in text
    assert "coalmine.hop.agent" in text


def test_pinned_modules_come_with_their_checksums():
    built = [server for server in servers.SERVERS.values() if server.package]
    assert len(built) >= 8
    for server in built:
        for file in ("go.mod", "go.sum"):
            assert (gobuild.pinned(server) / file).stat().st_size > 100
    used = {gobuild.pinned(server).name for server in built}
    assert used == {folder.name for folder in gobuild.MODS.iterdir()}


def test_every_server_has_exactly_one_way_to_be_had():
    for server in servers.SERVERS.values():
        assert [bool(server.package), bool(server.debian), bool(server.artifact)].count(True) == 1
