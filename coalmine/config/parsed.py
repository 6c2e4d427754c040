"""A config that was found right: what wiring builds from. Durations are seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from coalmine.config.model import JoinOptions, PageRule, SourceOptions, Top
from core.errors import Problem
from core.options import Options
from paging.model import Severity
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import Signal
from selfcheck.canary.policy import ExpectDrop

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Position:
    """Where an entry stands in its file; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class CheckConfig:
    """One check. Either `every_s` or `cron` is set: `every_s` is None for calendar rules.

    deadline_s: the probe's own total deadline.
    """

    name: str
    title: str
    severity: Severity
    kind: str
    every_s: float | None
    cron: str
    zone: str
    deadline_s: float
    options: Options
    at: Position


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """One route. `to` names the backend that is written to directly, or None.

    judging: the constants of this route, the file's own `judging:` block folded in.
    """

    name: str
    title: str
    severity: Severity
    signal: Signal
    every_s: float
    kind: str
    options: Options
    to: str | None
    hops: tuple[str, ...]
    read: str
    group: str
    expect_drop: ExpectDrop | None
    slow_after_s: float | None
    judging: JudgingRules
    at: Position


@dataclass(frozen=True, slots=True)
class KindConfig:
    """A backend, hop or receiver: its kind and the kind's validated options.

    retention_s: how long a backend keeps records, None = not stated.
    """

    name: str
    kind: str
    options: Options
    at: Position
    retention_s: float | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """One whole file. `content_hash` covers the bytes of every file in `files`.

    places: line and column of each key at the top, counted from 1.
    """

    path: Path
    files: tuple[Path, ...]
    content_hash: str
    places: Mapping[str, tuple[int, int]]
    warnings: tuple[Problem, ...]
    top: Top
    data_dir: Path
    judging: JudgingRules
    backends: tuple[KindConfig, ...]
    hops: tuple[KindConfig, ...]
    receivers: tuple[KindConfig, ...]
    checks: tuple[CheckConfig, ...]
    routes: tuple[RouteConfig, ...]
    joins: tuple[JoinOptions, ...]
    sources: tuple[SourceOptions, ...]
    pages: tuple[PageRule, ...]

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.parent

    @property
    def database_url(self) -> str:
        """The database's address, empty for the SQLite files in `data_dir`."""
        return self.top.database.url.reveal() if self.top.database else ""
