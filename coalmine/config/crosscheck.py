"""What only the whole file can tell: names, references, times that must fit each other, pages."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from coalmine.config.cron import parse_cron
from coalmine.config.located import Report, nearest
from coalmine.config.model import PageRule
from coalmine.config.parsed import CheckConfig, KindConfig, RouteConfig
from coalmine.config.sections import Sections
from coalmine.config.yaml import Path
from core.clock import SystemClock
from core.errors import CoalmineError, ConfigError
from core.options import duration_text
from core.secrets import Secret
from paging.model import Severity
from selfcheck.backends.protocol import BACKENDS
from selfcheck.canary.model import Signal
from selfcheck.cost.book import BUILTIN, read_book, shipped_books
from selfcheck.hops.protocol import HOP_READERS
from selfcheck.injectors.protocol import INJECTORS

_REFERENCES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("routes", ("read",), "backends"),
    ("routes", ("inject", "to"), "backends"),
    ("routes", ("hops",), "hops"),
    ("joins", ("from",), "routes"),
    ("joins", ("to",), "routes"),
    ("sources", ("backend",), "backends"),
    ("sources", ("routes",), "routes"),
    ("pages", ("to",), "receivers"),
    ("pages", ("fallback",), "receivers"),
)
_MIN_EVERY_S, _MAX_EVERY_S = 1.0, 86400.0
_BROWSER_MIN_S = 30.0
# A year without a leap day, on a day from which every rule meets its next leap day within 8 years.
_REFERENCE = datetime(2025, 1, 1)  # noqa: DTZ001  wall time: cron rules have no zone of their own

Raw = dict[str, Any]


def check_all(report: Report, raw: Raw, parts: Sections) -> None:
    """Report every contradiction between the entries of `raw`."""
    _names(report, raw)
    for index, check in parts.checks.items():
        _check_times(report, ("checks", index), check)
    for index, route in parts.routes.items():
        path: Path = ("routes", index)
        _route_times(report, path, route)
        if route.to is None and getattr(route.options, "url", None) == "":
            report.problem((*path, "inject"), "expected either url: or to: with a backend's name")
        _route_signals(report, path, route, parts.kinds["backends"])
    _store_hops(report, parts)
    _joins(report, parts)
    _references(report, raw)
    _pages(report, raw, parts)
    _books(report, raw)


def _names(report: Report, raw: Raw) -> None:
    written: list[tuple[tuple[int, int], str, Path]] = []
    for section in ("checks", "routes", "joins", "sources"):
        for index, entry in enumerate(_listed(raw, section)):
            if isinstance(entry, dict) and isinstance(name := entry.get("name"), str):
                path: Path = (section, index, "name")
                written.append((report.place(path), name, path))
    first: dict[str, int] = {}
    for (line, _), name, path in sorted(written, key=lambda each: each[0]):
        if name in first:
            report.problem(path, f"the name {name!r} is taken: first in line {first[name]}")
        first.setdefault(name, line)


def _check_times(report: Report, path: Path, check: CheckConfig) -> None:
    if check.every_s is None:
        _calendar(report, path, check)
        return
    if not _MIN_EVERY_S <= check.every_s <= _MAX_EVERY_S:
        report.problem((*path, "every"), "an interval must lie between 1s and 24h")
    elif check.deadline_s >= check.every_s:
        report.problem(
            (*path, "timeout"),
            f"the timeout ({duration_text(check.deadline_s)}) must be shorter than every "
            f"({duration_text(check.every_s)})",
        )
    if check.kind == "browser" and check.every_s < _BROWSER_MIN_S:
        report.warning((*path, "every"), "a browser check more often than every 30s is expensive")


def _calendar(report: Report, path: Path, check: CheckConfig) -> None:
    try:
        rule = parse_cron(check.cron)
    except ValueError as exc:
        report.problem((*path, "cron"), str(exc), "such as '*/5 8-18 * * mon-fri'")
    else:
        if not rule.next_runs(_REFERENCE, 1):
            report.problem((*path, "cron"), "never comes due: there is no such day")
    try:
        ZoneInfo(check.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = nearest(check.zone, available_timezones())
        report.problem((*path, "zone"), f"unknown time zone {check.zone!r}", hint)


def _route_times(report: Report, path: Path, route: RouteConfig) -> None:
    low, high = route.judging.min_interval, route.judging.max_interval
    if not low <= route.every_s <= high:
        limits = f"{duration_text(low)} and {duration_text(high)}"
        message = f"a route's interval must lie between {limits}"
        report.problem((*path, "every"), message)


def _references(report: Report, raw: Raw) -> None:
    """Names of other entries, wherever they are written: in an entry that is wrong too."""
    for section, steps, target in _REFERENCES:
        for index, entry in enumerate(_listed(raw, section)):
            value: Any = entry
            for step in steps:
                value = value.get(step) if isinstance(value, dict) else None
            path: Path = (section, index, *steps)
            if isinstance(value, str):
                _exists(report, path, value, raw, target)
            for at, name in enumerate(value if isinstance(value, list) else ()):
                if isinstance(name, str):
                    _exists(report, (*path, at), name, raw, target)


def _books(report: Report, raw: Raw) -> None:
    """Every price book is read now: what `run` would refuse is refused here."""
    cost = raw.get("cost")
    names = cost.get("price_books") if isinstance(cost, dict) else None
    for at, name in enumerate(names if isinstance(names, list) else ()):
        if not isinstance(name, str):
            continue
        try:
            read_book(name, FilePath(report.file).parent, SystemClock().utc().date())
        except ConfigError as exc:
            report.problems.extend(exc.problems)
        except CoalmineError as exc:
            shipped = [f"{BUILTIN}{one}" for one in shipped_books()]
            hint = nearest(name, shipped) or f"shipped: {', '.join(shipped)}"
            report.problem(("cost", "price_books", at), str(exc), hint)


def _route_signals(
    report: Report, path: Path, route: RouteConfig, backends: Mapping[str, KindConfig]
) -> None:
    signal = route.signal
    if signal not in INJECTORS.load(route.kind).signals:
        report.problem((*path, "signal"), f"the injector {route.kind} does not send {signal}")
    least_s = INJECTORS.load(route.kind).least_deadline_s(route.options)
    if route.judging.injection_deadline < least_s:
        told = f"sending takes up to {duration_text(least_s)}: judging: injection_deadline is less"
        report.problem((*path, "inject"), told)
    if backend := backends.get(route.read):
        declared = BACKENDS.load(backend.kind).declaration.signals
        if signal not in declared:
            holds = ", ".join(sorted(declared))
            report.problem(
                (*path, "read"), f"the backend {route.read} ({backend.kind}) holds {holds} only"
            )
        else:
            _route_slow(report, path, route, backend)
    if route.to is not None and (target := backends.get(route.to)):
        rules = BACKENDS.load(target.kind).write_rules(target.options)
        rule = rules.get(route.kind)
        if rule is None:
            kinds = ", ".join(sorted(rules)) or "nothing"
            what = f"the backend {route.to} ({target.kind}) takes no {route.kind} as configured"
            hint = f"it takes {kinds}; set its write_url:, if it has one"
            report.problem((*path, "inject", "to"), what, hint)
        elif signal not in rule.paths:
            what = f"the backend {route.to} ({target.kind}) takes no {signal} by {route.kind}"
            report.problem((*path, "inject", "to"), what)


def _route_slow(report: Report, path: Path, route: RouteConfig, backend: KindConfig) -> None:
    first, *_ = BACKENDS.load(backend.kind).declaration.paths_for(route.signal)
    least_s = max(route.judging.first_read_after, first.floor_s)
    if route.slow_after_s is not None and route.slow_after_s <= least_s:
        told = f"no canary is looked for within {duration_text(least_s)}: each would be slow"
        report.problem((*path, "slow_after"), told)


def _store_hops(report: Report, parts: Sections) -> None:
    """A store is the last hop of its routes by its backend's name: by another it is never used."""
    for name, hop in parts.kinds["hops"].items():
        if HOP_READERS.load(hop.kind).at_store and name not in parts.kinds["backends"]:
            told = f"a hop of kind {hop.kind} bears the name of the backend that it reads"
            report.problem(("hops", name), told, nearest(name, parts.kinds["backends"]))
    for index, route in parts.routes.items():
        if route.read in route.hops:
            told = f"{route.read} is the last hop already: it is the backend that is read"
            report.problem(("routes", index, "hops"), told)


def _joins(report: Report, parts: Sections) -> None:
    """Both ends must share their beats, and their backends must be able to show the link."""
    routes = {route.name: route for route in parts.routes.values()}
    for index, join in parts.joins.items():
        path: Path = ("joins", index)
        source, target = routes.get(join.source), routes.get(join.target)
        if source and source.signal is Signal.TRACES:
            report.problem((*path, "from"), "a link starts at logs or metrics")
        if target and target.signal is not Signal.TRACES:
            report.problem((*path, "to"), "a link leads to traces")
        if source and target and (source.group, source.every_s) != (target.group, target.every_s):
            report.problem(
                path, "both routes need one group: and one every:, else they share no id"
            )
        for key, route, ability in (
            ("from", source, "trace_ids"),
            ("to", target, "canaries_in"),
        ):
            backend = parts.kinds["backends"].get(route.read) if route else None
            if backend and not hasattr(BACKENDS.load(backend.kind), ability):
                told = f"the backend {backend.name} ({backend.kind}) cannot show the link"
                report.problem((*path, key), told)


def _pages(report: Report, raw: Raw, parts: Sections) -> None:
    written = _listed(raw, "pages")
    if not written:
        if _listed(raw, "checks") or _listed(raw, "routes") or _listed(raw, "sources"):
            report.warning((), "there is no pages: nobody will be told")
        return
    last = written[-1]
    if isinstance(last, dict) and "match" in last:
        path: Path = ("pages", len(written) - 1)
        report.problem(path, "the last page rule must have no match, so that it takes the rest")
    critical_left = True
    for index, rule in parts.pages.items():
        path = ("pages", index)
        if rule.match is None and index < len(written) - 1:
            report.problem(path, "takes everything: the page rules after it are never reached")
        if critical_left and _takes_critical(rule):
            _two_providers(report, path, rule, parts.kinds["receivers"])
        if rule.match and rule.match.severity is Severity.CRITICAL and not rule.match.subject:
            critical_left = False


def _takes_critical(rule: PageRule) -> bool:
    return rule.match is None or rule.match.severity in {None, Severity.CRITICAL}


def _two_providers(
    report: Report, path: Path, rule: PageRule, receivers: Mapping[str, KindConfig]
) -> None:
    if rule.allow_single:
        return
    remedy = "add fallback: with a receiver of another provider, or allow_single: true"
    if rule.fallback is None:
        report.problem(path, "critical pages need two receivers", remedy)
        return
    first, second = receivers.get(rule.to), receivers.get(rule.fallback)
    if first and second and _provider(first) == _provider(second):
        what = f"{rule.to} and {rule.fallback} are one provider: they fail together"
        report.problem((*path, "fallback"), what, remedy)


def _provider(receiver: KindConfig) -> tuple[str, str]:
    url = getattr(receiver.options, "url", "")
    text = url.reveal() if isinstance(url, Secret) else str(url)
    return receiver.kind, urlsplit(text).hostname or ""


def _exists(report: Report, path: Path, name: str, raw: Raw, section: str) -> None:
    known = raw.get(section) or {}
    names = _route_names(raw) if section == "routes" else known if isinstance(known, dict) else ()
    if name not in names:
        hint = nearest(name, names) or (f"known: {', '.join(sorted(names))}" if names else "")
        report.problem(path, f"there is no {section.removesuffix('s')} {name!r}", hint)


def _route_names(raw: Raw) -> list[str]:
    routes = [entry for entry in _listed(raw, "routes") if isinstance(entry, dict)]
    return [name for entry in routes if isinstance(name := entry.get("name"), str)]


def _listed(raw: Raw, section: str) -> list[Any]:
    value = raw.get(section)
    return value if isinstance(value, list) else []
