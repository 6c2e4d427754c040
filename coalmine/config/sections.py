"""The parts of a config that name kinds: each entry is its own keys plus its kind's options.

Every entry is judged apart, so that one mistake hides no other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from coalmine.config.located import Report, nearest, written_keys
from coalmine.config.model import (
    BackendHead,
    CheckHead,
    InjectHead,
    JoinOptions,
    KindHead,
    PageRule,
    RouteHead,
    SourceOptions,
    slug,
)
from coalmine.config.parsed import CheckConfig, KindConfig, Position, RouteConfig
from coalmine.config.yaml import Path
from core.errors import CoalmineError
from core.kinds import Registry, UnknownKindError
from core.options import Options
from paging.receivers.protocol import RECEIVERS
from probes.protocol import PROBES
from selfcheck.backends.protocol import BACKENDS
from selfcheck.canary.judging import JudgingRules
from selfcheck.hops.protocol import HOP_READERS
from selfcheck.injectors.protocol import INJECTORS

KIND_HEADS: dict[str, type[KindHead]] = {"backends": BackendHead}
KIND_REGISTRIES: dict[str, Registry[Any]] = {  # registries of different seams
    "backends": BACKENDS,
    "hops": HOP_READERS,
    "receivers": RECEIVERS,
}

Raw = dict[str, Any]
_DEFAULT_TIMEOUT_S = 10.0
_BROWSER_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Sections:
    """What could be read of each section; wrong entries are in the report, not here."""

    judging: JudgingRules
    kinds: dict[str, dict[str, KindConfig]]
    checks: dict[int, CheckConfig]
    routes: dict[int, RouteConfig]
    joins: dict[int, JoinOptions]
    sources: dict[int, SourceOptions]
    pages: dict[int, PageRule]


def read_sections(report: Report, raw: Raw) -> Sections:
    """All entries of `raw`, the whole file as plain values."""
    judging = _read_judging(report, raw)
    kinds = {
        section: dict(_read_kinds(report, raw, section, registry))
        for section, registry in KIND_REGISTRIES.items()
    }
    checks = {
        index: check
        for index, entry in _entries(report, raw, "checks")
        if (check := _read_check(report, ("checks", index), entry))
    }
    routes = {
        index: route
        for index, entry in _entries(report, raw, "routes")
        if (route := _read_route(report, ("routes", index), entry, judging))
    }
    joins = {
        index: join
        for index, entry in _entries(report, raw, "joins")
        if (join := report.validate(JoinOptions, ("joins", index), entry))
    }
    sources = {
        index: source
        for index, entry in _entries(report, raw, "sources")
        if (source := report.validate(SourceOptions, ("sources", index), entry))
    }
    pages = {
        index: rule
        for index, entry in _entries(report, raw, "pages")
        if (rule := report.validate(PageRule, ("pages", index), entry))
    }
    return Sections(judging.options, kinds, checks, routes, joins, sources, pages)


@dataclass(frozen=True, slots=True)
class Judging:
    """The file's own `judging:` block; wrong or absent, it stands for the defaults."""

    written: Raw
    options: JudgingRules


def _read_judging(report: Report, raw: Raw) -> Judging:
    written = _mapping(report, raw, "judging")
    options = report.validate(JudgingRules, ("judging",), dict(written))
    return Judging(written, options) if options else Judging({}, JudgingRules())


def load_kind(report: Report, path: Path, registry: Registry[Any], kind: object) -> Any | None:
    """The class behind `kind`, which is written at `path`; None when reported as a mistake."""
    if not isinstance(kind, str):
        report.problem(path, f"expected the name of a {registry.seam} kind")
        return None
    try:
        return registry.load(kind)
    except UnknownKindError:
        known = sorted(registry.entries)
        hint = nearest(kind, known) or f"known: {', '.join(known)}"
        report.problem(path, f"unknown {registry.seam} kind {kind!r}", hint)
    except (ImportError, CoalmineError) as exc:
        report.problem(path, f"the {registry.seam} kind {kind!r} cannot be loaded: {exc}")
    return None


def _split(entry: Raw, head: type[Options], kind: type[Options]) -> tuple[Raw, Raw]:
    """The entry's own keys, and the kind's. A key that both know goes to both."""
    own, theirs = written_keys(head), written_keys(kind)
    return (
        {key: value for key, value in entry.items() if key in own},
        {key: value for key, value in entry.items() if key not in own or key in theirs},
    )


def _read_kinds(
    report: Report, raw: Raw, section: str, registry: Registry[Any]
) -> Iterator[tuple[str, KindConfig]]:
    for name, entry in _mapping(report, raw, section).items():
        path: Path = (section, name)
        try:
            slug(name)
        except ValueError as exc:
            report.problem(path, str(exc), at_key=True)
        if not isinstance(entry, dict):
            report.problem(path, "expected a mapping with kind: and its options")
            continue
        if "kind" not in entry:
            report.problem((*path, "kind"), "missing key")
            continue
        cls = load_kind(report, (*path, "kind"), registry, entry["kind"])
        if cls is None:
            continue
        model = KIND_HEADS.get(section, KindHead)
        own, theirs = _split(entry, model, cls.options_model)
        head = report.validate(model, path, own, written_keys(cls.options_model))
        options = report.validate(cls.options_model, path, theirs, written_keys(model))
        if head is not None and options is not None:
            kept_s = head.retention if isinstance(head, BackendHead) else None
            yield name, KindConfig(name, entry["kind"], options, position(report, path), kept_s)


def _read_check(report: Report, path: Path, entry: Raw) -> CheckConfig | None:
    cls = None
    if "probe" in entry:
        cls = load_kind(report, (*path, "probe"), PROBES, entry["probe"])
    model = cls.options_model if cls else Options
    own, theirs = _split(entry, CheckHead, model)
    head = report.validate(CheckHead, path, own)
    options = (
        report.validate(model, path, theirs, written_keys(CheckHead)) if cls is not None else None
    )
    if head is None or cls is None or options is None:
        return None
    usual_s = _BROWSER_TIMEOUT_S if cls.lane == "browser" else _DEFAULT_TIMEOUT_S
    # Without a timeout of its own a check must still end before it is due again.
    deadline_s = head.timeout or (min(usual_s, 0.8 * head.every) if head.every else usual_s)
    return CheckConfig(
        name=head.name,
        title=head.title,
        severity=head.severity,
        kind=head.probe,
        every_s=head.every,
        cron=head.cron,
        zone=head.zone,
        deadline_s=deadline_s,
        options=options,
        at=position(report, path),
    )


def _read_route(report: Report, path: Path, entry: Raw, top: Judging) -> RouteConfig | None:
    head = report.validate(RouteHead, path, dict(entry))
    inject = entry.get("inject")
    injector = _read_inject(report, (*path, "inject"), inject) if isinstance(inject, dict) else None
    judging = _route_judging(report, (*path, "judging"), entry, top)
    if head is None or injector is None or judging is None:
        return None
    inject_head, options = injector
    return RouteConfig(
        name=head.name,
        title=head.title,
        severity=head.severity,
        signal=head.signal,
        every_s=head.every,
        kind=inject_head.kind,
        options=options,
        to=inject_head.to,
        hops=head.hops,
        read=head.read,
        group=head.group,
        expect_drop=head.expect_drop.declared() if head.expect_drop else None,
        slow_after_s=head.slow_after,
        judging=judging,
        at=position(report, path),
    )


def _route_judging(report: Report, path: Path, entry: Raw, top: Judging) -> JudgingRules | None:
    own = entry.get("judging")
    if not isinstance(own, dict) or not own:
        return top.options
    return report.validate(JudgingRules, path, {**top.written, **own})


def _read_inject(report: Report, path: Path, entry: Raw) -> tuple[InjectHead, Options] | None:
    cls = load_kind(report, (*path, "kind"), INJECTORS, entry["kind"]) if "kind" in entry else None
    model = cls.options_model if cls else Options
    own, theirs = _split(entry, InjectHead, model)
    head = report.validate(InjectHead, path, own)
    if cls is None:
        return None
    options = report.validate(model, path, theirs, written_keys(InjectHead))
    return (head, options) if head is not None and options is not None else None


def position(report: Report, path: Path) -> Position:
    """Where the entry at `path` begins."""
    return Position(report.file, *report.place(path))


def _mapping(report: Report, raw: Raw, section: str) -> Raw:
    value = raw.get(section) or {}
    if isinstance(value, dict):
        return value
    report.problem((section,), "expected a mapping from names to options")
    return {}


def _entries(report: Report, raw: Raw, section: str) -> Iterator[tuple[int, Raw]]:
    value = raw.get(section) or []
    if not isinstance(value, list):
        report.problem((section,), "expected a list: each entry begins with '- '")
        return
    for index, entry in enumerate(value):
        if isinstance(entry, dict):
            yield index, entry
        else:
            report.problem((section, index), "expected a mapping with name:")
