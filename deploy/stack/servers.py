"""The real servers of the tests: where they are, and how they get there.

`install [NAME…]` builds or installs what is missing, `status` says what is there and which version
it tells. What there is to have is in `table`; how it is had in `gobuild` and `packages`.
"""

import argparse
import contextlib
import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from deploy.stack import gobuild, packages  # noqa: E402  the path comes first
from deploy.stack.table import (  # noqa: E402
    REQUIRE_ALL,
    SERVERS,
    UNTOLD,
    Server,
    SkippedError,
    cache,
    find,
    java,
    required,
    version_of,
)

__all__ = [
    "REQUIRE_ALL", "SERVERS", "UNTOLD", "Server", "SkippedError", "cache", "find", "install",
    "install_all", "java", "required", "status", "version_of",
]  # fmt: skip


def install(name: str) -> str:
    """Make a server available; what was done, for people. Raises SkippedError.

    A build that fails although it could be tried raises subprocess.CalledProcessError.
    """
    server = SERVERS[name]
    if (present := find(name)) is not None:
        return f"present, {present}"
    if server.debian:
        packages.install_debian(server.debian)
    elif server.artifact:
        packages.install_jar(server)
    else:
        gobuild.build(server)
    if (installed := find(name)) is None:
        wanted = f" that says {server.must_say!r}" if server.must_say else ""
        raise SkippedError(f"installed, but no {' or '.join(server.commands) or name}{wanted}")
    return f"installed, {installed}"


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
            print(f"{name:16} {time.monotonic() - started:6.1f} s  {said}", flush=True)
    missing = f": {', '.join(skipped)}" if skipped else ""
    print(f"{len(names) - len(skipped)} ready, {len(skipped)} skipped{missing}")
    return 1 if skipped and required() else 0


def status(names: list[str]) -> int:
    """Print version and place of each server; 1 when one is missing and all are required."""
    found = {name: find(name) for name in names}
    for name, path in found.items():
        version = version_of(name) if path else SERVERS[name].version
        print(f"{name:16} {version:16} {path or 'missing'}")
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
