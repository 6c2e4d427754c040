"""Every metric that Coalmine exports: name, type, help, labels. Docs, boards and lint read it."""

from dataclasses import dataclass

from core.kinds import FactSpec
from probes.protocol import PROBES


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric family; type is `gauge` or `counter` (whose exposed name ends in `_total`)."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...] = ()


_CHECK = ("check", "kind")
_ROUTE = ("route", "signal")
_OWN = ("backend", "signal", "book")

METRICS: tuple[MetricSpec, ...] = (
    MetricSpec("coalmine_up", "gauge", "1 while this instance serves; its absence is the alarm."),
    MetricSpec("coalmine_config_generation", "gauge", "Number of the plan in force."),
    MetricSpec("coalmine_checks", "gauge", "Checks and sources in the plan."),
    MetricSpec("coalmine_routes", "gauge", "Canary routes in the plan."),
    MetricSpec("coalmine_check_verdict", "gauge", "1 for the fresh verdict of a check, 0 for the"
               " other three.", (*_CHECK, "verdict")),
    MetricSpec("coalmine_check_runs", "gauge", "Due runs of a check by what became of them, in one"
               " snapshot: they sum to due.", (*_CHECK, "state")),
    MetricSpec("coalmine_check_last_ok_timestamp_seconds", "gauge", "Unix time of the last ok; 0 ="
               " never since start.", _CHECK),
    MetricSpec("coalmine_check_age_seconds", "gauge", "Age of the last result.", _CHECK),
    MetricSpec("coalmine_check_duration_seconds", "gauge", "Duration of the last run.", _CHECK),
    MetricSpec("coalmine_check_late_seconds", "gauge", "How late the last run started.", _CHECK),
    MetricSpec("coalmine_check_loop_lag_seconds", "gauge", "Worst event-loop lag during the last"
               " run.", _CHECK),
    MetricSpec("coalmine_canary_sent_total", "counter", "Canaries committed to the ledger.",
               _ROUTE),
    MetricSpec("coalmine_canary_bytes_total", "counter", "Bytes of canaries as sent, once for each"
               " try, by the backend that is read.", (*_ROUTE, "backend")),
    MetricSpec("coalmine_canary_reads_total", "counter", "Reads of a backend for a route's"
               " canaries.", (*_ROUTE, "backend")),
    MetricSpec("coalmine_canary_state", "gauge", "Canaries by present outcome; they sum to sent.",
               (*_ROUTE, "outcome")),
    MetricSpec("coalmine_canary_identity_ok", "gauge", "1 while the account of a route balances.",
               _ROUTE),
    MetricSpec("coalmine_recheck_due_total", "counter", "Rechecks of seen canaries that had their"
               " time come, by age.", (*_ROUTE, "age")),
    MetricSpec("coalmine_recheck_state", "gauge", "Rechecks by present state; they sum to due.",
               (*_ROUTE, "age", "state")),
    MetricSpec("coalmine_recheck_identity_ok", "gauge", "1 while the account of a route's rechecks"
               " balances.", (*_ROUTE, "age")),
    MetricSpec("coalmine_canary_delay_seconds", "gauge", "Visibility delay of recent canaries.",
               (*_ROUTE, "quantile")),
    MetricSpec("coalmine_canary_deadline_seconds", "gauge", "Learned deadline of a route.", _ROUTE),
    MetricSpec("coalmine_hop_items", "gauge", "Items in the window of the hop balance; absent ="
               " could not be read.", ("hop", "signal", "direction")),
    MetricSpec("coalmine_source_verdict", "gauge", "1 for the verdict of an expected source.",
               ("source", "verdict")),
    MetricSpec("coalmine_source_newest_age_seconds", "gauge", "Age of a source's newest record.",
               ("source",)),
    MetricSpec("coalmine_incidents_open", "gauge", "Open incidents.", ("severity",)),
    MetricSpec("coalmine_vital_ok", "gauge", "1 while a part of Coalmine itself is well.",
               ("part",)),
    MetricSpec("coalmine_vital_age_seconds", "gauge", "Age of a part's last sign of life.",
               ("part",)),
    MetricSpec("coalmine_pages_unaccepted", "gauge", "Deliveries that no receiver has accepted."),
    MetricSpec("coalmine_outbox_oldest_age_seconds", "gauge", "Age of the oldest unaccepted"
               " delivery."),
    MetricSpec("coalmine_page_attempts_total", "counter", "Delivery attempts by answer.",
               ("receiver", "answer")),
    MetricSpec("coalmine_page_dwell_seconds", "gauge", "State change to acceptance, last page."),
    MetricSpec("coalmine_results_dropped_total", "counter", "Results that paging could not take."),
    MetricSpec("coalmine_samples_shed_total", "counter", "History rows shed under pressure."),
    MetricSpec("coalmine_engine_leaked_tasks", "gauge", "Runs abandoned after their deadline."),
    MetricSpec("coalmine_loop_lag_seconds", "gauge", "Worst recent lag of an event loop.",
               ("loop",)),
    MetricSpec("coalmine_config_reload_ok", "gauge", "0 while a changed config is refused."),
    MetricSpec("coalmine_cost_hour", "gauge", "Estimated money per hour; absent = unpriced.",
               ("signal", "meter", "book", "currency", "grade")),
    MetricSpec("coalmine_cost_month_to_date", "gauge", "Estimated money since the month began.",
               ("signal", "meter", "book", "currency", "grade")),
    MetricSpec("coalmine_cost_month_forecast", "gauge", "Estimated money of next month.",
               ("signal", "meter", "book", "currency", "grade", "quantile")),
    MetricSpec("coalmine_cost_per_gb", "gauge", "Money per GB (1e9 bytes) at present volume.",
               ("signal", "meter", "book", "currency", "grade")),
    MetricSpec("coalmine_cost_unpriced", "gauge", "1 for a meter that no price book prices.",
               ("signal", "meter", "book")),
    MetricSpec("coalmine_canary_cost_hour", "gauge", "Estimated money per hour for Coalmine's own"
               " canaries; part of coalmine_cost_hour, never to be added to it.",
               (*_OWN, "currency", "grade")),
    MetricSpec("coalmine_canary_cost_month_to_date", "gauge", "Estimated money for Coalmine's own"
               " canaries since the month began.", (*_OWN, "currency", "grade")),
    MetricSpec("coalmine_canary_cost_unpriced", "gauge", "1 where no price book prices Coalmine's"
               " own canaries.", _OWN),
)  # fmt: skip


def fact_specs() -> tuple[FactSpec, ...]:
    """Facts that the probe kinds declare, one per name, kinds in the order of their names."""
    found: dict[str, FactSpec] = {}
    for kind in sorted(PROBES.entries):
        for spec in PROBES.load(kind).facts:
            found.setdefault(spec.name, spec)
    return tuple(found.values())
