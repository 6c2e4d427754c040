"""What an installation holds: our packages with their data files, and no clash of names."""

import importlib.metadata
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.support.tree import PACKAGES, ROOT, repository_files

DATA = (
    "selfcheck/cost/books/",
    "dashboards/generated/",
    "dashboards/runbooks/",
    "scheduler/store/migrations/",
)
"""Folders that are read at run time."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in the wheel, built here by the project's own build backend: no network, no copy."""
    folder = tmp_path_factory.mktemp("wheel")
    built = list(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    assert len(built) == 1
    with zipfile.ZipFile(Path(built[0])) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_exactly_our_packages(wheel):
    assert {name.split("/")[0] for name in wheel} == set(PACKAGES)


def test_the_wheel_holds_every_file_of_our_packages(wheel):
    ours = {name for name in repository_files() if name.split("/")[0] in PACKAGES}
    assert ours - wheel == set()
    assert {name for name in wheel - ours if not name.endswith(".py")} == set()


@pytest.mark.parametrize("folder", DATA)
def test_the_wheel_holds_the_data_files(wheel, folder):
    assert [name for name in wheel if name.startswith(folder) and not name.endswith("__init__.py")]


def test_no_dependency_brings_a_module_of_our_name():
    """Names such as `probes` and `tui` exist elsewhere: whoever is first on the path would win."""
    owners = importlib.metadata.packages_distributions()
    foreign = {name: set(owners.get(name, ())) - {"coalmine"} for name in PACKAGES}
    assert {name: found for name, found in foreign.items() if found} == {}
    assert "pydantic" in owners, "the question was asked of an empty installation"
