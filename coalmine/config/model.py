"""What may be written in a config outside the options of a kind.

Rule: docs/design.md, "What a user touches". Entries that name a kind hold the
kind's own options beside the keys given here; `inject:` and `judging:` are `Any` here because
they are judged apart, by the models they name.
"""

import ipaddress
import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from core.options import Duration, Options, SecretField
from paging.model import Severity
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import Signal

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")


def slug(text: str) -> str:
    """`text` when it is a name. Raises ValueError with the rule."""
    if not _SLUG.fullmatch(text):
        raise ValueError(
            "expected a name of at most 63 lower-case letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit; free text goes into title:"
        )
    return text


def _namespace(text: str) -> str:
    if "." in text:
        raise ValueError("a namespace holds no '.'")
    return slug(text)


def _instance(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{8}", text):
        raise ValueError("expected 8 hex digits, such as 1f0c93ab")
    return text


def _listen(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port):
        raise ValueError("expected host:port, such as 127.0.0.1:9470")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"port {port} is outside 1-65535")
    return text


def _allowed(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=True)
    except ValueError as exc:
        if "/" in text or not _HOST.fullmatch(text):
            raise ValueError(f"expected an address range or a host name: {exc}") from None
    return text


Slug = Annotated[
    str, AfterValidator(slug), Field(json_schema_extra={"pattern": f"^{_SLUG.pattern}$"})
]


class DatabaseOptions(Options):
    """`database:` where state is kept; without it three SQLite files in `data_dir`."""

    url: SecretField


class ApiOptions(Options):
    """`api:` the HTTP API and /metrics; writing needs the token, on loopback too."""

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:9470"
    token: SecretField | None = None


class OtlpExport(Options):
    """`export: {otlp: …}` our own telemetry by OTLP over HTTP."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    headers: dict[str, str] = Field(default_factory=dict)
    every: Duration = 30.0


class ExportOptions(Options):
    """`export:` how Coalmine's own figures leave it."""

    prometheus: bool = True
    otlp: OtlpExport | None = None


class EgressOptions(Options):
    """`egress:` address ranges and hosts that are reachable besides what is written as a URL."""

    allow: tuple[Annotated[str, AfterValidator(_allowed)], ...] = ()


class BrowserOptions(Options):
    """`browser:` the browser of the browser checks."""

    executable: str = ""
    sandbox: Literal["auto", "required", "off"] = "auto"
    parallel: Annotated[int, Field(ge=1, le=16)] = 1


class BudgetOptions(Options):
    """One monthly budget in `cost.currency`, for one signal or for all."""

    name: Slug
    monthly: Annotated[Decimal, Field(gt=0)]
    signal: Signal | None = None


class CostOptions(Options):
    """`cost:` what telemetry costs."""

    price_books: tuple[str, ...] = ()
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    budgets: tuple[BudgetOptions, ...] = ()


class PagingOptions(Options):
    """`paging:` times of the way from a verdict to a page.

    group_wait: how long a first page waits for its group. fallback_after: when the second receiver
    is tried. blind_after: how long a check may be blind before that pages. repeat: reminder while
    nobody has acknowledged.
    """

    group_wait: Duration = 10.0
    fallback_after: Duration = 120.0
    blind_after: Duration = 300.0
    repeat: Duration = 4 * 3600.0


class OutboundHeartbeat(Options):
    """One outside watcher that is pinged; its URL is a secret, as whoever has it can ping too."""

    url: SecretField
    every: Duration = 60.0


class HeartbeatOptions(Options):
    """`heartbeats:` dead-man's switches."""

    outbound: tuple[OutboundHeartbeat, ...] = ()


class PageMatch(Options):
    """Which incidents a page rule takes.

    subject: the name of a check, route or source, or a pattern with `*`.
    """

    severity: Severity | None = None
    subject: str | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> "PageMatch":
        if self.severity is None and self.subject is None:
            raise ValueError("an empty match takes everything: leave match: out")
        return self


class PageRule(Options):
    """One entry of `pages:`; the first that matches an incident tells its receivers."""

    match: PageMatch | None = None
    to: Slug
    fallback: Slug | None = None
    allow_single: bool = False


class SourceOptions(Options):
    """One entry of `sources:` real telemetry that is expected.

    select: the backend's own query. routes: routes whose canaries tell a quiet source from a
    broken path.
    """

    name: Slug
    title: str = ""
    backend: Slug
    select: Annotated[str, Field(min_length=1)]
    quiet_after: Duration
    severity: Severity = Severity.CRITICAL
    routes: tuple[Slug, ...] = ()


class CheckHead(Options):
    """What every entry of `checks:` may hold beside the options of its probe.

    severity: of its `fail`; the other verdicts are warnings. timeout: the probe's own total
    deadline. cron and zone stand in place of `every`.
    """

    name: Slug
    probe: str
    title: str = ""
    severity: Severity = Severity.CRITICAL
    every: Duration | None = None
    cron: str = ""
    zone: str = "UTC"
    timeout: Duration | None = None

    @model_validator(mode="after")
    def _one_schedule(self) -> "CheckHead":
        if (self.every is None) == (not self.cron):
            raise ValueError("expected either every: or cron:")
        return self


class ExpectDrop(Options):
    """`expect_drop:` loss that is meant: a sampler's kept share, or the reason of a filter."""

    ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    reason: str = ""

    @model_validator(mode="after")
    def _one_of(self) -> "ExpectDrop":
        if (self.ratio is None) == (not self.reason):
            raise ValueError("expected either ratio: or reason:")
        return self


class RouteHead(Options):
    """One entry of `routes:`; the options of the injector stand under `inject:`."""

    name: Slug
    signal: Signal
    inject: dict[str, Any]
    read: Slug
    every: Duration = 10.0
    title: str = ""
    severity: Severity = Severity.CRITICAL
    hops: tuple[Slug, ...] = ()
    group: Slug = "default"
    expect_drop: ExpectDrop | None = None
    judging: dict[str, Any] = Field(default_factory=dict)


class JudgingOptions(JudgingRules):
    """`judging:` at the top and per route: how canaries are judged, and how often they may go."""

    min_interval: Duration = Field(5.0, description="Shortest interval of a route.")
    max_interval: Duration = Field(3600.0, description="Longest interval of a route.")


class KindHead(Options):
    """The key that names the kind of a backend, hop or receiver."""

    kind: str


class InjectHead(Options):
    """The keys of `inject:` that are not the injector's: `to` names a backend to write to."""

    kind: str
    to: Slug | None = None


class Top(Options):
    """The keys at the top of the file that hold no kinds and no lists of checks."""

    coalmine: Literal[1]
    namespace: Annotated[str, AfterValidator(_namespace)]
    instance: Annotated[str, AfterValidator(_instance)] = ""
    data_dir: Annotated[str, Field(min_length=1)] = "coalmine-data"
    allow_empty: bool = False
    database: DatabaseOptions | None = None
    api: ApiOptions = ApiOptions()
    export: ExportOptions = ExportOptions()
    egress: EgressOptions = EgressOptions()
    browser: BrowserOptions = BrowserOptions()
    cost: CostOptions = CostOptions()
    paging: PagingOptions = PagingOptions()
    heartbeats: HeartbeatOptions = HeartbeatOptions()


KIND_MAPS = ("backends", "hops", "receivers")
ENTRY_LISTS = ("checks", "routes", "sources", "pages")
SECTIONS = (*KIND_MAPS, *ENTRY_LISTS, "judging")
