"""Prometheus alert rules; every one fires on silence, or another one does for it."""

from dataclasses import dataclass

from dashboards.limits import NOT_OK_SINCE_S, OUTBOX_AGE_S


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One rule; `matches` says how many series it must match, for the reader of a quiet rule."""

    name: str
    expr: str
    hold: str
    severity: str
    summary: str
    description: str
    matches: str


RULES: tuple[AlertRule, ...] = (
    AlertRule(
        "CoalmineDown", "absent(coalmine_up == 1)", "2m", "critical",
        "Coalmine does not answer: nobody watches the monitoring",
        "No coalmine_up series for 2 minutes. Everything below is unknown until it is back.",
        "one per Coalmine instance",
    ),
    AlertRule(
        "CanaryRouteFailing",
        'max_over_time(coalmine_check_verdict{kind="canary",verdict="fail"}[2m]) == 1', "0s",
        "critical", "Telemetry on route {{ $labels.check }} is lost, altered or refused",
        "Two or more of the last six canaries did not arrive as sent. `coalmine status` names the"
        " hop.", "one per route",
    ),
    AlertRule(
        "CanaryRouteBlind",
        'min_over_time(coalmine_check_verdict{kind="canary",verdict="blind"}[5m]) == 1', "5m",
        "warning", "Route {{ $labels.check }} cannot be judged",
        "Neither arrival nor loss can be proven: usually the backend cannot be read.",
        "one per route",
    ),
    AlertRule(
        "CanaryNotOkSince",
        # An hour's window: a shorter one is empty soon after the series vanishes, and the alert
        # would resolve by itself.
        'time() - max_over_time(coalmine_check_last_ok_timestamp_seconds{kind="canary"}[1h])'
        f" > {NOT_OK_SINCE_S}", "5m", "critical",
        "No canary of route {{ $labels.check }} was ok for 10 minutes",
        "Counted from the last ok; 0 means never since start.", "one per route",
    ),
    AlertRule(
        "CanaryRouteMissing",
        "sum(coalmine_routes) - (count(coalmine_canary_identity_ok) or vector(0)) > 0", "5m",
        "warning", "{{ $value }} configured routes report nothing",
        "The plan has more routes than there are series.", "one",
    ),
    AlertRule(
        "CanaryAccountBroken", "min_over_time(coalmine_canary_identity_ok[2m]) == 0", "0s",
        "critical", "The account of route {{ $labels.route }} does not balance",
        "sent differs from the sum of outcomes: do not trust figures of this route.",
        "one per route",
    ),
    AlertRule(
        "RecheckAccountBroken", "min_over_time(coalmine_recheck_identity_ok[2m]) == 0", "0s",
        "critical", "The account of rechecks of route {{ $labels.route }} does not balance",
        "due differs from the sum of states: do not trust what is said of old data.",
        "one per route and age",
    ),
    AlertRule(
        "CheckFailing",
        'min_over_time(coalmine_check_verdict{kind!~"canary|source",verdict="fail"}[1m]) == 1',
        "1m", "critical", "Check {{ $labels.check }} fails",
        "The target answers wrongly or not at all.", "one per check",
    ),
    AlertRule(
        "SourceQuiet",
        'max_over_time(coalmine_source_verdict{verdict="fail"}[2m]) == 1', "0s", "critical",
        "Source {{ $labels.source }} went quiet",
        "Its newest record is too old while the canaries of its route arrive.", "one per source",
    ),
    AlertRule(
        "PagesNotGoingOut",
        f"max_over_time(coalmine_outbox_oldest_age_seconds[5m]) > {OUTBOX_AGE_S}", "0s",
        "critical", "Pages are not going out",
        "A delivery has waited for more than two minutes.", "one",
    ),
    AlertRule(
        "CoalminePartDown", "max_over_time(coalmine_vital_ok[1m]) == 0", "2m", "warning",
        "Coalmine's {{ $labels.part }} is not well",
        "Verdicts that depend on this part are blind.", "one per part",
    ),
    AlertRule(
        "ConfigRefused", "max_over_time(coalmine_config_reload_ok[1m]) == 0", "5m", "warning",
        "A changed config is refused; the old one is live",
        "Run `coalmine check-config`.", "one",
    ),
    AlertRule(
        "CoalmineWatchdog", "vector(1)", "0s", "none",
        "Always fires: its absence at an outside watcher is the alarm",
        "Route it to a dead-man's-switch service, with a repeat interval below half its time-out.",
        "one",
    ),
)  # fmt: skip
