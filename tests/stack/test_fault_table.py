"""What each fault must look like, one at a time, against real servers and a real service.

Rule: docs/design.md, "What a fault looks like". `gw-*` pass the Collector, `direct-*` go straight
to the store.
"""

import contextlib
from collections.abc import Iterator

import pytest

from coalmine.demo.receiver import PageReceiver
from deploy.stack.launch import TENANT
from deploy.stack.watched import write
from tests.stack.rig import STORES, Rig, Shop, Watch, watched, with_processors, without_queue

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]

GW = [f"gw-{signal}" for signal in STORES]
DIRECT = [f"direct-{signal}" for signal in STORES]
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
    plan = rig.stack.plan
    rig.mend()
    yield rig
    rig.mend()
    if rig.stack.plan is not plan:
        rig.stack.reconfigure(plan)


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


def never_ok(watch, name, since):
    """From the moment the trouble showed, no board called the route ok."""
    watch.look_again()
    seen = watch.verdicts(name, since)
    assert seen, f"no board since\n{watch.told()}"
    assert "ok" not in seen, f"{name} was called ok during the fault: {seen}\n{watch.told()}"


def always_ok(watch, since, *names):
    for name in names:
        seen = set(watch.verdicts(name, since))
        assert seen == {"ok"}, f"{name}: {seen}\n{watch.told()}"


def nothing_more_ok(watch, name, before):
    """No canary was called ok but those that were under way when the fault began."""
    outcomes = watch.route(name)["outcomes"]
    under_way = before["outcomes"]["pending"] + 3  # sent between the last board and the fault
    assert outcomes["ok"] <= before["outcomes"]["ok"] + under_way, watch.told()


def subjects(page):
    return {page["subject"], *(member["subject"] for member in page["members"])}


def one_page(watch, hop, *named):
    """Exactly one trigger, about `hop`, that names one of `named`; its data."""
    told = watch.of("trigger")
    assert len(told) == 1, f"{len(told)} triggers\n{watch.told()}"
    assert told[0]["hop"] == hop, watch.told()
    assert subjects(told[0]) & set(named), watch.told()
    return told[0]


def resolves(watch, page, count=1):
    """Everything is ok again, and each page that went out is resolved."""
    watch.until_all_ok()
    over = watch.until_page("resolve", count)
    assert page["dedup_key"] in {one["dedup_key"] for one in over}, watch.told()
    watch.until("no incident is open", lambda: not watch.board["incidents"])
    triggers, resolved = (
        {one["dedup_key"] for one in watch.of(kind)} for kind in ("trigger", "resolve")
    )
    assert triggers == resolved, watch.told()


def test_fault_001_a_stopped_store(mended, pager, tmp_path):
    """gw is blind and direct is refused; the page names the store and lists both routes."""
    with service(mended, pager, tmp_path) as watch:
        before = watch.route("direct-logs"), watch.route("gw-logs")
        mended.stop_store("loki")
        watch.until_verdict("direct-logs", "fail", "inject")
        since = watch.now()
        watch.until_hop("direct-logs", "loki")
        watch.until_verdict("gw-logs", "blind", "readback")
        blind = watch.now()
        watch.until_hop("gw-logs", "loki")
        watch.until_page("trigger")
        watch.until(
            "both routes are in one incident",
            lambda: any(
                {row["subject"], *row["members"]} >= {"direct-logs", "gw-logs"}
                for row in watch.board["incidents"]
            ),
        )
        page = one_page(watch, "loki", "direct-logs")
        never_ok(watch, "direct-logs", since)
        never_ok(watch, "gw-logs", blind)
        nothing_more_ok(watch, "direct-logs", before[0])
        nothing_more_ok(watch, "gw-logs", before[1])
        assert watch.route("gw-logs")["outcomes"]["lost"] == 0
        assert watch.route("direct-logs")["outcomes"]["lost"] == 0
        always_ok(watch, since, "gw-metrics", "direct-metrics", "gw-traces", "direct-traces")
        mended.start_store("loki")
        resolves(watch, page)
        assert watch.route("gw-logs")["outcomes"]["lost"] == 0, watch.told()


@pytest.mark.parametrize("signal", list(STORES))
def test_fault_002_only_the_read_side_is_down(mended, pager, tmp_path, signal):
    """Both routes are blind, nothing is called lost, and the page is "cannot see"."""
    store, gw, direct = STORES[signal], f"gw-{signal}", f"direct-{signal}"
    with service(mended, pager, tmp_path) as watch:
        mended.straight[store].refuse_reads = 503
        watch.until_verdict(gw, "blind", "readback")
        watch.until_verdict(direct, "blind", "readback")
        since = watch.now()
        for name in (gw, direct):
            assert "read side" in watch.until_hop(name, store)["finding"], watch.told()
        assert not watch.of("trigger"), watch.told()
        watch.until_page("trigger")
        page = one_page(watch, store, gw, direct)
        assert page["rule"] == "blind"
        assert page["title"].startswith("watcher blind")
        for name in (gw, direct):
            never_ok(watch, name, since)
            assert watch.route(name)["outcomes"]["lost"] == 0, watch.told()
        mended.mend()
        resolves(watch, page)
        one_page(watch, store, gw, direct)
        for name in (gw, direct):
            outcomes = watch.route(name)["outcomes"]
            assert outcomes["lost"] == outcomes["rejected"] == 0, watch.told()


@pytest.mark.parametrize("signal", list(STORES))
def test_fault_003_only_the_write_side_is_down(mended, pager, tmp_path, signal):
    """gw loses at its deadline and is late once it is mended; direct is refused at once."""
    store, gw, direct = STORES[signal], f"gw-{signal}", f"direct-{signal}"
    with service(mended, pager, tmp_path) as watch:
        before = watch.route(direct), watch.route(gw)
        mended.straight[store].refuse_writes = mended.through[store].refuse_writes = 503
        watch.until_verdict(direct, "fail", "inject")
        watch.until_verdict(gw, "fail", "silent_loss")
        since = watch.now()
        for name in (direct, gw):
            assert "ingest" in watch.until_hop(name, store)["finding"], watch.told()
        watch.until_page("trigger")
        page = one_page(watch, store, gw, direct)
        for name, was in ((direct, before[0]), (gw, before[1])):
            never_ok(watch, name, since)
            nothing_more_ok(watch, name, was)
        mended.mend()
        watch.until("what the queue held came late", lambda: watch.route(gw)["outcomes"]["late"])
        resolves(watch, page)
        watch.until("nothing is lost", lambda: not watch.route(gw)["outcomes"]["lost"])


def test_fault_004_a_stopped_collector(mended, pager, tmp_path):
    """All gw routes are refused, all direct ones are ok; one page for all signals."""
    with service(mended, pager, tmp_path) as watch:
        since = watch.now()
        before = {name: watch.route(name) for name in GW}
        mended.stack.stop("otelcol")
        for name in GW:
            watch.until_verdict(name, "fail", "inject")
        failed = watch.now()
        for name in GW:
            assert "refuses" in watch.until_hop(name, "gateway")["finding"], watch.told()
        watch.until_page("trigger")
        watch.until(
            "one incident carries all signals",
            lambda: any({r["subject"], *r["members"]} >= set(GW) for r in watch.board["incidents"]),
        )
        page = one_page(watch, "gateway", *GW)
        for name in GW:
            never_ok(watch, name, failed)
            nothing_more_ok(watch, name, before[name])
        always_ok(watch, since, *DIRECT)
        mended.stack.start("otelcol")
        resolves(watch, page)
        always_ok(watch, since, *DIRECT)


def test_fault_005_a_frozen_collector(mended, pager, tmp_path):
    """Canaries are taken and never answered for: maybe sent, and a failure of the gateway."""
    with service(mended, pager, tmp_path) as watch:
        since = watch.now()
        mended.stack.freeze("otelcol")
        try:
            for name in GW:
                watch.until_verdict(name, "fail", "inject")
            failed = watch.now()
            for name in GW:
                found = watch.until_hop(name, "gateway")
                assert "never answers" in found["finding"], watch.told()
                assert found["outcomes"]["unknown"] > 0, watch.told()
                assert found["outcomes"]["rejected"] == 0, watch.told()
                # One that the Collector had already answered for may be inside it, and lost.
                assert found["outcomes"]["lost"] <= 1, watch.told()
            watch.until_page("trigger")
            page = one_page(watch, "gateway", *GW)
            for name in GW:
                never_ok(watch, name, failed)
            always_ok(watch, since, *DIRECT)
        finally:
            mended.stack.thaw("otelcol")
        resolves(watch, page)


def test_fault_006_a_filter_that_is_not_declared(mended, pager, tmp_path):
    """The drop is proven by the processor's own counter, named with it, and paged."""
    # The Collector's restart belongs to nobody's fault: the service is down meanwhile.
    with service(mended, pager, tmp_path):
        pass
    filters = {"filter__noise": {"error_mode": "ignore", "logs": {"log_record": ["true"]}}}
    mended.stack.reconfigure(with_processors(mended.stack.plan, "logs", **filters))

    def patient(document):
        # Nothing was verified while the service was down: blind at first, and rightly so.
        document["paging"]["blind_after"] = "60s"

    with service(mended, pager, tmp_path, patient, ok=False) as watch:
        watch.until_verdict("gw-logs", "fail", "policy")
        since = watch.now()
        row = watch.until_hop("gw-logs", "gateway")
        assert "on purpose" in row["finding"], watch.told()
        assert "filter/noise" in " ".join(row["evidence"]), watch.told()
        assert "expect_drop" in row["detail"], watch.told()
        watch.until_page("trigger")
        page = one_page(watch, "gateway", "gw-logs")
        assert subjects(page) == {"gw-logs"}
        never_ok(watch, "gw-logs", since)
        outcomes = watch.route("gw-logs")["outcomes"]
        assert outcomes["lost"] == 0, watch.told()
        always_ok(watch, since, "direct-logs", "direct-metrics", "direct-traces", "gw-traces")


def test_fault_007_a_declared_sampler_that_works(mended, pager, tmp_path):
    """Nine of ten are dropped as declared: ok, and nobody is told."""
    sampler = {"probabilistic_sampler": {"sampling_percentage": 10}}
    mended.stack.reconfigure(with_processors(mended.stack.plan, "traces", **sampler))

    def declare(document):
        route_of(document, "gw-traces")["expect_drop"] = {"ratio": 0.9}

    with service(mended, pager, tmp_path, declare, ok=False) as watch:
        watch.until_verdict("direct-traces", "ok")
        watch.until("one passed", lambda: watch.route("gw-traces")["outcomes"]["ok"], 90)
        watch.until_all_ok()
        since = watch.now()
        dropped = watch.route("gw-traces")["outcomes"]["policy_drop"]
        watch.until(
            "twenty more dropped",
            lambda: watch.route("gw-traces")["outcomes"]["policy_drop"] >= dropped + 20,
        )
        always_ok(watch, since, *GW, *DIRECT)
        outcomes = watch.route("gw-traces")["outcomes"]
        assert sum(outcomes[name] for name in ("lost", "rejected", "unknown")) == 0, watch.told()
        assert not [page for page in watch.of("trigger") if page["rule"] != "blind"]


def test_fault_015_a_real_loss_beside_a_declared_sampler(mended, pager, tmp_path):
    """What is missing beyond the sampler's band is lost, and the gateway is named."""
    sampler = {"probabilistic_sampler": {"sampling_percentage": 80}}
    mended.stack.reconfigure(with_processors(mended.stack.plan, "traces", **sampler))

    def declare(document):
        route_of(document, "gw-traces")["expect_drop"] = {"ratio": 0.2}

    with service(mended, pager, tmp_path, declare) as watch:
        since = watch.now()
        before = watch.route("gw-traces")
        mended.through["jaeger"].swallow = True
        watch.until_verdict("gw-traces", "fail", "silent_loss")
        failed = watch.now()
        watch.until_page("trigger")
        page = one_page(watch, "gateway", "gw-traces")
        never_ok(watch, "gw-traces", failed)
        nothing_more_ok(watch, "gw-traces", before)
        always_ok(watch, since, *DIRECT, "gw-logs", "gw-metrics")
        mended.mend()
        watch.until_page("resolve")
        assert page["dedup_key"] in {one["dedup_key"] for one in watch.of("resolve")}


def test_fault_008_the_exporter_points_nowhere(mended, pager, tmp_path):
    """Taken with 200, held in the queue, lost at the deadline, late when it is delivered."""
    with service(mended, pager, tmp_path) as watch:
        since = watch.now()
        before = watch.route("gw-metrics")
        mended.through["prometheus"].close()
        watch.until_verdict("gw-metrics", "fail", "silent_loss")
        failed = watch.now()
        row = watch.until_hop("gw-metrics", "gateway")
        assert "held" in row["finding"], watch.told()
        assert "queue" in " ".join(row["evidence"]), watch.told()
        watch.until_page("trigger")
        page = one_page(watch, "gateway", "gw-metrics")
        watch.until(
            "the time to loss is told",
            lambda: "time to loss" in " ".join(watch.route("gw-metrics")["evidence"]),
        )
        never_ok(watch, "gw-metrics", failed)
        nothing_more_ok(watch, "gw-metrics", before)
        always_ok(watch, since, *DIRECT, "gw-logs", "gw-traces")
        mended.mend()
        watch.until(
            "what was held came late", lambda: watch.route("gw-metrics")["outcomes"]["late"]
        )
        resolves(watch, page)
        watch.until("nothing is lost", lambda: not watch.route("gw-metrics")["outcomes"]["lost"])


def test_fault_009_a_batch_before_a_dead_exporter_without_a_queue(mended, pager, tmp_path):
    """The gateway answers 200 and drops: lost for good, and the gateway is named."""
    plan = mended.stack.plan
    mended.stack.reconfigure(without_queue(plan))
    with service(mended, pager, tmp_path) as watch:
        since = watch.now()
        before = watch.route("gw-traces")
        mended.through["jaeger"].close()
        watch.until_verdict("gw-traces", "fail", "silent_loss")
        failed = watch.now()
        watch.until_hop("gw-traces", "gateway")
        watch.until_page("trigger")
        page = one_page(watch, "gateway", "gw-traces")
        never_ok(watch, "gw-traces", failed)
        nothing_more_ok(watch, "gw-traces", before)
        always_ok(watch, since, *DIRECT, "gw-logs", "gw-metrics")
        mended.mend()
        watch.until_verdict("gw-traces", "degraded", "silent_loss")
        watch.until_page("resolve")
        assert page["dedup_key"] in {one["dedup_key"] for one in watch.of("resolve")}
        assert watch.route("gw-traces")["outcomes"]["lost"] > 0


def test_fault_010_a_wrong_token_on_read(mended, pager, tmp_path):
    """blind(auth) on both routes, and the page names the access to the store."""
    with service(mended, pager, tmp_path) as watch:
        mended.straight["loki"].token = "another"
        for name in ("gw-logs", "direct-logs"):
            watch.until_verdict(name, "blind", "auth")
        since = watch.now()
        for name in ("gw-logs", "direct-logs"):
            assert "access" in watch.until_hop(name, "loki")["finding"], watch.told()
        watch.until_page("trigger")
        page = one_page(watch, "loki", "gw-logs", "direct-logs")
        assert page["rule"] == "blind"
        for name in ("gw-logs", "direct-logs"):
            never_ok(watch, name, since)
            assert watch.route(name)["outcomes"]["lost"] == 0, watch.told()
        mended.mend()
        resolves(watch, page)
        one_page(watch, "loki", "gw-logs", "direct-logs")


def test_fault_011_a_wrong_tenant_on_read(mended, pager, tmp_path):
    """Never one seen: blind(starting) with the hint, never a loss; a mended config is reloaded."""
    written = []

    def elsewhere(document):
        written.append(document)
        document["backends"]["loki"]["tenant"] = "team-b"
        route_of(document, "direct-logs")["inject"]["tenant"] = TENANT

    with service(mended, pager, tmp_path, elsewhere, ok=False) as watch:
        for name in ("gw-logs", "direct-logs"):
            watch.until(
                f"{name} has judged",
                lambda name=name: sum(watch.route(name)["outcomes"][one] for one in UNSEEN) > 3,
            )
            row = watch.until_verdict(name, "blind", "starting")
            assert "tenant" in row["detail"], watch.told()
            assert "access" in watch.until_hop(name, "loki")["finding"], watch.told()
        watch.until_page("trigger")
        page = one_page(watch, "loki", "gw-logs", "direct-logs")
        assert page["rule"] == "blind"
        for name in ("gw-logs", "direct-logs"):
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
                "routes": ["gw-logs", "direct-logs"],
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
        always_ok(watch, since, *GW, *DIRECT)
        shop.speak()
        watch.until("the shop is heard again", lambda: source(watch) == "ok")
        resolves(watch, page)


def test_fault_013_everything_is_restarted(mended, pager, tmp_path):
    """Pages are grouped by hop and resolve by themselves."""
    with service(mended, pager, tmp_path) as watch:
        mended.stack.stop("otelcol")
        for store in STORES.values():
            mended.stop_store(store)
        for name in (*GW, *DIRECT):
            watch.until_verdict(name, "fail", "inject")
        failed = watch.now()
        watch.until_page("trigger", 4)
        for name in (*GW, *DIRECT):
            never_ok(watch, name, failed)
        told = watch.of("trigger")
        assert {page["hop"] for page in told} == {"gateway", *STORES.values()}
        assert len(told) == 4, watch.told()
        for store in STORES.values():
            mended.start_store(store)
        mended.stack.start("otelcol")
        watch.until_page("resolve", 4)
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
            watch.until_verdict("gw-logs", "blind", "readback")
            blind = watch.now()
            for name in ("direct-logs", "gw-logs"):
                watch.until_hop(name, "loki")
            watch.until_page("trigger")
            page = one_page(watch, "loki", "direct-logs", "gw-logs")
            never_ok(watch, "direct-logs", since)
            never_ok(watch, "gw-logs", blind)
            nothing_more_ok(watch, "direct-logs", before[0])
            nothing_more_ok(watch, "gw-logs", before[1])
            for name in ("direct-logs", "gw-logs"):
                assert watch.route(name)["outcomes"]["lost"] == 0, watch.told()
            always_ok(watch, since, "gw-metrics", "direct-metrics", "gw-traces", "direct-traces")
        finally:
            mended.stack.thaw("loki")
        watch.until_page("resolve")
        watch.until("no failure is open", lambda: not watch.board["incidents"])
        assert page["dedup_key"] in {one["dedup_key"] for one in watch.of("resolve")}
