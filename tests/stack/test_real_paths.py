"""The ways that real telemetry takes, each watched by a route: an SDK, a tailed file, a scrape.

All enter at an agent, pass the gateway and end in the stores; beside them stand the routes that
enter at the agent by OTLP, at the gateway, and at the store.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from coalmine.demo.receiver import PageReceiver
from deploy.stack.collector import CollectorPlan, render
from deploy.stack.launch import Instance, Stack, free_ports
from deploy.stack.launch import through as through_gateway
from deploy.stack.watched import AGENT, GATEWAY, STORES, config
from tests.stack.rig import JUDGING, Watch, watched
from tests.support.servers import stack_of

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
SDK = [f"sdk-{signal}" for signal in STORES]
REAL = [*SDK, "file-logs", "scraped-metrics"]


def documented(page: str) -> dict[str, Any]:
    """The Collector's settings as the page of an injector gives them to its readers."""
    text = (ROOT / "docs/injectors" / page).read_text()
    (first, *_) = re.findall(r"```yaml otelcol\n(.*?)```", text, re.DOTALL)
    return dict(YAML(typ="safe").load(first))


class Paths:
    """A stack whose agent also tails a file and scrapes a page."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "canaries" / "canary.log"
        self.file.parent.mkdir()
        self.page = f"127.0.0.1:{free_ports(['page'])['page']}"
        agent = Instance("otelcol", config=self.agent)
        self.stack = stack_of(folder, "otelcol", *STORES.values(), instances={AGENT: agent})

    def agent(self, stack: Stack, *, tails: bool = True, scrapes: bool = True) -> str:
        """The agent's config; without its tail or its scrape when that is what is broken."""
        plan: CollectorPlan = through_gateway("otelcol", hop=AGENT)(stack)
        server = stack[AGENT]
        written = json.loads(render(plan, server.ports, str(server.folder)))
        pipelines = written["service"]["pipelines"]
        if tails:
            tail = documented("file.md")["receivers"]["file_log"]
            tail |= {"include": [str(self.file)], "poll_interval": "100ms"}
            written["receivers"]["file_log"] = tail
            pipelines["logs"]["receivers"].append("file_log")
        if scrapes:
            job = {"job_name": "canaries", "scrape_interval": "500ms", "scrape_timeout": "500ms"}
            jobs = [{**job, "static_configs": [{"targets": [self.page]}]}]
            written["receivers"]["prometheus"] = {"config": {"scrape_configs": jobs}}
            pipelines["metrics"]["receivers"].append("prometheus")
        return json.dumps(written)

    def document(self, pager_url: str, folder: Path) -> dict[str, Any]:
        document = config(self.stack, pager_url, folder, every="1s")
        document["judging"] = dict(JUDGING)
        document["paging"] = {"group_wait": "2s", "blind_after": "60s"}
        url = self.stack[AGENT].url()
        common = {"every": "1s", "hops": [AGENT, GATEWAY]}
        document["routes"] += [
            {"name": f"sdk-{signal}", "signal": signal, "read": store, **common,
             "inject": {"kind": "sdk", "url": url}}
            for signal, store in STORES.items()
        ]  # fmt: skip
        document["routes"] += [
            {"name": "file-logs", "signal": "logs", "read": "loki", **common,
             "inject": {"kind": "file", "path": str(self.file)}},
            {"name": "scraped-metrics", "signal": "metrics", "read": "prometheus", **common,
             "every": "2s",
             "inject": {"kind": "scrape", "listen": self.page, "scrape_every": "500ms"}},
        ]  # fmt: skip
        return document


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> Iterator[Paths]:
    paths = Paths(tmp_path_factory.mktemp("paths"))
    with paths.stack:
        yield paths


@pytest.fixture
def pager() -> Iterator[PageReceiver]:
    pager = PageReceiver(refuses=False)
    yield pager
    pager.close()


@contextlib.contextmanager
def service(paths, pager, folder) -> Iterator[Watch]:
    with watched(paths.document(pager.url, folder), folder, pager) as watch:
        watch.until_all_ok()
        yield watch


def test_every_real_path_is_ok_and_a_broken_tail_or_scrape_is_told_from_a_broken_agent(
    paths, pager, tmp_path
):
    others = [f"{prefix}-{signal}" for prefix in ("agent", "gw", "direct") for signal in STORES]
    with service(paths, pager, tmp_path) as watch:
        for name in REAL:
            before = watch.route(name)["outcomes"]["ok"]
            watch.until(
                f"{name}: five more",
                lambda name=name, before=before: watch.route(name)["outcomes"]["ok"] >= before + 5,
            )
            outcomes = watch.route(name)["outcomes"]
            assert outcomes["lost"] == outcomes["altered"] == 0, watch.told()
        assert not watch.of("trigger"), watch.told()

        since = watch.now()
        paths.stack.reconfigure(paths.agent(paths.stack, tails=False), AGENT)
        watch.until_verdict("file-logs", "fail", "silent_loss")
        row = watch.until_hop("file-logs", AGENT)
        assert row["outcomes"]["rejected"] == 0, watch.told()
        watch.until(
            "what enters at the agent by OTLP is ok again",
            lambda: {watch.route(name)["verdict"] for name in ("agent-logs", "sdk-logs")} == {"ok"},
        )
        gateway = [name for name in others if not name.startswith(AGENT)]
        watch.always_ok(since, *gateway)

        paths.stack.reconfigure(paths.agent(paths.stack, scrapes=False), AGENT)
        watch.until_verdict("scraped-metrics", "fail", "inject")
        found = watch.until("the tail goes on where it stopped",
                            lambda: watch.route("file-logs")["outcomes"]["late"])  # fmt: skip
        assert found
        paths.stack.reconfigure(paths.agent(paths.stack), AGENT)
        watch.until(
            "nothing fails any more",
            lambda: {row["verdict"] for row in watch.board["routes"]} <= {"ok", "degraded"},
        )
        assert watch.route("file-logs")["outcomes"]["lost"] == 0, watch.told()


def test_a_stopped_agent_takes_every_real_path_with_it_and_is_named(paths, pager, tmp_path):
    with service(paths, pager, tmp_path) as watch:
        since = watch.now()
        paths.stack.stop(AGENT)
        # A line in a file is as good as sent; who waits for an answer or a scrape gets none.
        watch.until_verdict("file-logs", "fail", "silent_loss")
        for name in (*SDK, "scraped-metrics"):
            watch.until_verdict(name, "fail", "inject")
        for name in REAL:
            watch.until_hop(name, AGENT)
        watch.until_page("trigger")
        assert {page["hop"] for page in watch.of("trigger")} == {AGENT}, watch.told()
        gateway = [f"{prefix}-{signal}" for prefix in ("gw", "direct") for signal in STORES]
        watch.always_ok(since, *gateway)
        paths.stack.start(AGENT)
        watch.until(
            "nothing fails any more",
            lambda: {row["verdict"] for row in watch.board["routes"]} <= {"ok", "degraded"},
        )
