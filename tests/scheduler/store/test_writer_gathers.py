"""What nobody waits for is gathered for one commit; whoever waits ends the gathering."""

import pytest

from scheduler.store.database import Store, place_of, write_engine
from scheduler.store.writer import Writer
from tests.support.stores import sqlite_folder

FOREVER_S = 3600.0


@pytest.fixture
def writer(tmp_path):
    place = place_of(Store.SAMPLES, sqlite_folder(tmp_path))
    made = Writer(place, write_engine(place), gather_s=FOREVER_S)
    yield made
    made.close()


class Kept:
    """A step that keeps its items; what it is given at once is one batch."""

    def __init__(self):
        self.batches = []

    def __call__(self, _connection, items):
        self.batches.append(list(items))
        return items


def test_offered_items_wait_for_the_first_caller_and_go_in_one_commit(writer):
    keep = Kept()
    offered = [writer.offer(keep, number) for number in range(100)]
    assert writer.call(keep, 100) == 100
    assert keep.batches == [list(range(101))]
    assert [job.result(0) for job in offered] == list(range(100))
    assert writer.commits == 1


def test_a_full_group_is_written_though_nobody_waits(writer):
    keep = Kept()
    jobs = [writer.offer(keep, number) for number in range(500)]
    assert jobs[-1].result(10) == 499
    assert sum(map(len, keep.batches)) == 500


async def test_a_caller_behind_more_than_one_group_is_not_left_waiting(writer):
    keep = Kept()
    for number in range(1200):
        writer.offer(keep, number)
    assert await writer.do(keep, 1200) == 1200
    assert [item for batch in keep.batches for item in batch] == list(range(1201))


def test_close_writes_what_was_gathered(tmp_path):
    place = place_of(Store.SAMPLES, sqlite_folder(tmp_path))
    writer, keep = Writer(place, write_engine(place), gather_s=FOREVER_S), Kept()
    writer.offer(keep, "last")
    writer.close()
    assert keep.batches == [["last"]]
