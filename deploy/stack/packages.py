"""Servers that come ready made: Debian packages, and jars from a Maven repository."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.stack.table import Server, SkippedError, cache, java

POLICY = Path("/usr/sbin/policy-rc.d")
JAVA_PACKAGES = ("default-jre-headless", "maven")
# The version is named: without one, Maven asks the repository for the newest.
COPY = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"


def install_debian(*packages: str) -> None:
    """`apt-get install` without recommended packages and without starting services.

    Raises SkippedError when this is not root on Debian, subprocess.CalledProcessError when apt-get
    fails.
    """
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise SkippedError(f"needs root and apt-get: apt-get install {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with no_service_starts():
        subprocess.run([apt, "update", "-qq"], env=environment, check=True)
        subprocess.run(
            [apt, "install", "-y", "-qq", "--no-install-recommends", *packages],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def no_service_starts() -> Iterator[None]:
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


def install_jar(server: Server) -> None:
    """Copy the jar into the cache once its checksum is right.

    Java and Maven are installed where they are missing. Raises SkippedError when they cannot be or
    the checksum differs, subprocess.CalledProcessError when Maven fails.
    """
    if java() is None or shutil.which("mvn") is None:
        install_debian(*JAVA_PACKAGES)
    if server.cached.is_file():
        return
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f".{server.name}-") as folder:
        wanted = [f"-Dartifact={server.artifact}", f"-DoutputDirectory={folder}"]
        subprocess.run(["mvn", "-q", "-B", COPY, *wanted], cwd=folder, check=True)
        (jar,) = Path(folder).glob("*.jar")
        with jar.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != server.sha256:
            raise SkippedError(f"{server.artifact} has sha256 {found}, not {server.sha256}")
        jar.rename(server.cached)
