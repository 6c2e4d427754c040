"""Real servers for tests: skipped visibly when missing, an error when all are required."""

from pathlib import Path

import pytest

from deploy.stack.launch import Stack
from deploy.stack.servers import SkippedError, required


def stack_of(folder: Path, *names: str, **options) -> Stack:
    """A stack of `names`, not started. Skips, or fails with COALMINE_REQUIRE_ALL=1."""
    try:
        return Stack(folder, names, **options)
    except SkippedError as exc:
        if required():
            pytest.fail(f"{exc} (all are required)")
        pytest.skip(f"{exc}: python deploy/stack/servers.py install")
