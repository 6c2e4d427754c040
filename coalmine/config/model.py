"""What may be written in a config outside the options of a kind.

Rule: docs/design.md, "What a user touches". Entries that name a kind hold the
kind's own options beside the keys given here; `inject:` and `judging:` are `Any` here because
they are judged apart, by the models they name.
"""

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from core.options import Duration, Options, SecretField, Size
from paging.model import Severity
from selfcheck.canary.model import Signal
from selfcheck.canary.policy import ExpectDrop

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

    url: SecretField = Field(description="postgresql://…; holds the password, so a secret.")


class ApiOptions(Options):
    """`api:` the HTTP API and /metrics; writing needs the token, on loopback too."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        "127.0.0.1:9470", description="host:port of the API and /metrics."
    )
    token: SecretField | None = Field(
        None, description="Bearer token; without it nothing can be written."
    )


class OtlpExport(Options):
    """`export: {otlp: …}` our own telemetry by OTLP over HTTP."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$")] = Field(
        description="Base URL of an OTLP/HTTP receiver."
    )
    headers: dict[str, str] = Field(default_factory=dict, description="Further headers.")
    every: Duration = Field(30.0, description="Interval of the metrics.")


class ExportOptions(Options):
    """`export:` how Coalmine's own figures leave it."""

    prometheus: bool = Field(True, description="Serve /metrics.")
    otlp: OtlpExport | None = Field(None, description="Send metrics, logs and spans of our own.")


class EgressOptions(Options):
    """`egress:` address ranges and hosts that are reachable besides what is written as a URL."""

    allow: tuple[Annotated[str, AfterValidator(_allowed)], ...] = Field(
        (), description="Address ranges and hosts that names and redirects may lead to."
    )


class BrowserOptions(Options):
    """`browser:` the browser of the browser checks."""

    executable: str = Field("", description="Chromium, when not on PATH.")
    sandbox: Literal["auto", "required", "off"] = Field(
        "auto", description="Chromium's own sandbox; auto: on, except for root."
    )
    parallel: Annotated[int, Field(ge=1, le=16)] = Field(1, description="Browsers at one time.")


class CostOptions(Options):
    """`cost:` what telemetry costs."""

    price_books: tuple[str, ...] = Field(
        (), description="Files beside the config, or `builtin:NAME`."
    )


class PagingOptions(Options):
    """`paging:` times of the way from a verdict to a page."""

    group_wait: Duration = Field(10.0, description="How long a first page waits for its group.")
    fallback_after: Duration = Field(120.0, description="When the second receiver is tried.")
    blind_after: Duration = Field(
        300.0, description="How long a check may be blind before that pages."
    )
    repeat: Duration = Field(4 * 3600.0, description="Reminder while nobody has acknowledged.")


class OutboundHeartbeat(Options):
    """One outside watcher that is pinged; its URL is a secret, as whoever has it can ping too."""

    url: SecretField = Field(description="Address of the outside watcher.")
    every: Duration = Field(60.0, description="Interval of the ping.")


class HeartbeatOptions(Options):
    """`heartbeats:` dead-man's switches."""

    outbound: tuple[OutboundHeartbeat, ...] = Field(
        (), description="Outside watchers that we ping."
    )


class PageMatch(Options):
    """Which incidents a page rule takes."""

    severity: Severity | None = Field(None, description="Only incidents of this severity.")
    subject: str | None = Field(
        None, description="Name of a check, route or source, or a pattern with `*`."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> "PageMatch":
        if self.severity is None and self.subject is None:
            raise ValueError("an empty match takes everything: leave match: out")
        return self


class PageRule(Options):
    """One entry of `pages:`; the first that matches an incident tells its receivers."""

    match: PageMatch | None = Field(
        None, description="Which incidents; the last entry has none and takes the rest."
    )
    to: Slug = Field(description="Receiver that is told.")
    fallback: Slug | None = Field(
        None, description="Receiver that is told when the first does not accept."
    )
    allow_single: bool = Field(False, description="Critical pages may go to one provider only.")


class SourceOptions(Options):
    """One entry of `sources:` real telemetry that is expected."""

    name: Slug = Field(description="Its name everywhere.")
    title: str = Field("", description="Free text for people.")
    backend: Slug = Field(description="Backend that holds its telemetry.")
    select: Annotated[str, Field(min_length=1)] = Field(description="The backend's own query.")
    quiet_after: Duration = Field(description="Age of the newest record from which it is quiet.")
    severity: Severity = Field(Severity.CRITICAL, description="Severity of a quiet source.")
    routes: tuple[Slug, ...] = Field(
        (), description="Routes whose canaries tell a quiet source from a broken path."
    )


class LedgerOptions(Options):
    """`ledger:` how much of the canaries is kept; what is older is folded into daily totals."""

    keep: Duration = Field(14 * 86400.0, description="Age at which judged canaries are folded.")
    max_size: Size = Field(200_000_000, description="Bound of the ledger's file.")


class JoinOptions(Options):
    """One entry of `joins:` a link that people follow, from a record to its trace."""

    name: Slug = Field(description="Its name everywhere.")
    title: str = Field("", description="Free text for people.")
    source: Slug = Field(alias="from", description="Route of logs or metrics the link starts at.")
    target: Slug = Field(alias="to", description="Route of traces it leads to.")
    every: Duration = Field(60.0, description="How often the link is followed.")
    severity: Severity = Field(Severity.WARNING, description="Severity of a broken link.")


class CheckHead(Options):
    """What every entry of `checks:` may hold beside the options of its probe."""

    name: Slug = Field(description="Its name everywhere.")
    probe: str = Field(description="Kind of the probe.")
    title: str = Field("", description="Free text for people.")
    severity: Severity = Field(
        Severity.CRITICAL, description="Severity of its `fail`; the other verdicts are warnings."
    )
    every: Duration | None = Field(None, description="Interval; either this or `cron`.")
    cron: str = Field("", description="Five fields of wall time, in place of `every`.")
    zone: str = Field("UTC", description="Time zone of `cron`.")
    timeout: Duration | None = Field(
        None,
        description="The probe's own total deadline; default 10s (browser 30s) or 0.8 × `every`.",
    )

    @model_validator(mode="after")
    def _one_schedule(self) -> "CheckHead":
        if (self.every is None) == (not self.cron):
            raise ValueError("expected either every: or cron:")
        return self


class ExpectDropOptions(Options):
    """`expect_drop:` loss that is meant: the share that is dropped, or the reason of a filter.

    A sampler that keeps 10 % is `ratio: 0.9`.
    """

    ratio: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Share of the canaries that is dropped: 0.9 for a sampler that keeps 10 %;"
        " at most 0.99.",
    )
    reason: str = Field(
        "",
        description="Why a filter drops them, where the share is not known. Its counters must then"
        " prove it, and do not say whose telemetry they count: other loss passes for it.",
    )

    @model_validator(mode="after")
    def _declared(self) -> "ExpectDropOptions":
        self.declared()
        return self

    def declared(self) -> ExpectDrop:
        """The declaration as routes know it. Raises ValueError when it declares no one thing."""
        return ExpectDrop(self.ratio, self.reason)


class RouteHead(Options):
    """One entry of `routes:`; the options of the injector stand under `inject:`."""

    name: Slug = Field(description="Its name everywhere.")
    signal: Signal = Field(description="What it carries.")
    inject: dict[str, Any] = Field(description="Injector: `kind`, `to` and the kind's options.")
    read: Slug = Field(description="Backend that is read.")
    every: Duration = Field(10.0, description="Interval of its canaries.")
    title: str = Field("", description="Free text for people.")
    severity: Severity = Field(
        Severity.CRITICAL, description="Severity of its `fail`; the other verdicts are warnings."
    )
    hops: tuple[Slug, ...] = Field(
        (), description="Hops between injector and backend, in the order of the flow."
    )
    group: Slug = Field("default", description="Routes whose log, metric and trace share one id.")
    expect_drop: ExpectDropOptions | None = Field(None, description="Loss that is meant.")
    slow_after: Duration | None = Field(
        None, description="Delay above which a canary is slow; learned when it is not stated."
    )
    judging: dict[str, Any] = Field(
        default_factory=dict, description="Constants of this route, over those at the top."
    )


class KindHead(Options):
    """The key that names the kind of a backend, hop or receiver."""

    kind: str = Field(description="Kind of the entry.")


class BackendHead(KindHead):
    """The keys of a backend that are not its kind's."""

    retention: Duration | None = Field(
        None, description="How long it keeps records; rechecks end a day before."
    )


class InjectHead(Options):
    """The keys of `inject:` that are not the injector's: `to` names a backend to write to."""

    kind: str = Field(description="Kind of the injector.")
    to: Slug | None = Field(
        None,
        description="Backend that is written to directly; address, path and status are its own.",
    )


class Top(Options):
    """The keys at the top of the file that hold no kinds and no lists of checks."""

    coalmine: Literal[1] = Field(description="Version of the format.")
    namespace: Annotated[str, AfterValidator(_namespace)] = Field(
        description="Name of what is watched; part of every alert's identity."
    )
    instance: Annotated[str, AfterValidator(_instance)] = Field(
        "", description="8 hex digits; made once and kept when left out."
    )
    data_dir: Annotated[str, Field(min_length=1)] = Field(
        "coalmine-data", description="Folder of our own state, beside the file."
    )
    allow_empty: bool = Field(False, description="Accept a file that watches nothing.")
    database: DatabaseOptions | None = Field(
        None, description="PostgreSQL in place of SQLite files."
    )
    ledger: LedgerOptions = Field(LedgerOptions(), description="How much of canaries is kept.")
    api: ApiOptions = Field(ApiOptions(), description="The HTTP API.")
    export: ExportOptions = Field(ExportOptions(), description="How our own figures leave.")
    egress: EgressOptions = Field(
        EgressOptions(), description="What may be reached besides URLs written here."
    )
    browser: BrowserOptions = Field(
        BrowserOptions(), description="The browser of the browser checks."
    )
    cost: CostOptions = Field(CostOptions(), description="What telemetry costs.")
    paging: PagingOptions = Field(PagingOptions(), description="Times from a verdict to a page.")
    heartbeats: HeartbeatOptions = Field(HeartbeatOptions(), description="Dead-man's switches.")


KIND_MAPS = ("backends", "hops", "receivers")
ENTRY_LISTS = ("checks", "routes", "joins", "sources", "pages")
SECTIONS = (*KIND_MAPS, *ENTRY_LISTS, "judging")
