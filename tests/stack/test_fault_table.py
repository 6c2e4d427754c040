"""What each fault must look like, one at a time, against real servers and a real service.

Rule: docs/design.md, "What a fault looks like". `agent-*` pass an agent and the gateway, `gw-*` the
gateway, `direct-*` go straight to the store.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from coalmine.demo.receiver import PageReceiver
from deploy.stack.launch import TENANT
from deploy.stack.watched import AGENT, write
from tests.stack.rig import STORES, Rig, Shop, Watch, watched, with_processors, without_queue

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]

AGENTS = [f"agent-{signal}" for signal in STORES]
GW = [f"gw-{signal}" for signal in STORES]
DIRECT = [f"direct-{signal}" for signal in STORES]
LOGS = ("agent-logs", "gw-logs", "direct-logs")
UNSEEN = ("lost", "rejected", "altered", "unknown", "policy_drop")


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("stack"))
    try:
        with rig.stack:
            yield rig
    finally:
        rig.close()


@pytest.fixture
def mended(rig) -> Iterator[Rig]:
    """Servers without a fault, before and after."""
    rig.mend()
    yield rig
    rig.mend()
    rig.restore()


@pytest.fixture
def pager() -> Iterator[PageReceiver]:
    pager = PageReceiver(refuses=False)
    yield pager
    pager.close()


@contextlib.contextmanager
def service(rig, pager, folder, change=None, *, ok=True) -> Iterator[Watch]:
    """A watched service with a config of its own; `ok`: every route is ok before it is used."""
    document = rig.document(pager.url, folder)
    if change:
        change(document)
    with watched(document, folder, pager) as watch:
        if ok:
            watch.until_all_ok()
        yield watch


def route_of(document, name):
    return next(route for route in document["routes"] if route["name"] == name)


def patient(document):
    """After a pause nothing was verified for a while: blind at first, and rightly so."""
    document["paging"]["blind_after"] = "60s"


def others(signal):
    """Every route of the other signals."""
    return [name for name in (*AGENTS, *GW, *DIRECT) if not name.endswith(signal)]


def never_ok(watch, name, since):
    """From the moment the trouble showed, no board called the route ok."""
    watch.look_again()
    seen = watch.verdicts(name, since)
    assert seen, f"no board since\n{watch.told()}"
    assert "ok" not in seen, f"{name} was called ok during the fault: {seen}\n{watch.told()}"


def nothing_more_ok(watch, name, before):
    """No canary was called ok but those that were under way when the fault began."""
    outcomes = watch.route(name)["outcomes"]
    under_way = before["outcomes"]["pending"] + 3  # sent between the last board and the fault
    assert outcomes["ok"] <= before["outcomes"]["ok"] + under_way, watch.told()


def subjects(page):
    return {page["subject"], *(member["subject"] for member in page["members"])}


def one_trigger(watch, *named):
    """Exactly one trigger, that names one of `named`; its data."""
    told = watch.of("trigger")
    assert len(told) == 1, f"{len(told)} triggers\n{watch.told()}"
    assert subjects(told[0]) & set(named), watch.told()
    return told[0]


def one_page(watch, hop, *named):
    """The only trigger, about `hop`, that names one of `named`; its data."""
    told = one_trigger(watch, *named)
    assert told["hop"] == hop, watch.told()
    return told


def until_page_names(watch, hop, page):
    """The page, or an update of it, says `hop`; updates are a minute apart."""
    watch.until(
        f"the page names {hop}",
        lambda: any(
            one["hop"] == hop
            for action in ("trigger", "update")
            for one in watch.of(action)
            if one["dedup_key"] == page["dedup_key"]
        ),
        within_s=90.0,
    )


def keys(watch, action):
    return {one["dedup_key"] for one in watch.of(action)}


def until_over(watch, page):
    """The page itself is; what came late may have had a warning of its own before."""
    watch.until("the page is resolved", lambda: page["dedup_key"] in keys(watch, "resolve"))


def resolves(watch, page, count=1):
    """Everything is ok again, and each page that went out is resolved."""
    watch.until_all_ok()
    watch.until_page("resolve", count)
    until_over(watch, page)
    watch.until("no incident is open", lambda: not watch.board["incidents"])
    watch.until(
        "each page that went out is resolved",
        lambda: keys(watch, "trigger") == keys(watch, "resolve"),
    )


def arrives_late(watch, name):
    watch.until(f"{name}: what was held came late", lambda: watch.route(name)["outcomes"]["late"])


def nothing_lost(watch, name):
    watch.until(f"{name}: nothing is lost", lambda: not watch.route(name)["outcomes"]["lost"])


def test_fault_001_a_stopped_store(mended, pager, tmp_path):
    """gw is blind and direct is refused; the page names the store and lists both routes."""
    with service(mended, pager, tmp_path) as watch:
        before = watch.route("direct-logs"), watch.route("gw-logs")
        mended.stop_store("loki")
        watch.until_verdict("direct-logs", "fail", "inject")
        since = watch.now()
        watch.until_hop("direct-logs", "loki")
        for name in ("gw-logs", "agent-logs"):
            watch.until_verdict(name, "blind", "readback")
        blind = watch.now()
        for name in ("gw-logs", "agent-logs"):
            watch.until_hop(name, "loki")
        watch.until_page("trigger")
        watch.until(
            "all routes are in one incident",
            lambda: any(
                {row["subject"], *row["members"]} >= {"direct-logs", "gw-logs", "agent-logs"}
                for row in watch.board["incidents"]
            ),
        )
        page = one_page(watch, "loki", "direct-logs")
        never_ok(watch, "direct-logs", since)
        never_ok(watch, "gw-logs", blind)
        never_ok(watch, "agent-logs", blind)
        nothing_more_ok(watch, "direct-logs", before[0])
        nothing_more_ok(watch, "gw-logs", before[1])
        assert watch.route("agent-logs")["outcomes"]["lost"] == 0
        assert watch.route("gw-logs")["outcomes"]["lost"] == 0
        assert watch.route("direct-logs")["outcomes"]["lost"] == 0
        watch.always_ok(since, *others("logs"))
        mended.start_store("loki")
        resolves(watch, page)
        assert watch.route("gw-logs")["outcomes"]["lost"] == 0, watch.told()


@pytest.mark.parametrize("signal", list(STORES))
def test_fault_002_only_the_read_side_is_down(mended, pager, tmp_path, signal):
    """All its routes are blind, nothing is called lost, and the page is "cannot see"."""
    store = STORES[signal]
    routes = [f"{prefix}-{signal}" for prefix in ("agent", "gw", "direct")]
    with service(mended, pager, tmp_path) as watch:
        mended.straight[store].refuse_reads = 503
        for name in routes:
            watch.until_verdict(name, "blind", "readback")
        since = watch.now()
        for name in routes:
            assert "read side" in watch.until_hop(name, store)["finding"], watch.told()
        assert not watch.of("trigger"), watch.told()
        watch.until_page("trigger")
        page = one_page(watch, store, *routes)
        assert page["rule"] == "blind"
        assert page["title"].startswith("watcher blind")
        for name in routes:
            never_ok(watch, name, since)
            assert watch.route(name)["outcomes"]["lost"] == 0, watch.told()
        mended.mend()
        resolves(watch, page)
        one_page(watch, store, *routes)
        for name in routes:
            outcomes = watch.route(name)["outcomes"]
            assert outcomes["lost"] == outcomes["rejected"] == 0, watch.told()


@pytest.mark.parametrize("signal", list(STORES))
def test_fault_003_only_the_write_side_is_down(mended, pager, tmp_path, signal):
    """What passes Collectors is lost at its deadline, late once mended; direct is refused at once."""
    store, direct = STORES[signal], f"direct-{signal}"
    through = [f"agent-{signal}", f"gw-{signal}"]
    with service(mended, pager, tmp_path) as watch:
        before = {name: watch.route(name) for name in (direct, *through)}
        mended.straight[store].refuse_writes = mended.through[store].refuse_writes = 503
        watch.until_verdict(direct, "fail", "inject")
        for name in through:
            watch.until_verdict(name, "fail", "silent_loss")
        since = watch.now()
        for name in (direct, *through):
            assert "ingest" in watch.until_hop(name, store)["finding"], watch.told()
        watch.until_page("trigger")
        page = one_page(watch, store, direct, *through)
        for name, was in before.items():
            never_ok(watch, name, since)
            nothing_more_ok(watch, name, was)
        mended.mend()
        for name in through:
            arrives_late(watch, name)
        resolves(watch, page)
        for name in through:
            nothing_lost(watch, name)


def test_fault_004_a_stopped_gateway(mended, pager, tmp_path):
    """gw is refused, the agent holds what it took, direct is ok; one page for all signals."""
    with service(mended, pager, tmp_path) as watch:
        since = watch.now()
        before = {name: watch.route(name) for name in (*AGENTS, *GW)}
        mended.stack.stop("otelcol")
        for name in GW:
            watch.until_verdict(name, "fail", "inject")
        for name in AGENTS:
            watch.until_verdict(name, "fail", "silent_loss")
        failed = watch.now()
        for name in GW:
            assert "refuses" in watch.until_hop(name, "gateway")["finding"], watch.told()
        for name in AGENTS:
            watch.until_hop(name, "gateway")
        watch.until_page("trigger")
        watch.until(
            "one incident carries all signals",
            lambda: any(
                {r["subject"], *r["members"]} >= {*GW, *AGENTS} for r in watch.board["incidents"]
            ),
        )
        page = one_page(watch, "gateway", *GW)
        for name in (*GW, *AGENTS):
            never_ok(watch, name, failed)
            nothing_more_ok(watch, name, before[name])
        watch.always_ok(since, *DIRECT)
        mended.stack.start("otelcol")
        resolves(watch, page)
        watch.always_ok(since, *DIRECT)


def test_fault_005_a_frozen_gateway(mended, pager, tmp_path):
    """Canaries are taken and never answered for: maybe sent, and a failure of the gateway."""
    with service(mended, pager, tmp_path) as watch:
        since = watch.now()
        mended.stack.freeze("otelcol")
        try:
            for name in GW:
                watch.until_verdict(name, "fail", "inject")
            for name in AGENTS:
                watch.until_verdict(name, "fail", "silent_loss")
            failed = watch.now()
            for name in GW:
                found = watch.until_hop(name, "gateway")
                assert "never answers" in found["finding"], watch.told()
                assert found["outcomes"]["unknown"] > 0, watch.told()
                assert found["outcomes"]["rejected"] == 0, watch.told()
                # One that the Collector had already answered for may be inside it, and lost.
                assert found["outcomes"]["lost"] <= 1, watch.told()
            for name in AGENTS:
                watch.until_hop(name, "gateway")
            watch.until_page("trigger")
            page = one_page(watch, "gateway", *GW, *AGENTS)
            for name in (*GW, *AGENTS):
                never_ok(watch, name, failed)
            watch.always_ok(since, *DIRECT)
        finally:
            mended.stack.thaw("otelcol")
        resolves(watch, page)


def test_a_stopped_agent(mended, pager, tmp_path):
    """Only what enters at the agent is refused, and the agent is named."""
    with service(mended, pager, tmp_path) as watch:
        since = watch.now()
        mended.stack.stop(AGENT)
        for name in AGENTS:
            watch.until_verdict(name, "fail", "inject")
        failed = watch.now()
        for name in AGENTS:
            assert "refuses" in watch.until_hop(name, AGENT)["finding"], watch.told()
        watch.until_page("trigger")
        page = one_page(watch, AGENT, *AGENTS)
        for name in AGENTS:
            never_ok(watch, name, failed)
        watch.always_ok(since, *DIRECT, *GW)
        mended.stack.start(AGENT)
        resolves(watch, page)
        watch.always_ok(since, *DIRECT, *GW)


def test_a_frozen_agent(mended, pager, tmp_path):
    """Taken and never answered: the agent is named, the gateway is cleared."""
    with service(mended, pager, tmp_path) as watch:
        since = watch.now()
        mended.stack.freeze(AGENT)
        try:
            for name in AGENTS:
                watch.until_verdict(name, "fail", "inject")
            for name in AGENTS:
                found = watch.until_hop(name, AGENT)
                assert "never answers" in found["finding"], watch.told()
            watch.until_page("trigger")
            page = one_page(watch, AGENT, *AGENTS)
            watch.always_ok(since, *DIRECT, *GW)
        finally:
            mended.stack.thaw(AGENT)
        resolves(watch, page)


@pytest.mark.parametrize(
    ("collector", "hop", "dropped", "spared"),
    [
        ("otelcol", "gateway", ("gw-logs", "agent-logs"), ()),
        (AGENT, AGENT, ("agent-logs",), ("gw-logs",)),
    ],
    ids=["gateway", "agent"],
)
def test_fault_006_a_filter_that_is_not_declared(
    mended, pager, tmp_path, collector, hop, dropped, spared
):
    """The drop is proven by the processor's own counter, named with it, and paged."""
    # The Collector's restart belongs to nobody's fault: the service is down meanwhile.
    with service(mended, pager, tmp_path):
        pass
    filters = {"filter__noise": {"error_mode": "ignore", "logs": {"log_record": ["true"]}}}
    mended.change(collector, lambda plan: with_processors(plan, "logs", **filters))

    with service(mended, pager, tmp_path, patient, ok=False) as watch:
        for name in dropped:
            watch.until_verdict(name, "fail", "policy")
        since = watch.now()
        for name in dropped:
            row = watch.until_hop(name, hop)
            assert "on purpose" in row["finding"], watch.told()
            assert "filter/noise" in " ".join(row["evidence"]), watch.told()
            assert "expect_drop" in row["detail"], watch.told()
        watch.until_page("trigger")
        page = one_page(watch, hop, *dropped)
        assert subjects(page) <= set(dropped)
        for name in dropped:
            never_ok(watch, name, since)
            assert watch.route(name)["outcomes"]["lost"] == 0, watch.told()
        watch.always_ok(since, "direct-logs", *spared, *others("logs"))


def test_fault_007_a_declared_sampler_that_works(mended, pager, tmp_path):
    """Nine of ten are dropped as declared: ok, and nobody is told."""
    sampler = {"probabilistic_sampler": {"sampling_percentage": 10}}
    mended.change("otelcol", lambda plan: with_processors(plan, "traces", **sampler))
    sampled = ("gw-traces", "agent-traces")

    def declare(document):
        for name in sampled:
            route_of(document, name)["expect_drop"] = {"ratio": 0.9}

    with service(mended, pager, tmp_path, declare, ok=False) as watch:
        watch.until_verdict("direct-traces", "ok")
        for name in sampled:
            watch.until("one passed", lambda name=name: watch.route(name)["outcomes"]["ok"], 90)
        watch.until_all_ok()
        since = watch.now()
        dropped = {name: watch.route(name)["outcomes"]["policy_drop"] for name in sampled}
        for name, before in dropped.items():
            watch.until(
                "twenty more dropped",
                lambda name=name, before=before: (
                    watch.route(name)["outcomes"]["policy_drop"] >= before + 20
                ),
            )
        watch.always_ok(since, *AGENTS, *GW, *DIRECT)
        for name in sampled:
            outcomes = watch.route(name)["outcomes"]
            missing = sum(outcomes[one] for one in ("lost", "rejected", "unknown"))
            assert missing == 0, watch.told()
        assert not [page for page in watch.of("trigger") if page["rule"] != "blind"]


def test_fault_015_a_real_loss_beside_a_declared_sampler(mended, pager, tmp_path):
    """What is missing beyond the sampler's band is lost, and the gateway is named."""
    sampler = {"probabilistic_sampler": {"sampling_percentage": 80}}
    mended.change("otelcol", lambda plan: with_processors(plan, "traces", **sampler))
    sampled = ("gw-traces", "agent-traces")

    def declare(document):
        for name in sampled:
            route_of(document, name)["expect_drop"] = {"ratio": 0.2}

    with service(mended, pager, tmp_path, declare) as watch:
        since = watch.now()
        before = {name: watch.route(name) for name in sampled}
        mended.through["jaeger"].swallow = True
        for name in sampled:
            watch.until_verdict(name, "fail", "silent_loss")
        failed = watch.now()
        watch.until_page("trigger")
        # What a sampler leaves of a route is lost when it happens to be: one may fail long before
        # the other, and be told before anything tells where.
        until_page_names(watch, "gateway", one_trigger(watch, *sampled))
        page = one_trigger(watch, *sampled)
        for name in sampled:
            never_ok(watch, name, failed)
            nothing_more_ok(watch, name, before[name])
        watch.always_ok(since, "direct-traces", *others("traces"))
        mended.mend()
        until_over(watch, page)


def test_fault_008_the_exporter_points_nowhere(mended, pager, tmp_path):
    """Taken with 200, held in the queue, lost at the deadline, late when it is delivered."""
    held = ("gw-metrics", "agent-metrics")
    with service(mended, pager, tmp_path) as watch:
        since = watch.now()
        before = {name: watch.route(name) for name in held}
        mended.through["prometheus"].close()
        for name in held:
            watch.until_verdict(name, "fail", "silent_loss")
        failed = watch.now()
        for name in held:
            row = watch.until_hop(name, "gateway")
            assert "held" in row["finding"], watch.told()
            assert "queue" in " ".join(row["evidence"]), watch.told()
        watch.until_page("trigger")
        page = one_page(watch, "gateway", *held)
        watch.until(
            "the time to loss is told",
            lambda: "time to loss" in " ".join(watch.route("gw-metrics")["evidence"]),
        )
        for name in held:
            never_ok(watch, name, failed)
            nothing_more_ok(watch, name, before[name])
        watch.always_ok(since, "direct-metrics", *others("metrics"))
        mended.mend()
        for name in held:
            arrives_late(watch, name)
        resolves(watch, page)
        for name in held:
            nothing_lost(watch, name)


@pytest.mark.parametrize(
    ("collector", "hop", "lost", "spared"),
    [
        ("otelcol", "gateway", ("gw-traces", "agent-traces"), ()),
        (AGENT, AGENT, ("agent-traces",), ("gw-traces",)),
    ],
    ids=["gateway", "agent"],
)
def test_fault_009_a_batch_before_a_dead_exporter_without_a_queue(
    mended, pager, tmp_path, collector, hop, lost, spared
):
    """The Collector answers 200 and drops: lost for good, and that Collector is named."""
    nowhere = {"endpoint": "http://127.0.0.1:1"}
    with service(mended, pager, tmp_path):
        pass
    mended.change(collector, lambda plan: without_queue(plan).with_target("traces", nowhere))

    with service(mended, pager, tmp_path, patient, ok=False) as watch:
        for name in lost:
            watch.until_verdict(name, "fail", "silent_loss")
        failed = watch.now()
        for name in lost:
            watch.until_hop(name, hop)
        watch.until_page("trigger")
        one_page(watch, hop, *lost)
        for name in lost:
            never_ok(watch, name, failed)
            assert watch.route(name)["outcomes"]["lost"] > 0
        watch.always_ok(failed, "direct-traces", *spared, *others("traces"))
        page = watch.of("trigger")[0]
        mended.restore()
        until_over(watch, page)


def test_a_full_queue(mended, pager, tmp_path):
    """Two batches are held, the rest is dropped: lost, and the gateway's queue is named."""
    lost = ("gw-traces", "agent-traces")
    small = {"enabled": True, "queue_size": 2, "num_consumers": 1}
    with service(mended, pager, tmp_path):
        pass
    mended.change("otelcol", lambda plan: replace(plan, queue=small))
    with service(mended, pager, tmp_path, patient, ok=False) as watch:
        for name in (*lost, "direct-traces"):
            watch.until_verdict(name, "ok")
        since = watch.now()
        mended.through["jaeger"].close()
        for name in lost:
            watch.until_verdict(name, "fail", "silent_loss")
        failed = watch.now()
        for name in lost:
            row = watch.until_hop(name, "gateway")
            assert "queue" in " ".join(row["evidence"]), watch.told()
        watch.until_page("trigger")
        page = one_page(watch, "gateway", *lost)
        for name in lost:
            never_ok(watch, name, failed)
        watch.always_ok(since, "direct-traces")
        mended.mend()
        until_over(watch, page)
        assert watch.route("gw-traces")["outcomes"]["lost"] > 0, watch.told()


def test_fault_010_a_wrong_token_on_read(mended, pager, tmp_path):
    """blind(auth) on every route, and the page names the access to the store."""
    with service(mended, pager, tmp_path) as watch:
        mended.straight["loki"].token = "another"
        for name in LOGS:
            watch.until_verdict(name, "blind", "auth")
        since = watch.now()
        for name in LOGS:
            assert "access" in watch.until_hop(name, "loki")["finding"], watch.told()
        watch.until_page("trigger")
        page = one_page(watch, "loki", *LOGS)
        assert page["rule"] == "blind"
        for name in LOGS:
            never_ok(watch, name, since)
            assert watch.route(name)["outcomes"]["lost"] == 0, watch.told()
        mended.mend()
        resolves(watch, page)
        one_page(watch, "loki", *LOGS)


def test_fault_011_a_wrong_tenant_on_read(mended, pager, tmp_path):
    """Never one seen: blind(starting) with the hint, never a loss; a mended config is reloaded."""
    written = []

    def elsewhere(document):
        written.append(document)
        document["backends"]["loki"]["tenant"] = "team-b"
        route_of(document, "direct-logs")["inject"]["tenant"] = TENANT

    with service(mended, pager, tmp_path, elsewhere, ok=False) as watch:
        for name in LOGS:
            watch.until(
                f"{name} has judged",
                lambda name=name: sum(watch.route(name)["outcomes"][one] for one in UNSEEN) > 3,
            )
            row = watch.until_verdict(name, "blind", "starting")
            assert "tenant" in row["detail"], watch.told()
            assert "access" in watch.until_hop(name, "loki")["finding"], watch.told()
        watch.until_page("trigger")
        page = one_page(watch, "loki", *LOGS)
        assert page["rule"] == "blind"
        for name in LOGS:
            assert set(watch.verdicts(name, 0.0)) == {"blind"}, watch.told()
            assert watch.route(name)["outcomes"]["lost"] == 0, watch.told()
        written[0]["backends"]["loki"]["tenant"] = TENANT
        write(written[0], tmp_path)
        resolves(watch, page)
        assert watch.route("gw-logs")["outcomes"]["lost"] == 0, watch.told()


def test_fault_012_a_service_whose_telemetry_stops(mended, pager, tmp_path):
    """Routes stay ok, the source itself is named, and its return resolves the page."""

    def expect(document):
        document["sources"] = [
            {
                "name": "shop",
                "backend": "loki",
                "select": '{service_name="shop"}',
                "quiet_after": "5s",
                "routes": list(LOGS),
            }
        ]

    def source(watch):
        return watch.board["sources"][0]["verdict"]

    with (
        Shop(mended.stack["otelcol"].url()) as shop,
        service(mended, pager, tmp_path, expect) as watch,
    ):
        watch.until("the shop is heard", lambda: source(watch) == "ok")
        since = watch.now()
        shop.silence()
        watch.until("the shop is quiet", lambda: source(watch) == "fail")
        watch.until_page("trigger")
        page = one_page(watch, "source:shop", "source:shop")
        assert page["title"] == "source shop quiet"
        watch.always_ok(since, *AGENTS, *GW, *DIRECT)
        shop.speak()
        watch.until("the shop is heard again", lambda: source(watch) == "ok")
        resolves(watch, page)


def test_fault_013_everything_is_restarted(mended, pager, tmp_path):
    """Pages are grouped by hop and resolve by themselves."""
    with service(mended, pager, tmp_path) as watch:
        mended.stack.stop(AGENT)
        mended.stack.stop("otelcol")
        for store in STORES.values():
            mended.stop_store(store)
        for name in (*AGENTS, *GW, *DIRECT):
            watch.until_verdict(name, "fail", "inject")
        failed = watch.now()
        watch.until_page("trigger", 5)
        for name in (*AGENTS, *GW, *DIRECT):
            never_ok(watch, name, failed)
        told = watch.of("trigger")
        assert {page["hop"] for page in told} == {AGENT, "gateway", *STORES.values()}
        assert len(told) == 5, watch.told()
        for store in STORES.values():
            mended.start_store(store)
        mended.stack.start("otelcol")
        mended.stack.start(AGENT)
        watch.until_page("resolve", 5)
        watch.until("no incident is open", lambda: not watch.board["incidents"])
        watch.until(
            "nothing fails any more",
            lambda: {row["verdict"] for row in watch.board["routes"]} <= {"ok", "degraded"},
        )


def test_fault_016_a_frozen_store(mended, pager, tmp_path):
    """It takes connections and answers nothing: neither ok nor lost for anyone."""
    with service(mended, pager, tmp_path) as watch:
        before = watch.route("direct-logs"), watch.route("gw-logs")
        mended.stack.freeze("loki")
        try:
            watch.until_verdict("direct-logs", "fail", "inject")
            since = watch.now()
            for name in ("gw-logs", "agent-logs"):
                watch.until_verdict(name, "blind", "readback")
            blind = watch.now()
            for name in LOGS:
                watch.until_hop(name, "loki")
            watch.until_page("trigger")
            page = one_page(watch, "loki", *LOGS)
            never_ok(watch, "direct-logs", since)
            never_ok(watch, "gw-logs", blind)
            never_ok(watch, "agent-logs", blind)
            nothing_more_ok(watch, "direct-logs", before[0])
            nothing_more_ok(watch, "gw-logs", before[1])
            for name in LOGS:
                assert watch.route(name)["outcomes"]["lost"] == 0, watch.told()
            watch.always_ok(since, *others("logs"))
        finally:
            mended.stack.thaw("loki")
        watch.until_page("resolve")
        watch.until("no failure is open", lambda: not watch.board["incidents"])
        assert page["dedup_key"] in {one["dedup_key"] for one in watch.of("resolve")}
