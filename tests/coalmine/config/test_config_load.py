"""The whole file: what a right one becomes, and that every mistake is told at once."""

from pathlib import Path

import pytest

from coalmine.config.load import load_config
from core.errors import ConfigError
from paging.model import Severity
from selfcheck.canary.model import Signal
from tests.support.config_kinds import CHECK, HEAD, register, write

GOLDEN = Path(__file__).parent / "golden"

WHOLE = """coalmine: 1
namespace: prod-eu
backends:
  logs: {kind: fake, url: "http://127.0.0.1:3100", tenant: team-a}
hops:
  gateway: {kind: fake, metrics: "http://127.0.0.1:8888/metrics"}
judging: {deadline_floor: 20s}
routes:
  - name: logs-gateway
    signal: logs
    inject: {kind: fake, url: "http://127.0.0.1:4318"}
    hops: [gateway]
    read: logs
    judging: {min_interval: 1s}
    every: 2s
  - {name: logs-direct, signal: logs, every: 10s, inject: {kind: fake, to: logs}, read: logs}
checks:
  - {name: shop, probe: fake, url: "http://127.0.0.1/", every: 5s}
  - {name: nightly, title: "The night", probe: fake, url: u, cron: "5 3 * * *", severity: warning}
sources:
  - {name: cart, backend: logs, select: '{app="cart"}', quiet_after: 5m, routes: [logs-gateway]}
receivers:
  pager: {kind: fake, url: "env:PAGER"}
  chat: {kind: other, url: "env:CHAT"}
pages:
  - {match: {severity: critical}, to: pager, fallback: chat}
  - {to: chat}
"""
ENV = {"PAGER": "http://127.0.0.1:1/a", "CHAT": "http://127.0.0.1:1/b"}


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    register(monkeypatch)


def problems(folder, text, env=ENV):
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), env)
    return {problem.key: problem for problem in caught.value.problems}


def test_a_right_config_keeps_what_wiring_needs(tmp_path):
    config = load_config(write(tmp_path, WHOLE), ENV)
    gateway, direct = config.routes
    shop, nightly = config.checks
    assert config.warnings == ()
    assert config.data_dir == tmp_path / "coalmine-data"
    assert (gateway.signal, gateway.every_s, gateway.hops) == (Signal.LOGS, 2.0, ("gateway",))
    assert (gateway.to, direct.to, direct.read) == (None, "logs", "logs")
    assert (shop.every_s, shop.deadline_s, shop.severity) == (5.0, 4.0, Severity.CRITICAL)
    assert (nightly.every_s, nightly.cron, nightly.deadline_s) == (None, "5 3 * * *", 10.0)
    assert (nightly.title, nightly.severity) == ("The night", Severity.WARNING)
    assert config.sources[0].routes == ("logs-gateway",)
    assert [receiver.name for receiver in config.receivers] == ["pager", "chat"]
    assert config.receivers[0].options.url.reveal() == ENV["PAGER"]
    assert (shop.at.line, shop.at.column) == (18, 5)


def test_a_routes_judging_is_laid_over_that_of_the_file(tmp_path):
    gateway, direct = load_config(write(tmp_path, WHOLE), ENV).routes
    assert (gateway.judging.deadline_floor, gateway.judging.min_interval) == (20.0, 1.0)
    assert (direct.judging.deadline_floor, direct.judging.min_interval) == (20.0, 5.0)


def test_a_route_says_from_when_on_it_is_slow(tmp_path):
    """Sooner than it is looked for, or than a healthy store shows it, each canary would be."""
    slow = WHOLE.replace("every: 2s", "every: 2s\n    slow_after: 1.5s")
    gateway, direct = load_config(write(tmp_path, slow), ENV).routes
    assert (gateway.slow_after_s, direct.slow_after_s) == (1.5, None)
    found = problems(tmp_path, slow.replace("slow_after: 1.5s", "slow_after: 1s"))
    assert "each would be slow" in str(found["routes[0].slow_after"]), found


def test_ten_mistakes_are_ten_located_errors():
    with pytest.raises(ConfigError) as caught:
        load_config(GOLDEN / "ten_mistakes.yaml", {})
    told = [str(each).removeprefix(f"{GOLDEN}/") for each in caught.value.problems]
    assert told == (GOLDEN / "ten_mistakes.txt").read_text().splitlines()
    assert len(told) == 10


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        (
            "read: logs\n    judging",
            "read: lgs\n    judging",
            "routes[0].read",
            "did you mean logs?",
        ),
        ("to: logs}", "to: lgos}", "routes[1].inject.to", "did you mean logs?"),
        (", to: logs}", "}", "routes[1].inject", "either url: or to:"),
        ("hops: [gateway]", "hops: [gatway]", "routes[0].hops[0]", "did you mean gateway?"),
        ("hops: [gateway]", "hops: [logs]", "routes[0].hops", "the last hop already"),
        (
            "hops:\n  gateway",
            "hops:\n  lokis: {kind: loki, metrics: u}\n  gateway",
            "hops.lokis",
            "the name of the backend",
        ),
        ("to: pager, f", "to: pagr, f", "pages[0].to", "did you mean pager?"),
        ("backend: logs", "backend: log", "sources[0].backend", "did you mean logs?"),
        ("routes: [logs-gateway]", "routes: [logs-x]", "sources[0].routes[0]", "no route"),
        ("direct, signal: logs", "direct, signal: traces", "routes[1].signal", "does not send"),
        (
            "gateway\n    signal: logs",
            "gateway\n    signal: metrics",
            "routes[0].read",
            "logs only",
        ),
        ("tenant: team-a", "tenant: read-only", "routes[1].inject.to", "set its write_url"),
        ("every: 2s", "every: 500ms", "routes[0].every", "between 1s"),
        ("every: 10s", "every: 2h", "routes[1].every", "and 1h"),
        ("  - {to: chat}\n", "", "pages[0]", "last page rule"),
        (", fallback: chat}", "}", "pages[0]", "two receivers"),
        ("kind: other", "kind: fake", "pages[0].fallback", "one provider"),
        ("name: nightly", "name: logs-direct", "checks[1].name", "line 16"),
        (
            "min_interval: 1s",
            "min_intervall: 1s",
            "routes[0].judging.min_intervall",
            "did you mean",
        ),
        ("deadline_floor: 20s", "deadline_floor: 20", "judging.deadline_floor", "unit"),
        ("kind: fake, to", "kind: fakee, to", "routes[1].inject.kind", "did you mean fake?"),
        ("cron: ", "every: 5s, cron: ", "checks[1]", "either every: or cron:"),
        ("to: pager,", "to: pager, match: {},", "pages[0].match", "duplicate"),
        ("match: {severity: critical}", "match: {}", "pages[0].match", "empty match"),
        ("namespace: prod-eu", "instance: 0xyz", "namespace", "missing key"),
        ("  chat: {", "  Chat: {", "receivers.Chat", "lower-case"),
        ("backends:\n", "backends: []\nx-backends:\n", "x-backends", "unknown key"),
        ("coalmine: 1", "coalmine: 2", "coalmine", "expected 1"),
        ("url: u, c", "url: u, expect: [1], c", "checks[1].expect[0]", "expected"),
    ],
)
def test_what_contradicts_itself_is_told_where_it_stands(tmp_path, old, new, key, words):
    assert WHOLE.count(old) >= 1
    found = problems(tmp_path, WHOLE.replace(old, new, 1))
    assert words in str(found[key]), found


def test_the_branches_of_a_union_that_were_not_meant_are_not_told(tmp_path):
    text = WHOLE.replace("url: u, c", "url: u, expect: {statu: 200}, c")
    [problem] = problems(tmp_path, text).values()
    assert (problem.key, problem.remedy) == ("checks[1].expect.statu", "did you mean status?")


def test_receivers_of_one_kind_on_two_hosts_are_two_providers(tmp_path):
    env = {**ENV, "CHAT": "http://other.example/"}
    text = WHOLE.replace("kind: other", "kind: fake")
    assert len(load_config(write(tmp_path, text), env).pages) == 2


def test_a_single_receiver_is_enough_when_that_is_said(tmp_path):
    text = WHOLE.replace(", fallback: chat}", ", allow_single: true}")
    assert load_config(write(tmp_path, text), ENV).pages[0].fallback is None


def test_nothing_to_watch_is_an_error_unless_it_is_meant(tmp_path):
    assert "nothing would be watched" in problems(tmp_path, HEAD)[""].message
    config = load_config(write(tmp_path, HEAD + "allow_empty: true\n"), {})
    assert (config.checks, config.routes) == ((), ())


def test_a_config_that_tells_nobody_is_warned_of(tmp_path):
    [warning] = load_config(write(tmp_path, HEAD + CHECK), {}).warnings
    assert "nobody will be told" in warning.message


def test_a_browser_check_that_is_too_frequent_is_warned_of(tmp_path, monkeypatch):
    from probes.protocol import PROBES

    monkeypatch.setitem(PROBES.entries, "browser", "tests.support.config_kinds:FakeProbe")
    text = HEAD + CHECK.replace("probe: fake", "probe: browser").replace("30s", "29s")
    warnings = load_config(write(tmp_path, text), {}).warnings
    assert [each.key for each in warnings if "expensive" in each.message] == ["checks[0].every"]


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml", {})


def test_a_kind_that_cannot_be_imported_is_a_located_error(tmp_path, monkeypatch):
    from probes.protocol import PROBES

    monkeypatch.setitem(PROBES.entries, "broken", "tests.support.no_such_module:Probe")
    found = problems(tmp_path, HEAD + CHECK.replace("probe: fake", "probe: broken"))
    assert "cannot be loaded" in found["checks[0].probe"].message


def test_the_content_hash_follows_the_bytes(tmp_path):
    one = load_config(write(tmp_path, HEAD + CHECK), {}).content_hash
    two = load_config(write(tmp_path, HEAD + CHECK + "# more\n"), {}).content_hash
    assert one != two
