"""Reload: a wrong file changes nothing, and some changes need a restart."""

import pytest

from coalmine.config.load import load_config
from coalmine.config.reload import ConfigWatch, Loaded, Refused
from tests.support.clock import VirtualClock
from tests.support.config_kinds import CHECK, HEAD, register, write


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    register(monkeypatch)


@pytest.fixture
def watch(tmp_path):
    return ConfigWatch(load_config(write(tmp_path, HEAD + CHECK), {}), VirtualClock(), 0.0, {})


def test_an_unchanged_file_asks_for_nothing(watch):
    assert watch.poll() is None


def test_a_changed_content_is_loaded_and_told_until_it_is_accepted(watch, tmp_path):
    write(tmp_path, HEAD + CHECK.replace("30s", "60s"))
    loaded = watch.poll()
    assert isinstance(loaded, Loaded)
    assert loaded.config.checks[0].every_s == 60.0
    watch.accept(loaded.config)
    assert watch.live is loaded.config
    assert watch.poll() is None


def test_a_request_reloads_an_unchanged_file(watch):
    watch.request()
    assert isinstance(watch.poll(), Loaded)
    assert watch.poll() is None


def test_fault_017_a_bad_file_is_refused_once_and_the_old_config_stays_live(watch, tmp_path):
    before = watch.live
    write(tmp_path, HEAD + CHECK.replace("every", "everi"))
    refused = watch.poll()
    assert isinstance(refused, Refused)
    assert refused.problems[0].line == 4
    assert watch.live is before
    assert watch.poll() is None
    write(tmp_path, HEAD + CHECK + "# mended\n")
    assert isinstance(watch.poll(), Loaded)


def test_fault_017_a_vanished_file_is_refused_once_and_the_old_config_stays_live(watch, tmp_path):
    (tmp_path / "coalmine.yaml").unlink()
    assert isinstance(watch.poll(), Refused)
    assert watch.poll() is None
    assert watch.live.checks


@pytest.mark.parametrize("checks", ["", "checks: []\n"])
def test_fault_018_a_reload_that_empties_the_checks_is_refused(watch, tmp_path, checks):
    write(tmp_path, HEAD + checks)
    refused = watch.poll()
    assert isinstance(refused, Refused)
    assert "nothing" in refused.problems[0].message


def test_fault_018_a_reload_may_empty_the_checks_when_that_is_said(watch, tmp_path):
    write(tmp_path, HEAD + "allow_empty: true\n")
    assert isinstance(watch.poll(), Loaded)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (HEAD.replace("test", "other"), "namespace"),
        (HEAD + "instance: 0a0b0c0d\n", "instance"),
        (HEAD + "data_dir: elsewhere\n", "data_dir"),
        (HEAD + "database: {url: 'postgresql://127.0.0.1/x'}\n", "database.url"),
        (HEAD + "ledger: {keep: 1d}\n", "ledger"),
    ],
)
def test_what_a_running_service_is_built_on_needs_a_restart(watch, tmp_path, text, key):
    write(tmp_path, text + CHECK)
    refused = watch.poll()
    assert isinstance(refused, Refused)
    assert [(each.key, each.remedy) for each in refused.problems] == [(key, "restart needed")]
