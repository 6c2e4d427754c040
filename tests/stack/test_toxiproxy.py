"""A broken way to a real store: refused, lost on the way, stored without an answer, slow.

toxiproxy stands before Loki's receiver; reads go straight. What the wire did is read back from the
store itself, so that each verdict is held against what is true there.
"""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from coalmine.demo.receiver import PageReceiver
from deploy.stack.launch import TENANT, free_ports
from deploy.stack.watched import config
from tests.stack.rig import JUDGING, Watch, watched
from tests.support.servers import stack_of

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(180)]

PROXY = "loki"


class Toxics:
    """One proxy before Loki, with toxics that can be put on it."""

    def __init__(self, api: str, upstream: str) -> None:
        self._api, self.port = api, free_ports(["proxy"])["proxy"]
        self.url = f"http://127.0.0.1:{self.port}"
        listen = {"name": PROXY, "listen": f"127.0.0.1:{self.port}", "enabled": True}
        self._post("/proxies", {**listen, "upstream": upstream.removeprefix("http://")})

    def enable(self, *, enabled: bool) -> None:
        self._post(f"/proxies/{PROXY}", {"enabled": enabled})

    def put(self, kind: str, stream: str, **attributes: Any) -> None:
        toxic = {"type": kind, "stream": stream, "attributes": attributes}
        self._post(f"/proxies/{PROXY}/toxics", toxic)

    def clean(self) -> None:
        """No toxic, and every connection passes."""
        self._post("/reset", {})

    def _post(self, path: str, body: Any) -> None:
        request = urllib.request.Request(
            self._api + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=5).close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[Any]:
    with stack_of(tmp_path_factory.mktemp("toxic"), "loki", "toxiproxy") as stack:
        yield stack, Toxics(stack["toxiproxy"].url(), stack["loki"].url())


@pytest.fixture
def pager() -> Iterator[PageReceiver]:
    pager = PageReceiver(refuses=False)
    yield pager
    pager.close()


@contextmanager
def service(servers, pager, folder: Path) -> Iterator[tuple[Watch, Toxics]]:
    """A service with one route through the proxy and one around it, both ok."""
    stack, toxics = servers
    toxics.clean()
    document = config(stack, pager.url, folder, every="1s")
    document["judging"] = dict(JUDGING)
    document["paging"] = {"group_wait": "2s", "blind_after": "30s"}
    (around,) = document["routes"]
    through = {"kind": "otlp_http", "to": "loki", "url": toxics.url}
    document["routes"] = [around, {**around, "name": "proxied", "inject": through}]
    with watched(document, folder, pager) as watch:
        watch.until_all_ok()
        try:
            yield watch, toxics
        finally:
            toxics.clean()


def in_loki(stack, route: str) -> int:
    """Lines of a route's canaries that Loki really holds."""
    query = (
        f'sum(count_over_time({{service_name="coalmine-canary"}} | coalmine_route="{route}" [1h]))'
    )
    request = urllib.request.Request(
        f"{stack['loki'].url()}/loki/api/v1/query?query={urllib.request.quote(query)}",
        headers={"X-Scope-OrgID": TENANT},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        result = json.load(answer)["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


def outcomes(watch: Watch) -> dict[str, int]:
    return dict(watch.route("proxied")["outcomes"])


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def test_refused_is_rejected_and_never_lost(servers, pager, tmp_path):
    with service(servers, pager, tmp_path) as (watch, toxics):
        since, before = watch.now(), outcomes(watch)
        toxics.enable(enabled=False)
        watch.until_verdict("proxied", "fail", "inject", "refused")
        watch.until("four are rejected", lambda: outcomes(watch)["rejected"] >= 4)
        changed = grown(before, outcomes(watch))
        assert set(changed) <= {"rejected", "ok", "pending"}, watch.told()
        watch.always_ok(since, "direct-logs")
        toxics.enable(enabled=True)
        watch.until_all_ok()


def test_lost_on_the_way_is_unknown_and_the_route_fails_at_injection(servers, pager, tmp_path):
    stack, _ = servers
    with service(servers, pager, tmp_path) as (watch, toxics):
        since, before = watch.now(), outcomes(watch)
        # What is sent disappears; the connection stands until the sender gives up.
        toxics.put("timeout", "upstream", timeout=0)
        watch.until_verdict("proxied", "fail", "inject")
        watch.until("four are unknown", lambda: outcomes(watch)["unknown"] >= 4)
        held, changed = in_loki(stack, "proxied"), grown(before, outcomes(watch))
        assert set(changed) <= {"unknown", "ok", "pending"}, watch.told()
        watch.look_again()
        assert in_loki(stack, "proxied") == held, "nothing of it was stored"
        watch.always_ok(since, "direct-logs")
        toxics.clean()
        watch.until_all_ok()


def test_stored_without_an_answer_is_seen_and_nobody_is_told_of_a_loss(servers, pager, tmp_path):
    stack, _ = servers
    with service(servers, pager, tmp_path) as (watch, toxics):
        before, held = outcomes(watch), in_loki(stack, "proxied")
        # The answer is cut: the sender cannot know, the store has it.
        toxics.put("reset_peer", "downstream", timeout=0)
        watch.until("six more are ok", lambda: outcomes(watch)["ok"] >= before["ok"] + 6)
        row = watch.until_verdict("proxied", "degraded", "inject")
        assert "stored, though the answer broke off" in row["detail"]
        changed = grown(before, outcomes(watch))
        assert set(changed) <= {"ok", "pending"}, watch.told()
        assert in_loki(stack, "proxied") >= held + changed["ok"]
        assert {page["severity"] for page in watch.of("trigger")} <= {"warning"}, watch.told()
        toxics.clean()
        watch.until_all_ok()


def test_a_slow_way_is_delay_and_no_loss(servers, pager, tmp_path):
    with service(servers, pager, tmp_path) as (watch, toxics):
        before = outcomes(watch)
        toxics.put("latency", "downstream", latency=400)
        watch.until("six more are ok", lambda: outcomes(watch)["ok"] >= before["ok"] + 6)
        assert set(grown(before, outcomes(watch))) <= {"ok", "pending"}, watch.told()
        assert not watch.of("trigger"), watch.told()
