"""The repository as tests of its shape see it: files, modules and what they import."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "probes", "selfcheck", "paging", "scheduler", "tui", "dashboards", "coalmine")
"""Our packages, from the leaf to the front door."""


@cache
def repository_files() -> tuple[str, ...]:
    """Every text file that is, or is about to be, in the repository."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    # Without git (an unpacked archive) the folders are walked instead.
    names = listed.stdout.split("\0") if listed.returncode == 0 else _walked()
    return tuple(sorted(name for name in names if name and (ROOT / name).is_file()))


def _walked() -> list[str]:
    hidden = re.compile(r"(^|/)(\.(?!ci/)|__pycache__|build/|dist/)")
    found = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file())
    return [name for name in found if not hidden.search(name)]


def python_files(*below: str) -> tuple[str, ...]:
    """Python files under the folders `below`; everywhere when none is named."""
    files = (name for name in repository_files() if name.endswith(".py"))
    return tuple(name for name in files if not below or name.split("/")[0] in below)


@cache
def tree_of(name: str) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse((ROOT / name).read_text(), name)


def imports_of(name: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import in the file, those inside functions too."""
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{each.name}") for each in node.names)
