"""From a path to a `Config`, or to every mistake in the file at once."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from coalmine.config.crosscheck import check_all
from coalmine.config.located import Report
from coalmine.config.model import SECTIONS, Top
from coalmine.config.parsed import Config
from coalmine.config.sections import Sections, read_sections
from coalmine.config.source import decode
from coalmine.config.yaml import read_yaml
from core.errors import ConfigError, Problem


def load_config(path: Path, env: Mapping[str, str] = os.environ) -> Config:
    """The config in `path`. Raises ConfigError with all problems, in the order of the file."""
    raw_bytes = _read(path)
    file = str(path)
    root = read_yaml(decode(raw_bytes, file), file)
    raw = cast("dict[str, Any]", root.plain())  # read_yaml refuses every other root
    report = Report(file, root, env)
    rest = {key: value for key, value in raw.items() if key not in SECTIONS}
    top = report.validate(Top, (), rest, SECTIONS)
    parts = read_sections(report, raw)
    check_all(report, raw, parts)
    if not _has_work(raw) and raw.get("allow_empty") is not True:
        message = "neither checks nor routes: nothing would be watched"
        report.problem((), message, "allow_empty: true if that is meant")
    _warn_of_rights(report, path)
    if report.problems or top is None:
        raise ConfigError(sorted(report.problems, key=lambda each: (each.line, each.column)))
    places = {key: report.place((key,), at_key=True) for key in raw}
    return _config(path, raw_bytes, top, parts, report, places)


def content_hash(raw: bytes) -> str:
    """What tells one content of a config from another."""
    return hashlib.sha256(raw).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        problem = Problem(str(path), 1, 1, "", f"cannot be read: {exc.strerror}")
        raise ConfigError([problem]) from exc


def _config(
    path: Path,
    raw: bytes,
    top: Top,
    parts: Sections,
    report: Report,
    places: Mapping[str, tuple[int, int]],
) -> Config:
    return Config(
        path=path,
        files=(path,),
        content_hash=content_hash(raw),
        places=places,
        warnings=tuple(report.warnings),
        top=top,
        data_dir=path.parent / top.data_dir,
        judging=parts.judging,
        backends=tuple(parts.kinds["backends"].values()),
        hops=tuple(parts.kinds["hops"].values()),
        receivers=tuple(parts.kinds["receivers"].values()),
        checks=tuple(parts.checks.values()),
        routes=tuple(parts.routes.values()),
        joins=tuple(parts.joins.values()),
        sources=tuple(parts.sources.values()),
        pages=tuple(parts.pages.values()),
    )


def _has_work(raw: dict[str, Any]) -> bool:
    return bool(raw.get("checks") or raw.get("routes"))


def _warn_of_rights(report: Report, path: Path) -> None:
    if path.stat().st_mode & stat.S_IWOTH:
        report.warning((), "everyone on this machine may write this file", "chmod o-w")
