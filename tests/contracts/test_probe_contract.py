"""What every probe kind promises, held against every entry of the registry."""

import inspect
import random
import subprocess
import sys
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.errors import CoalmineError
from core.kinds import Parts
from core.options import Options
from core.reason import Reason
from core.verdict import Verdict
from probes.protocol import PROBES, Probe, RunContext
from tests.support.network import client

KINDS = sorted(PROBES.entries)
DOORS = ("playwright", "pycurl", "textual", "apscheduler", "sqlmodel", "httpx", "re2")


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_declares_what_config_metrics_and_docs_are_made_from(kind: str) -> None:
    cls = PROBES.load(kind)
    assert issubclass(cls, Probe)
    assert issubclass(cls.options_model, Options)
    assert cls.reasons <= set(Reason)
    assert cls.reasons
    names = [spec.name for spec in cls.facts]
    assert len(names) == len(set(names))
    assert "duration_seconds" in names
    assert all(spec.help.endswith(".") for spec in cls.facts)
    assert not inspect.isabstract(cls)


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_described_and_unknown_ones_are_refused(kind: str) -> None:
    model = PROBES.load(kind).options_model
    assert all(field.description for field in model.model_fields.values())
    with pytest.raises(ValueError, match="no_such_option"):
        model.model_validate({"no_such_option": 1})
    assert model.model_json_schema()["additionalProperties"] is False


@pytest.mark.parametrize("kind", KINDS)
def test_options_of_another_kind_are_refused_by_build(kind: str, tmp_path) -> None:
    parts = Parts(None, SystemClock(), random.Random(1), tmp_path, tmp_path, "0a1b2c3d", "test")
    with pytest.raises(CoalmineError):
        PROBES.load(kind).build(Options(), parts)


@pytest.mark.parametrize("kind", KINDS)
def test_importing_a_kind_loads_no_heavy_library(kind: str) -> None:
    module = PROBES.entries[kind].partition(":")[0]
    code = f"import sys, {module}; print([m for m in {DOORS!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# Per kind: options for a target that is not there, and files that they need.
DEAD_URL = "http://127.0.0.1:1/"
DEAD_TARGETS = {
    "http": ({"url": DEAD_URL}, {}),
    "browser": (
        {"journey": "dead.py", "base_url": DEAD_URL},
        {"dead.py": "async def journey(page, step):\n    assert (await page.goto('/')).ok\n"},
    ),
}
NEEDS_BROWSER = {"browser": [pytest.mark.browser]}


def test_every_kind_has_a_case_here() -> None:
    assert sorted(DEAD_TARGETS) == KINDS


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=NEEDS_BROWSER.get(kind, [])) for kind in KINDS]
)
async def test_a_dead_target_is_a_declared_failure_within_the_deadline(
    kind: str, tmp_path: Path
) -> None:
    cls, (given, files) = PROBES.load(kind), DEAD_TARGETS[kind]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    async with client() as outbound:
        clock = SystemClock()
        parts = Parts(outbound, clock, random.Random(1), tmp_path, tmp_path, "0a1b2c3d", "test")
        probe = cls.build(cls.options_model.model_validate(given), parts)
        started = clock.monotonic()
        result = await probe.run(RunContext("dead", 20.0, trace))
        await probe.close()
    assert result.verdict is Verdict.FAIL, result
    assert result.reason in cls.reasons
    assert result.detail
    assert set(result.facts) <= {spec.name for spec in cls.facts}
    assert clock.monotonic() - started < 20.0
