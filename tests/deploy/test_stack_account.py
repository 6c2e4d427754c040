"""When a run of `make stack` was good, and what is told of it."""

import json
import queue
from types import SimpleNamespace

import pytest

from deploy.stack.stack import Account, _duration, _table
from deploy.stack.watched import Watcher

PAGE = {"data": {"action": "trigger", "subject": "gw-logs", "summary": "lost"}}


def a_row(name="gw-logs", verdict="ok", **outcomes):
    return {
        "name": name, "verdict": verdict, "reason": "ok", "sent": sum(outcomes.values()),
        "outcomes": outcomes, "balanced": True, "delay_p50_s": 1.0, "delay_p99_s": None,
    }  # fmt: skip


class FakeWatcher:
    def __init__(self, *answers):
        self._answers = list(answers)

    def board(self):
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return {"routes": answer}

    def imbalances(self):
        return []


def seen(*answers) -> Account:
    account, watcher = Account(), FakeWatcher(*answers)
    for _ in answers:
        account.look(watcher)
    return account


def test_a_healthy_run_is_good_and_a_run_that_saw_nothing_is_not():
    assert seen([a_row(ok=5, pending=1)]).good(timed=True)
    assert not Account().good(timed=True)
    assert not Account().good(timed=False)


@pytest.mark.parametrize("outcome", ["late", "lost", "altered", "rejected", "unknown"])
def test_one_loss_spoils_a_timed_run_only(outcome):
    account = seen([a_row(ok=5, **{outcome: 1})])
    assert account.losses() == 1
    assert (account.good(timed=True), account.good(timed=False)) == (False, True)


def test_a_page_spoils_a_timed_run():
    account, pages = seen([a_row(ok=5)]), queue.SimpleQueue()
    pages.put(PAGE)
    account.take_pages(SimpleNamespace(pages=pages))
    assert not account.good(timed=True)
    assert "page: trigger gw-logs: lost" in list(_table(account, timed=True))


def test_a_service_that_did_not_answer_once_spoils_every_run():
    account = seen([a_row(ok=5)], OSError("refused"), [a_row(ok=6)])
    assert account.unanswered == 1
    assert not account.good(timed=False)


def test_an_account_that_does_not_balance_spoils_every_run():
    account = seen([a_row(ok=5)])
    account.imbalances.append("gw-logs: sent 6, states 5")
    assert not account.good(timed=False)


def test_looks_at_which_a_route_was_not_ok_are_counted():
    account = seen([a_row(verdict="blind", ok=0)], [a_row(ok=1)])
    assert account.not_ok == {"gw-logs": 1}
    assert json.loads(json.dumps(account.report(timed=True)))["not_ok_looks"] == {"gw-logs": 1}


METRICS = """\
# TYPE coalmine_canary_sent_total counter
coalmine_canary_sent_total{route="a",signal="logs"} 3
coalmine_canary_sent_total{route="b",signal="logs"} 3
coalmine_canary_sent_total{route="c",signal="logs"} 0
# TYPE coalmine_canary_state gauge
coalmine_canary_state{route="a",signal="logs",outcome="ok"} 2
coalmine_canary_state{route="a",signal="logs",outcome="pending"} 1
coalmine_canary_state{route="b",signal="logs",outcome="ok"} 2
# TYPE coalmine_canary_identity_ok gauge
coalmine_canary_identity_ok{route="a",signal="logs"} 1
coalmine_canary_identity_ok{route="b",signal="logs"} 1
coalmine_canary_identity_ok{route="c",signal="logs"} 0
"""


def test_an_imbalance_is_read_from_the_metrics(monkeypatch, tmp_path):
    monkeypatch.setattr("deploy.stack.watched._get", lambda _url: METRICS)
    watcher = Watcher(tmp_path / "coalmine.yaml", None)
    assert watcher.imbalances() == ["b: sent 3, states 2, identity_ok 1"]


def test_durations_need_a_unit():
    assert [_duration(text) for text in ("30s", "10m", "1h", "1.5h")] == [30, 600, 3600, 5400]
    with pytest.raises(Exception, match="expected a duration"):
        _duration("60")
