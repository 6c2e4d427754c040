"""Small kinds for tests of the config: one per seam, registered for one test."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from core.options import Duration, Options, SecretField
from paging.receivers.protocol import RECEIVERS
from probes.protocol import PROBES
from selfcheck.backends.protocol import BACKENDS, AccessPath, Declaration, Dedupe, WriteRule
from selfcheck.canary.model import Signal
from selfcheck.hops.protocol import HOP_READERS
from selfcheck.injectors.protocol import INJECTORS


class Expect(Options):
    status: int = 200


class ProbeOptions(Options):
    expect: Expect | tuple[Expect, ...] = ()
    url: str
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    country: str = ""
    follow: bool = True
    mode: Literal["on", "off"] = "on"
    token: SecretField | None = None
    headers: dict[str, str] = Field(default_factory=dict)


class FakeProbe:
    options_model = ProbeOptions
    lane = "probes"


class StoreOptions(Options):
    url: str
    tenant: str = ""
    settle: Duration = 1.0


class FakeStore:
    """Holds logs only."""

    options_model = StoreOptions
    declaration = Declaration(
        signals=frozenset({Signal.LOGS}),
        paths=(AccessPath("only", 1.0, True, frozenset({Signal.LOGS})),),
        precision_ns=1,
        dedupe=Dedupe.KEEPS,
        dedupe_note="",
        row_limit=10,
        absent="no row",
        source="a test",
        proved=(),
    )

    @classmethod
    def write_rules(cls, options: StoreOptions) -> dict[str, WriteRule]:
        if options.tenant == "read-only":
            return {}
        rule = WriteRule(options.url, {Signal.LOGS: "/otlp"}, frozenset({200}), False)
        return dict.fromkeys(INJECTORS.entries, rule)


class InjectOptions(Options):
    url: str = ""


class FakeInjector:
    options_model = InjectOptions
    unstamped: frozenset[Signal] = frozenset()

    @staticmethod
    def least_deadline_s(_options: Options) -> float:
        return 0.0

    signals = frozenset({Signal.LOGS, Signal.METRICS})


class HopOptions(Options):
    metrics: str


class FakeHop:
    options_model = HopOptions
    at_store = False


class ReceiverOptions(Options):
    url: SecretField


class FakeReceiver:
    options_model = ReceiverOptions


def register(patch: pytest.MonkeyPatch) -> None:
    """Make the kinds of this module known as `fake` until the test ends."""
    for registry, name in (
        (PROBES, "FakeProbe"),
        (BACKENDS, "FakeStore"),
        (INJECTORS, "FakeInjector"),
        (HOP_READERS, "FakeHop"),
        (RECEIVERS, "FakeReceiver"),
    ):
        patch.setitem(registry.entries, "fake", f"tests.support.config_kinds:{name}")  # type: ignore[arg-type]  # a dict behind a Mapping
    patch.setitem(RECEIVERS.entries, "other", "tests.support.config_kinds:FakeReceiver")  # type: ignore[arg-type]  # a dict behind a Mapping


HEAD = "coalmine: 1\nnamespace: test\n"
CHECK = "checks:\n- {name: shop, probe: fake, url: 'http://127.0.0.1/', every: 30s}\n"


def write(folder: Path, text: str | bytes) -> Path:
    """A config file that holds `text`."""
    path = folder / "coalmine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
