"""A store whose disk is full: it goes on listening and refuses what it cannot keep."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coalmine.demo.receiver import PageReceiver
from deploy.stack.collector import CollectorPlan
from deploy.stack.launch import Stack
from deploy.stack.servers import required
from deploy.stack.watched import GATEWAY, config
from tests.stack.rig import JUDGING, watched
from tests.support.servers import stack_of

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(180)]

# The store turns read-only when less than 100 MB are free.
DISK = "160m"
LEFT = 60 << 20


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[Path]:
    """A small disk of its own. Needs the right to mount one."""
    folder = tmp_path_factory.mktemp("disk")
    store = folder / "victoria-metrics"
    store.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "coalmine-test", str(store)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        told = f"cannot mount a small disk: {done.stderr.strip()}"
        (pytest.fail if required() else pytest.skip)(told)
    yield folder
    subprocess.run(["umount", str(store)], check=True)


@pytest.fixture(scope="module")
def stack(disk) -> Iterator[Stack]:
    with stack_of(disk, "victoria-metrics", "otelcol", plan=metrics_to_store) as stack:
        yield stack


@pytest.fixture
def pager() -> Iterator[PageReceiver]:
    pager = PageReceiver(refuses=False)
    yield pager
    pager.close()


def fill(folder: Path) -> Path:
    """Take the disk below the store's limit; returns the file that takes it.

    To the last byte it would not refuse but end: it treats a failed write of its own as fatal.
    """
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        while shutil.disk_usage(folder).free > LEFT:
            file.write(bytes(1 << 20))
    return filler


def metrics_to_store(stack: Stack) -> CollectorPlan:
    endpoint = f"{stack['victoria-metrics'].url()}/opentelemetry/v1/metrics"
    return CollectorPlan({"metrics": {"metrics_endpoint": endpoint}})


def document(stack: Stack, page_url: str, folder: Path) -> dict[str, Any]:
    """One route through the Collector and one straight to the store."""
    written = config(stack, page_url, folder, every="1s")
    written["judging"] = dict(JUDGING)
    written["paging"] = {"group_wait": "2s", "blind_after": "60s"}
    written["backends"] = {
        "store": {"kind": "victoriametrics", "url": stack["victoria-metrics"].url()}
    }
    common = {"signal": "metrics", "every": "1s", "read": "store"}
    through = {"kind": "otlp_http", "url": stack["otelcol"].url()}
    written["routes"] = [
        {"name": "gw-metrics", **common, "hops": [GATEWAY], "inject": through},
        {"name": "direct-metrics", **common, "inject": {"kind": "otlp_http", "to": "store"}},
    ]
    return written


def test_a_full_disk_at_the_store_is_refused_and_named(stack, disk, pager, tmp_path):
    """direct is refused with the store's own words, gw loses behind its 200; one page, the store."""
    with watched(document(stack, pager.url, tmp_path), tmp_path, pager) as watch:
        watch.until_all_ok()
        before = watch.route("direct-metrics")["outcomes"]["ok"]
        filler = fill(disk / "victoria-metrics")
        try:
            row = watch.until_verdict("direct-metrics", "fail", "inject")
            watch.until_verdict("gw-metrics", "fail", "silent_loss")
            for name in ("direct-metrics", "gw-metrics"):
                assert "ingest" in watch.until_hop(name, "store")["finding"], watch.told()
            (page,) = watch.until_page("trigger")
            assert page["hop"] == "store", watch.told()
            assert row["outcomes"]["lost"] == 0, watch.told()
            assert watch.route("direct-metrics")["outcomes"]["ok"] <= before + 15, watch.told()
        finally:
            filler.unlink()
        watch.until_page("resolve")
