"""Where servers are looked for, and that a missing one is never passed over in silence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.stack import servers
from deploy.stack.collector import CollectorPlan, render
from deploy.stack.launch import Stack, free_ports

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with an empty cache and nothing on the PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv(servers.REQUIRE_ALL, raising=False)
    for name in servers.SERVERS:
        monkeypatch.delenv(f"COALMINE_SERVER_{name.upper()}", raising=False)
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


def test_a_distributions_prometheus_without_otlp_is_not_taken(bare):
    old = program(bare / "bin" / "prometheus", "prometheus, version 2.42.0")
    assert servers.find("prometheus") is None
    program(old, "prometheus, version 3.14.0")
    assert servers.find("prometheus") == old


def test_what_cannot_be_installed_is_skipped_with_its_reason_and_counted(bare, monkeypatch, capsys):
    monkeypatch.setattr(servers.os, "geteuid", lambda: 1000)
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
    monkeypatch.setattr(servers, "POLICY", policy)
    with servers._no_service_starts():
        assert "exit 101" in policy.read_text()
        assert os.access(policy, os.X_OK)
    assert not policy.exists()
    program(policy, "mine")
    with pytest.raises(RuntimeError), servers._no_service_starts():
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
    for name, server in servers.SERVERS.items():
        if server.package:
            for pinned in ("go.mod", "go.sum"):
                assert (servers.MODS / name / pinned).stat().st_size > 100
