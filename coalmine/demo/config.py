"""The demo's config: an ordinary file, whose `judging:` block alone makes it quick."""

from dataclasses import dataclass
from pathlib import Path

JUDGING = """\
judging:
  min_interval: 1s
  injection_deadline: 2s
  first_read_after: 200ms
  poll_first: 300ms
  poll_max: 1s
  poll_late_max: 2s
  reads_per_minute: 240
  read_timeout: 2s
  deadline_floor: 2s
  deadline_margin: 1s
  deadline_cold: 3s
  confirm_after: 500ms
  hour_losses: 1000
"""

_TEMPLATE = """\
coalmine: 1
namespace: demo
data_dir: {data}
api: {{listen: "127.0.0.1:{api_port}", token_file: {token}}}

{judging}
backends:
  store: {{kind: embedded, url: "{store}"}}
hops:
  gateway: {{kind: otelcol, metrics: "{gateway}/metrics"}}

routes:
{routes}
checks:
  - {{name: shop-front, title: The shop's front page, probe: http, url: "{shop}/", every: 2s,
     timeout: 1s, expect: {{status: 200, body_contains: Welcome to the shop}}}}
{browser}
sources:
  - {{name: shop, title: Logs of the shop, backend: store, select: "logs:shop",
     quiet_after: 5s, routes: [logs-gateway, logs-direct]}}

cost:
  price_books: [builtin:google-cloud, builtin:self-hosted]

paging: {{group_wait: 1s}}
receivers:
  pager: {{kind: webhook, url: "{receiver}", secret_file: {secret}}}
pages:
  - {{to: pager, allow_single: true}}
"""

_ROUTE = """\
  - {{name: {signal}-{way}, signal: {signal}, every: 1s, hops: [{hops}], read: store,
     inject: {{kind: otlp_http, {target}}}}}
"""

_BROWSER = """\
  - {{name: order, title: A visitor orders a lamp, probe: browser, journey: {journey}, every: 30s,
     timeout: 20s}}
"""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the demo's parts listen, and the files it made."""

    gateway: str
    store: str
    shop: str
    receiver: str
    api_port: int
    folder: Path
    journey: Path | None


def render(at: Addresses) -> str:
    """The YAML of the demo's config."""
    routes = "".join(
        _ROUTE.format(signal=signal, way=way, hops=hops, target=target)
        for signal in ("logs", "metrics", "traces")
        for way, hops, target in (
            ("gateway", "gateway", f'url: "{at.gateway}"'),
            ("direct", "", "to: store"),
        )
    )
    return _TEMPLATE.format(
        data=at.folder / "data", api_port=at.api_port, token=at.folder / "token",
        judging=JUDGING, store=at.store, gateway=at.gateway, routes=routes, shop=at.shop,
        receiver=at.receiver, secret=at.folder / "webhook-secret",
        browser=_BROWSER.format(journey=at.journey) if at.journey else "",
    )  # fmt: skip
