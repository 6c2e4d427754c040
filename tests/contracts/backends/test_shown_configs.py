"""The config on the page of every kind of backend is run against that kind's real servers.

Only addresses, credentials and the way in are those of the server at hand; what needs more than the store and
Coalmine (a Collector, another store) is left out.
"""

import asyncio
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from coalmine.config.load import load_config
from coalmine.wiring.verified import Standing
from coalmine.wiring.verify import Limits, verify
from core.clock import SystemClock
from core.secrets import Secret
from tests.contracts.backends.case import Case

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"```yaml config\n(.*?)```", re.DOTALL)
QUICK = {
    "min_interval": "1s",
    "first_read_after": "200ms",
    "poll_first": "300ms",
    "poll_max": "1s",
    "confirm_after": "500ms",
    "reads_per_minute": 240,
}


def shown(kind: str) -> dict[str, Any]:
    """The first config on the page of a kind of backend."""
    text = (ROOT / f"docs/backends/{kind}.md").read_text()
    found = BLOCK.search(text)
    assert found, f"docs/backends/{kind}.md shows no config"
    return dict(YAML(typ="safe").load(found[1]))


def written(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Options as a config has them: each secret in a file of its own."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Secret):
            path = folder / f"{key}-{len(list(folder.iterdir()))}"
            path.touch(mode=0o600)
            path.write_text(value.reveal())
            found[f"{key}_file"] = str(path)
        else:
            found[key] = written(value, folder) if isinstance(value, Mapping) else value
    return found


def straight(document: dict[str, Any], case: Case, folder: Path) -> dict[str, Any]:
    """What of a config needs the case's store and nothing else, with the store's own options."""
    names = {name for name, one in document["backends"].items() if one["kind"] == case.kind}
    routes = [
        {**route, "every": "2s", "hops": [],
         "inject": {"kind": case.inject, "to": route["read"],
                    **written(case.inject_options, folder)}}
        for route in document["routes"]
        if route["read"] in names and route["inject"].get("to") == route["read"]
    ]  # fmt: skip
    assert routes, f"the page of {case.kind} shows no route straight to it"
    return {
        "coalmine": 1,
        "namespace": document["namespace"],
        "judging": QUICK,
        "backends": {name: {"kind": case.kind, **written(case.options, folder)} for name in names},
        "routes": routes,
    }


async def test_the_config_on_its_page_is_ok_against_the_real_store(case: Case, tmp_path):
    path = tmp_path / "coalmine.yaml"
    with path.open("w") as file:
        YAML().dump(straight(shown(case.kind), case, tmp_path), file)
    config = load_config(path, os.environ)
    told: list[str] = []
    found = await verify(
        config, SystemClock(), random.Random(), Limits(2, 60.0), asyncio.Event(), told.append
    )
    assert {one.name: one.standing for one in found.routes} == {
        one.name: Standing.OK for one in config.routes
    }, found
