"""The account of a check is whole at every moment at which another thread reads it."""

import sys
import threading

import pytest

from core.verdict import Verdict
from scheduler.engine.account import Account


@pytest.fixture
def switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_columns_sum_to_due_whenever_they_are_read():
    account, over = Account(), threading.Event()

    def run() -> None:
        while not over.is_set():
            account.begin()
            account.end(Verdict.OK)
            account.skip(3)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        for _ in range(60_000):
            columns = dict(account.columns())
            assert columns.pop("due") == sum(columns.values())
    finally:
        over.set()
        thread.join()
