"""From a config to what the paging loop is told."""

from collections.abc import Callable
from functools import partial

from coalmine.config.model import PageRule as PageOptions
from coalmine.config.parsed import Config, KindConfig, RouteConfig
from paging.config import HeartbeatTarget, Match, PageRule, PagingConfig, Subject
from paging.model import Severity
from paging.receivers.protocol import RECEIVERS, Receiver, ReceiverParts
from selfcheck.canary.recheck.cycle import recheck_check

PAGING_CHECK = "coalmine.paging"
CONFIG_CHECK = "coalmine.config"
ENGINE_CHECK = "coalmine.engine"
SELF_EVERY_S = 10.0
JOIN_DEADLINE_S = 60.0
RECHECK_EVERY_S = 300.0
# The first recheck is an hour away: until it is long overdue its silence says nothing.
RECHECK_DEADLINE_S = 2.5 * 3600.0


def source_check(name: str) -> str:
    """The check id of an expected source: no slug holds a colon, so none can collide."""
    return f"source:{name}"


def paging_config(config: Config) -> PagingConfig:
    """Everything the paging loop needs; receivers become factories, called in that loop."""
    top = config.top
    heartbeats = tuple(
        HeartbeatTarget(f"outbound-{number}", one.url, one.every)
        for number, one in enumerate(top.heartbeats.outbound, 1)
    )
    return PagingConfig(
        namespace=top.namespace,
        subjects={subject.name: subject for subject in _subjects(config)},
        pages=tuple(_page_rule(rule) for rule in config.pages),
        receivers={one.name: _factory(one) for one in config.receivers},
        heartbeats=heartbeats,
        group_wait_s=top.paging.group_wait,
        repeat_s=top.paging.repeat,
        fallback_after_s=top.paging.fallback_after,
        blind_after_s=top.paging.blind_after,
    )


def _subjects(config: Config) -> list[Subject]:
    checks = [
        Subject(
            one.name, one.kind, one.every_s or 60.0, one.deadline_s,
            severity={"fail": one.severity}, labels={"kind": one.kind},
        )
        for one in config.checks
    ]  # fmt: skip
    sources = [
        Subject(
            source_check(one.name), "source", source_every_s(one.quiet_after), 10.0,
            severity={"fail": one.severity}, labels={"kind": "source"},
        )
        for one in config.sources
    ]  # fmt: skip
    again = [
        Subject(
            recheck_check(one.name), "recheck", RECHECK_EVERY_S, RECHECK_DEADLINE_S,
            severity={"fail": one.severity}, labels={"kind": "recheck"},
            k=1, n=1, recover_for_s=0.0,
        )
        for one in config.routes
        if one.judging.recheck_every
    ]  # fmt: skip
    joins = [
        Subject(
            one.name, "join", one.every, JOIN_DEADLINE_S,
            severity={"fail": one.severity}, labels={"kind": "join"},
        )
        for one in config.joins
    ]  # fmt: skip
    own = [
        Subject(name, "self", SELF_EVERY_S, SELF_EVERY_S, severity={"fail": Severity.CRITICAL},
                labels={"kind": "self"}, k=1, n=1)
        for name in (PAGING_CHECK, CONFIG_CHECK, ENGINE_CHECK)
    ]  # fmt: skip
    return [*checks, *map(_route_subject, config.routes), *again, *joins, *sources, *own]


def _route_subject(route: RouteConfig) -> Subject:
    judging = route.judging
    return Subject(
        route.name, "canary", route.every_s, judging.deadline_ceiling, judging.confirm_after,
        severity={"fail": route.severity},
        labels={"kind": "canary", "signal": route.signal.value},
    )  # fmt: skip


def source_every_s(quiet_after_s: float) -> float:
    """How often a source is looked at: three times within the silence it is allowed."""
    return min(60.0, max(1.0, quiet_after_s / 3))


def _page_rule(rule: PageOptions) -> PageRule:
    match = Match()
    if rule.match is not None:
        match = Match(severity=rule.match.severity, subject=rule.match.subject or "")
    return PageRule(match, rule.to, rule.fallback or "")


def _factory(receiver: KindConfig) -> Callable[[ReceiverParts], Receiver]:
    return partial(RECEIVERS.load(receiver.kind).build, receiver.options)
