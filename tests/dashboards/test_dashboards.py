"""The board and the rules: built as committed, linted, parsed and proved by Prometheus itself."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from dashboards import build, lint
from dashboards.rules import RULES
from scheduler.export.catalogue import METRICS

CASES = Path(__file__).with_name("alert_cases.yml")
COUNTERS = frozenset(spec.name for spec in METRICS if spec.type == "counter")


def board():
    return json.loads(build.board_json("coalmine-trust"))


def test_generated_files_are_what_would_be_built_now():
    """Committed files and code cannot drift apart."""
    assert build.GENERATED.differences() == []


def test_a_changed_or_missing_file_is_noticed(tmp_path):
    """The comparison can fail."""
    build.GENERATED.write(tmp_path)
    (tmp_path / "coalmine.rules.yml").unlink()
    (tmp_path / "provisioning.yml").write_text("apiVersion: 2\n")
    assert build.GENERATED.differences(tmp_path) == ["coalmine.rules.yml", "provisioning.yml"]


def test_the_board_passes_its_lint():
    """Data source variable, description, unit, rates on counters."""
    assert lint.faults(board(), COUNTERS) == []


def test_lint_finds_a_bare_counter_and_a_missing_unit():
    """The lint can fail."""
    broken = board()
    panel = next(p for p in broken["panels"] if p["title"] == "Deadline")
    panel["targets"][0]["expr"] = "coalmine_canary_sent_total"
    del panel["fieldConfig"]["defaults"]["unit"]
    assert lint.faults(broken, COUNTERS) == [
        "Deadline: no unit",
        "Deadline: counter coalmine_canary_sent_total outside rate() or increase()",
    ]


def test_boards_and_rules_use_only_catalogued_metrics_and_every_metric_is_used():
    """A renamed metric cannot leave a quiet panel behind."""
    known = {spec.name for spec in METRICS}
    used = set().union(*(lint.metrics_in(expr) for expr in lint.queries(board())))
    used |= set().union(*(lint.metrics_in(rule.expr) for rule in RULES))
    assert used - known == set()
    assert known - used == set()


def test_verdict_timelines_map_all_four_verdicts():
    """Blind has a word and a colour of its own."""
    panel = next(p for p in board()["panels"] if p["title"] == "Routes")
    mapping = panel["fieldConfig"]["defaults"]["mappings"][0]
    assert mapping["type"] == "value"
    assert [m["text"] for m in mapping["options"].values()] == ["ok", "degraded", "blind", "fail"]


def test_every_alert_has_a_runbook_heading_and_the_reverse():
    """Nobody is woken without a page to open."""
    assert lint.runbook_gaps() == []


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: alert rules were not run")
    return found


@pytest.mark.stack
def test_every_alert_fires_when_it_should_and_stays_quiet_otherwise(tmp_path):
    """Prometheus's own rule tests, total silence among them."""
    (tmp_path / "coalmine.rules.yml").write_text(build.rules_yaml())
    shutil.copy(CASES, tmp_path)
    done = subprocess.run(
        [promtool(), "test", "rules", CASES.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.stack
def test_every_query_of_the_board_parses(tmp_path):
    """Checked by Prometheus's parser, with Grafana's variables filled in."""
    rules = [
        {"record": f"q:{n}", "expr": expr.replace("$__rate_interval", "1m")}
        for n, expr in enumerate(lint.queries(board()))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "q", "rules": rules}]}))
    done = subprocess.run(
        [promtool(), "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
