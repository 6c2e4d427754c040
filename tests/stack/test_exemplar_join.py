"""The link from a sample to its trace, broken in a real Prometheus: it keeps no exemplars any more.

Samples and spans go on arriving, and so does every other link.
"""

from collections.abc import Iterator

import pytest

from coalmine.demo.receiver import PageReceiver
from tests.stack.rig import Rig, watched
from tests.stack.test_joins import document, until_joins

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]

WINDOW = "out_of_order_time_window: 10m"
KEEPS = f"storage: {{tsdb: {{{WINDOW}}}}}\n"
KEEPS_NO_EXEMPLARS = f"storage: {{tsdb: {{{WINDOW}}}, exemplars: {{max_exemplars: -1}}}}\n"


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("exemplars"))
    try:
        with rig.stack:
            yield rig
    finally:
        rig.close()


@pytest.fixture
def pager() -> Iterator[PageReceiver]:
    pager = PageReceiver(refuses=False)
    yield pager
    pager.close()


def test_exemplars_that_are_not_kept_fail_their_join_while_every_signal_is_ok(rig, pager, tmp_path):
    with watched(document(rig, pager, tmp_path), tmp_path, pager) as watch:
        watch.until_all_ok()
        until_joins(watch, log_to_trace="ok", exemplar_to_trace="ok")
        rig.stack.reconfigure(KEEPS_NO_EXEMPLARS, "prometheus")
        until_joins(watch, exemplar_to_trace="fail")
        watch.until_all_ok()
        until_joins(watch, log_to_trace="ok", exemplar_to_trace="fail")
        watch.until(
            "the page tells of the link",
            lambda: [one for one in watch.of("trigger") if one["subject"] == "exemplar-to-trace"],
        )
        (page,) = [one for one in watch.of("trigger") if one["subject"] == "exemplar-to-trace"]
        assert "leads to no trace" in page["summary"], watch.told()
        rig.stack.reconfigure(KEEPS, "prometheus")
        until_joins(watch, exemplar_to_trace="ok", log_to_trace="ok")
        watch.until_all_ok()
        watch.until(
            "the page is resolved",
            lambda: page["dedup_key"] in {one["dedup_key"] for one in watch.of("resolve")},
        )
