"""browser: make a journey through pages in a real Chromium, in a process of its own."""

import ast
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import FactSpec, Parts
from core.options import Options
from core.reason import Reason
from core.result import Result
from core.verdict import Verdict
from probes.browser.options import BrowserOptions, find_chromium
from probes.protocol import Probe, RunContext

__all__ = ["BrowserOptions", "BrowserProbe"]

_LOG = logging.getLogger(__name__)
_ARTIFACTS_KEPT = 20
_KEEP_S = 2.0
_VITALS = {
    "ttfb": "time to first byte",
    "fcp": "first contentful paint",
    "lcp": "largest contentful paint",
    "load": "end of the load event",
}


@dataclass(frozen=True, slots=True)
class BrowserProbe(Probe):
    """`ok` when the journey comes to its end within the deadline."""

    options_model: ClassVar[type[Options]] = BrowserOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {
            Reason.NAVIGATION, Reason.ASSERTION, Reason.TIMEOUT, Reason.LAUNCH, Reason.DRIVER,
            Reason.BROWSER_CRASH, Reason.HARNESS, Reason.EGRESS, Reason.RESOLVER,
            Reason.PROTOCOL,
        }
    )  # fmt: skip
    facts: ClassVar[tuple[FactSpec, ...]] = (
        FactSpec("duration_seconds", "s", "Whole run.", "probe_duration_seconds"),
        FactSpec("steps_done", "", "Steps that came to their end."),
        FactSpec("steps", "", "Seconds of each finished step, as name=seconds."),
        FactSpec("step_in_progress", "", "Step in which a run broke."),
        FactSpec("requests_refused", "", "Requests that the egress guard kept back."),
        FactSpec("sandboxed", "", "Whether Chromium ran in its own sandbox."),
        FactSpec("artifacts", "", "Folder with the screenshot and console of a failure."),
        FactSpec("vital_cls", "", "Cumulative layout shift of the last page."),
        *(FactSpec(f"vital_{name}_seconds", "s", f"Last page: {text}.")
          for name, text in _VITALS.items()),
    )  # fmt: skip
    needs: ClassVar[tuple[str, ...]] = ("chromium",)
    lane: ClassVar[str] = "browser"

    options: BrowserOptions
    executable: Path
    sandbox: bool
    journey: Path
    artifacts: Path
    allow: tuple[str, ...]
    clock: Clock

    @classmethod
    def build(cls, options: Options, parts: Parts) -> Self:
        """Raises CoalmineError without a Chromium, a readable journey, or a required sandbox."""
        if not isinstance(options, BrowserOptions):
            raise CoalmineError(f"browser: expected BrowserOptions, got {type(options).__name__}")
        executable = find_chromium(options.executable, os.environ)
        if executable is None:
            raise CoalmineError("browser: no Chromium found: install one, or name executable:")
        journey = (parts.base_dir / options.journey).resolve()
        _check_journey(journey)
        sandbox = _sandbox(options.sandbox)
        return cls(
            options,
            executable,
            sandbox,
            journey,
            parts.artifacts.resolve(),
            parts.egress.allow,
            parts.clock,
        )

    async def run(self, context: RunContext) -> Result:
        """One journey in a fresh browser."""
        from probes.browser.report import Order
        from probes.browser.supervisor import CHILD_SHARE, KEEP_SHARE, supervise

        started = self.clock.monotonic()
        folder = self.artifacts / context.check / f"{self.clock.utc():%Y%m%dT%H%M%SZ}"
        order = Order(
            str(self.journey),
            str(self.executable),
            self.sandbox,
            self.options.base_url,
            str(folder),
            self.allow,
            started + context.deadline_s * CHILD_SHARE,
            min(_KEEP_S, context.deadline_s * KEEP_SHARE),
            context.traceparent,
        )
        result = await supervise(order, context.deadline_s)
        facts = {**result.facts, "duration_seconds": self.clock.monotonic() - started}
        if result.verdict is not Verdict.OK and folder.exists():
            facts["artifacts"] = str(folder)
            _prune(folder.parent)
        return Result(result.verdict, result.reason, result.detail, facts)


def _check_journey(path: Path) -> None:
    try:
        tree = ast.parse(path.read_text(), str(path))
    except OSError as exc:
        raise CoalmineError(f"journey {path.name}: {exc.strerror}") from exc
    except (SyntaxError, ValueError) as exc:
        raise CoalmineError(f"journey {path.name}: {exc}") from exc
    if not any(isinstance(n, ast.AsyncFunctionDef) and n.name == "journey" for n in tree.body):
        raise CoalmineError(f"journey {path.name}: has no `async def journey(page, step)`")


def _sandbox(wanted: str) -> bool:
    # Chromium refuses to start its sandbox as root.
    possible = os.geteuid() != 0
    if wanted == "required" and not possible:
        raise CoalmineError("browser: sandbox is required, which Chromium cannot do as root")
    if wanted == "auto" and not possible:
        _LOG.warning("browser.sandbox state=off why=root")
    return possible and wanted != "off"


def _prune(folder: Path) -> None:
    """Keep the newest artifacts; names are times, so they sort."""
    for old in sorted(folder.iterdir())[:-_ARTIFACTS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
