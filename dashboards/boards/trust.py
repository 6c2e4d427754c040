"""Level 1: can I trust my telemetry?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, Row

from dashboards.limits import OUTBOX_AGE_S
from dashboards.panels import figure, lines, rows, timeline, verdict_query

TITLE = "Can I trust my telemetry?"


def build(uid: str) -> Dashboard:
    """The board: verdicts first, then loss and delay, hops, pages, money."""
    board = (
        Dashboard(TITLE)
        .uid(uid)
        .tags(["coalmine"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("utc")
        .readonly()
        .with_variable(DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    for part in (_verdicts, _canaries, _pipeline, _paging, _money):
        part(board)
    return board


def _verdicts(board: Dashboard) -> None:
    board.with_row(Row("Verdicts: blue ok, orange degraded, purple blind, red fail"))
    board.with_panel(
        figure("Routes not ok", "Routes whose verdict is not ok; what is missing counts.",
               "none", 'sum(coalmine_routes) - (sum(coalmine_check_verdict{kind="canary",'
               'verdict="ok"}) or vector(0))', 1)
    )  # fmt: skip
    board.with_panel(
        figure("Checks and sources not ok", "Checks and sources whose verdict is not ok.", "none",
               'sum(coalmine_checks) - (sum(coalmine_check_verdict{verdict="ok"})'
               " or vector(0))", 1)
    )  # fmt: skip
    board.with_panel(
        figure("Incidents open", "Open incidents of every severity.", "none",
               "sum(coalmine_incidents_open)", 1)
    )  # fmt: skip
    board.with_panel(
        figure("Coalmine answers", "1 while Coalmine is scraped; its absence is the alarm.",
               "none", "sum(coalmine_up) or vector(0)")
    )  # fmt: skip
    board.with_panel(
        figure("Parts of Coalmine in trouble", "Loops, stores and exports that are not well.",
               "none", "count(coalmine_vital_ok == 0) or vector(0)", 1)
    )  # fmt: skip
    board.with_panel(
        figure("Config refused", "1 while a changed config is refused and the old one is live.",
               "none", "1 - min(coalmine_config_reload_ok)", 1)
    )  # fmt: skip
    board.with_panel(
        timeline("Routes", "Verdict of each canary route.",
                 verdict_query("coalmine_check_verdict", "check").replace(
                     "{verdict=", '{kind="canary",verdict='), "{{check}}")
    )  # fmt: skip
    board.with_panel(
        timeline("Checks and sources", "Verdict of each probe and each expected source.",
                 verdict_query("coalmine_check_verdict", "check").replace(
                     "{verdict=", '{kind!="canary",verdict='), "{{check}}")
    )  # fmt: skip
    board.with_panel(
        timeline("Sources", "Expected sources of real telemetry.",
                 verdict_query("coalmine_source_verdict", "source"), "{{source}}")
    )  # fmt: skip


def _canaries(board: Dashboard) -> None:
    board.with_row(Row("Canaries: what was sent, what arrived, how late"))
    board.with_panel(
        lines("Canaries sent per second", "Canaries committed to the ledger, per route.", "cps",
              "sum by (route) (rate(coalmine_canary_sent_total[$__rate_interval]))", "{{route}}")
    )  # fmt: skip
    board.with_panel(
        lines("Canaries not arrived as sent", "Count by present outcome, all but ok and pending.",
              "none", 'sum by (route, outcome) (coalmine_canary_state{outcome!~"ok|pending"})',
              "{{route}} {{outcome}}")
    )  # fmt: skip
    board.with_panel(
        lines("Visibility delay p99", "Sent to first seen, late ones included.", "s",
              'max by (route) (coalmine_canary_delay_seconds{quantile="0.99"})', "{{route}} p99")
    )  # fmt: skip
    board.with_panel(
        lines("Deadline", "Learned per route: after it a canary may be called lost.", "s",
              "max by (route) (coalmine_canary_deadline_seconds)", "{{route}}")
    )  # fmt: skip
    board.with_panel(
        lines("Account balances", "1 while sent is the sum of all outcomes.", "none",
              "min by (route) (coalmine_canary_identity_ok)", "{{route}}")
    )  # fmt: skip
    board.with_panel(
        lines("Rechecks not ok", "Seen canaries that a later look at the store did not find.",
              "none", 'sum by (route, age, state) (coalmine_recheck_state{state!~"ok|pending"})',
              "{{route}} {{age}} {{state}}")
    )  # fmt: skip
    board.with_panel(
        lines("Rechecks due", "Whose time came, per interval, by age.", "none",
              "sum by (route, age) (increase(coalmine_recheck_due_total[$__rate_interval]))",
              "{{route}} {{age}}")
    )  # fmt: skip
    board.with_panel(
        rows("Last ok", "Unix time of the last ok result; 0 = never since start.",
             "max by (check, kind) (coalmine_check_last_ok_timestamp_seconds)")
    )  # fmt: skip


def _pipeline(board: Dashboard) -> None:
    board.with_row(Row("Hops: items in the window of the hop balance; absent = not readable"))
    board.with_panel(
        lines("Loss at a hop", "In - out - stored - intended, items in the window.", "none",
              'sum by (hop, signal) (coalmine_hop_items{direction="loss"})', "{{hop}} {{signal}}")
    )  # fmt: skip
    board.with_panel(
        lines("Held at a hop", "Items or batches in queues.", "none",
              'sum by (hop, signal) (coalmine_hop_items{direction="stored"})',
              "{{hop}} {{signal}}")
    )  # fmt: skip
    board.with_panel(
        lines("Age of a source's newest record", "Expected sources of real telemetry.", "s",
              "max by (source) (coalmine_source_newest_age_seconds)", "{{source}}")
    )  # fmt: skip
    board.with_panel(
        lines("Runs by what became of them", "Due runs of checks, in one snapshot.", "none",
              'sum by (state) (coalmine_check_runs{kind!="canary"})', "{{state}}")
    )  # fmt: skip


def _paging(board: Dashboard) -> None:
    board.with_row(Row("Pages, and Coalmine itself"))
    board.with_panel(
        lines("Pages unaccepted", "Deliveries that no receiver has accepted yet.", "none",
              "max(coalmine_pages_unaccepted)", "unaccepted")
    )  # fmt: skip
    board.with_panel(
        lines("Oldest unaccepted delivery", f"Alerts from {OUTBOX_AGE_S} s on.", "s",
              "max(coalmine_outbox_oldest_age_seconds)", "oldest")
    )  # fmt: skip
    board.with_panel(
        lines("Delivery attempts per second", "By receiver and its answer.", "cps",
              "sum by (receiver, answer) (rate(coalmine_page_attempts_total[$__rate_interval]))",
              "{{receiver}} {{answer}}")
    )  # fmt: skip
    board.with_panel(
        lines("Dwell of the last page", "State change to acceptance.", "s",
              "max(coalmine_page_dwell_seconds)", "dwell")
    )  # fmt: skip
    board.with_panel(
        lines("Event-loop lag", "Worst recent lag; high lag makes time-outs blind.", "s",
              "max by (loop) (coalmine_loop_lag_seconds)", "{{loop}}")
    )  # fmt: skip
    board.with_panel(
        lines("Run lateness and lag", "Worst over all checks.", "s",
              "max(coalmine_check_late_seconds)", "late",
              ("max(coalmine_check_loop_lag_seconds)", "lag"))
    )  # fmt: skip
    board.with_panel(
        lines("Results and history given up per second", "Overflow that was counted.", "cps",
              "sum(rate(coalmine_results_dropped_total[$__rate_interval]))", "results",
              ("sum(rate(coalmine_samples_shed_total[$__rate_interval]))", "history"))
    )  # fmt: skip
    board.with_panel(
        lines("Abandoned runs", "Runs that did not end at their deadline.", "none",
              "max(coalmine_engine_leaked_tasks)", "abandoned")
    )  # fmt: skip
    board.with_panel(
        rows("Slowest checks", "Duration of the last run and age of the last result.",
             "topk(10, max by (check) (coalmine_check_duration_seconds))",
             "topk(10, max by (check) (coalmine_check_age_seconds))")
    )  # fmt: skip
    board.with_panel(
        rows("Parts of Coalmine", "Age of each part's last sign of life, and the plan in force.",
             "max by (part) (coalmine_vital_age_seconds)", "max(coalmine_config_generation)")
    )  # fmt: skip


def _money(board: Dashboard) -> None:
    board.with_row(Row("Cost: estimates from measured volume; list prices, dated in the book"))
    board.with_panel(
        lines("Cost per hour", "Estimate; absent = unpriced.", "none",
              "sum by (signal, currency, book) (coalmine_cost_hour)",
              "{{signal}} {{currency}} {{book}}")
    )  # fmt: skip
    board.with_panel(
        lines("Next month, p50", "The likely figure; p10 and p90 are in the table.", "none",
              'sum by (signal, currency, book) (coalmine_cost_month_forecast{quantile="0.5"})',
              "{{signal}} {{currency}} {{book}} p50")
    )  # fmt: skip
    board.with_panel(
        rows("Month to date and price per GB", "Estimates, with currency and grade of the price.",
             "max by (signal, meter, book, currency, grade) (coalmine_cost_month_to_date)",
             "max by (signal, meter, book, currency, grade) (coalmine_cost_per_gb)")
    )  # fmt: skip
    board.with_panel(
        rows("Unpriced", "Meters that no price book prices: not zero, unknown.",
             "coalmine_cost_unpriced == 1", "coalmine_canary_cost_unpriced == 1")
    )  # fmt: skip
    board.with_panel(
        lines("Own canaries, bytes per second", "As sent, by the backend that is read.", "Bps",
              "sum by (backend, signal) (rate(coalmine_canary_bytes_total[$__rate_interval]))",
              "{{backend}} {{signal}}")
    )  # fmt: skip
    board.with_panel(
        lines("Own reads per second", "By backend; caps count them by the day.", "cps",
              "sum by (backend) (rate(coalmine_canary_reads_total[$__rate_interval]))",
              "{{backend}}")
    )  # fmt: skip
    board.with_panel(
        rows("Own canaries, month to date and per hour",
             "A part of the cost above, never to be added to it; at the dearest tier.",
             "max by (backend, signal, book, currency, grade)"
             " (coalmine_canary_cost_month_to_date)",
             "max by (backend, signal, book, currency, grade) (coalmine_canary_cost_hour)")
    )  # fmt: skip
