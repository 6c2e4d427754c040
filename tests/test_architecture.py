"""The shape of the code as docs/design.md draws it: folders, doors, seams, sizes and names.

Layers and most doors are import-linter's (pyproject.toml); here stands what it cannot see.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from core.kinds import Registry
from paging.receivers.protocol import RECEIVERS, Receiver
from probes.protocol import PROBES, Probe
from selfcheck.backends.protocol import BACKENDS, Backend
from selfcheck.cost.rules.protocol import RULES, BillingRule, rule
from selfcheck.hops.protocol import HOP_READERS, HopReader
from selfcheck.injectors.protocol import INJECTORS, Injector
from tests.support.tree import PACKAGES, ROOT, imports_of, python_files, repository_files, tree_of

REGISTRIES: tuple[tuple[Registry[Any], type], ...] = (
    (PROBES, Probe), (BACKENDS, Backend), (INJECTORS, Injector), (HOP_READERS, HopReader),
    (RECEIVERS, Receiver),
)  # fmt: skip
SEAM_LIBRARIES = {
    "backend": {"opentelemetry.proto", "google.protobuf"},
    "injector": {"opentelemetry.proto", "google.protobuf"},
    "hop": {"prometheus_client"},
    "receiver": {"httpx"},
    "probe": set(),
}
"""Door libraries that loading a kind of the seam may load; no other kind may load any."""
DOOR_LIBRARIES = (
    "textual", "playwright", "pycurl", "apscheduler", "sqlmodel", "sqlalchemy", "alembic",
    "grafana_foundation_sdk", "prometheus_client", "httpx", "opentelemetry.sdk",
    "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf", "starlette", "uvicorn",
    "psycopg", "grpc", "requests", "cramjam", "botocore",
)  # fmt: skip
SDK_HOMES = ("scheduler/export/", "coalmine/demo/", "selfcheck/injectors/sdk/")
DOORS = {
    "opentelemetry.sdk": SDK_HOMES,
    "opentelemetry.exporter": SDK_HOMES,
    "opentelemetry.metrics": SDK_HOMES,
    "opentelemetry.trace": SDK_HOMES,
    "opentelemetry._logs": SDK_HOMES,
    "opentelemetry.proto": ("selfcheck/",),
    "google.protobuf": ("selfcheck/",),
    "google.rpc": ("selfcheck/injectors/otlp_grpc/",),
}
"""Parts of one distribution that import-linter sees as one: where each may be imported."""
CLOCKS = {
    "time": {"time", "monotonic", "perf_counter", "clock_gettime", "sleep", "time_ns"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "asyncio": {"sleep"},
}
VAGUE = {"utils", "util", "common", "misc", "manager", "base", "helpers"}
KINDS = [(registry, kind) for registry, _ in REGISTRIES for kind in registry.entries]


def within(name: str, homes: tuple[str, ...]) -> bool:
    return name.startswith(homes)


@pytest.mark.parametrize("library", DOORS)
def test_each_part_of_opentelemetry_is_imported_in_its_own_place(library):
    strays = [
        f"{name}:{line} {module}"
        for name in python_files(*PACKAGES)
        for line, module in imports_of(name)
        if f"{module}.".startswith(f"{library}.") and not within(name, DOORS[library])
    ]
    assert strays == []


def test_no_part_of_opentelemetry_is_without_a_door():
    """A new sub-package of it needs a line in DOORS."""
    strays = [
        f"{name}:{line} {module}"
        for name in python_files(*PACKAGES)
        for line, module in imports_of(name)
        if module.startswith(("opentelemetry", "google"))
        and not any(f"{module}.".startswith(f"{door}.") for door in DOORS)
    ]
    assert strays == []


def clock_calls(name: str) -> Iterator[str]:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Attribute):
            owner = node.value
            who = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if node.attr in CLOCKS.get(who, ()):
                yield f"{name}:{node.lineno} {who}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            taken = {each.name for each in node.names} & CLOCKS.get(node.module or "", set())
            if taken and node.module in {"time", "asyncio"}:
                yield f"{name}:{node.lineno} from {node.module} import {', '.join(taken)}"


def test_only_the_clock_asks_the_time():
    files = [name for name in python_files(*PACKAGES) if name != "core/clock.py"]
    assert [call for name in files for call in clock_calls(name)] == []


def test_the_clock_itself_is_seen_by_the_rule_above():
    """The search finds what it forbids, so an empty answer means something."""
    assert len(list(clock_calls("core/clock.py"))) >= 3


def test_no_file_is_longer_than_500_lines():
    sizes = {
        name: len((ROOT / name).read_text().splitlines())
        for name in python_files(*PACKAGES, "deploy")
    }
    assert {name: size for name, size in sizes.items() if size > 500} == {}


def test_no_function_is_longer_than_60_lines():
    """Migrations are tables of data: they are left out."""
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name in python_files(*PACKAGES, "deploy")
        if "/migrations/versions/" not in name
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= 60
    ]
    assert long == []


def test_modules_are_named_after_something():
    parts = {part.removesuffix(".py") for name in python_files() for part in name.split("/")}
    assert parts & VAGUE == set()


@pytest.mark.parametrize(
    ("registry", "seam"), REGISTRIES, ids=lambda each: getattr(each, "seam", "")
)
def test_every_kind_inherits_its_seam_by_name(registry, seam):
    assert registry.entries
    for kind in registry.entries:
        assert issubclass(registry.load(kind), seam), kind


def test_every_billing_rule_inherits_its_seam_by_name():
    assert all(issubclass(rule(name), BillingRule) for name in RULES)


def loaded_by(module: str) -> set[str]:
    """Door libraries in a fresh interpreter after importing `module` alone."""
    code = (
        f"import importlib, json, sys; importlib.import_module({module!r});"
        f"print(json.dumps([d for d in {DOOR_LIBRARIES!r} if d in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("registry", "kind"), KINDS, ids=[f"{registry.seam}-{kind}" for registry, kind in KINDS]
)
def test_importing_a_kind_loads_no_library_of_another_door(registry, kind):
    module = registry.entries[kind].partition(":")[0]
    assert loaded_by(module) <= SEAM_LIBRARIES[registry.seam]


def test_importing_the_command_line_loads_no_door_library():
    assert loaded_by("coalmine.cli") == set()


def drawn_folders() -> set[str]:
    """Folders that docs/design.md lists in the table under "Folders"."""
    text = (ROOT / "docs/design.md").read_text().split("## Folders")[1].split("\n## ")[0]
    first_cells = (line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    return {name.rstrip("/") for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}


def test_the_folders_are_those_that_the_design_draws():
    present = set(PACKAGES)
    for name in python_files("selfcheck"):
        parts = name.split("/")
        if len(parts) > 2:
            present.add("/".join(parts[:2]))
    drawn = drawn_folders()
    assert {name for name in drawn if not (ROOT / name).is_dir()} == set()
    # A parent whose inner folders are all drawn needs no row of its own.
    assert {name for name in present - drawn if not any(d.startswith(name) for d in drawn)} == set()


def test_every_package_of_ours_is_one_that_the_layers_know():
    config = (ROOT / "pyproject.toml").read_text()
    packages = {name.split("/")[0] for name in python_files() if name.count("/")}
    assert packages - {"tests", "benchmarks", "deploy"} == set(PACKAGES)
    assert all(config.count(f'"{name}"') >= 3 for name in PACKAGES)


# Written in two halves, so that this file does not hold what it looks for.
FOREIGN = {
    "a registry's host": (
        "pypi" + ".org", "files.python" + "hosted.org", "proxy.golang" + ".org",
        "registry.npm" + "js.org", "ghcr" + ".io", "docker" + ".io", "quay" + ".io",
    ),
    "a path of one machine": ("/ro" + "ot/", "/wo" + "rk/", "/tmp/ve" + "nv", "/ho" + "me/"),
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_holds(what):
    """Lists of Go modules are made by Go and name modules, not hosts to ask."""
    found = [
        f"{name}: {text}"
        for name in repository_files()
        if not name.endswith(("go.sum", "go.mod"))
        for text in FOREIGN[what]
        if text in (ROOT / name).read_text(errors="replace")
    ]
    assert found == []
