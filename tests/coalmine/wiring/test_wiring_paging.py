"""From a config to what the paging loop is told."""

import pytest

from coalmine.config.load import load_config
from coalmine.wiring.paging import paging_config, source_check, source_every_s
from paging.model import Severity

CONFIG = """\
coalmine: 1
namespace: tests
backends:
  store: {kind: embedded, url: "http://127.0.0.1:9"}
routes:
  - {name: logs, signal: logs, every: 10s, read: store,
     inject: {kind: otlp_http, url: "http://127.0.0.1:9"}}
checks:
  - {name: shop, probe: http, url: "http://127.0.0.1:9/", every: 30s, timeout: 5s,
     severity: warning}
sources:
  - {name: app, backend: store, select: "logs:app", quiet_after: 90s}
receivers:
  pager: {kind: webhook, url: "http://127.0.0.1:9/"}
  other: {kind: webhook, url: "http://127.0.0.1:9/2"}
paging: {group_wait: 2s, blind_after: 7m}
pages:
  - {match: {severity: warning, subject: "sh*"}, to: other, allow_single: true}
  - {to: pager, fallback: other, allow_single: true}
"""


@pytest.fixture
def told(tmp_path):
    path = tmp_path / "coalmine.yaml"
    path.write_text(CONFIG)
    return paging_config(load_config(path))


def test_whatever_can_page_is_a_subject_the_instances_own_checks_included(told):
    assert set(told.subjects) == {
        "shop",
        "logs",
        "recheck:logs",
        "source:app",
        "coalmine.paging",
        "coalmine.config",
        "coalmine.engine",
    }
    assert all(name == subject.name for name, subject in told.subjects.items())


def test_the_severity_of_the_config_is_that_of_fail(told):
    assert told.subjects["shop"].severity == {"fail": Severity.WARNING}
    assert told.subjects["logs"].severity == {"fail": Severity.CRITICAL}


def test_a_route_fires_at_its_first_verdict_and_takes_the_deadlines_of_its_judging(told):
    route = told.subjects["logs"]
    assert (route.kind, route.labels["signal"]) == ("canary", "logs")
    assert route.every_s == 10.0
    assert route.deadline_s >= 60.0


def test_page_rules_keep_their_order_and_the_last_takes_the_rest(told):
    first, last = told.pages
    assert (first.match.severity, first.match.subject, first.to) == (
        Severity.WARNING,
        "sh*",
        "other",
    )
    assert (last.match.severity, last.match.subject, last.to, last.fallback) == (
        None,
        "",
        "pager",
        "other",
    )
    assert set(told.receivers) == {"pager", "other"}


def test_times_are_those_of_the_config(told):
    assert (told.group_wait_s, told.blind_after_s) == (2.0, 420.0)


@pytest.mark.parametrize(("quiet", "every"), [(90.0, 30.0), (3600.0, 60.0), (1.0, 1.0)])
def test_a_source_is_looked_at_three_times_within_its_silence(quiet, every):
    assert source_every_s(quiet) == every


def test_the_id_of_a_source_is_no_name_that_a_config_can_give():
    assert ":" in source_check("shop")
