"""cortex, mimir: metrics of one tenant, by the HTTP API of Prometheus below a prefix.

Read from cortexmetrics.io/docs and grafana.com/docs/mimir, "HTTP API", 2026-11, and from the
source of Cortex 1.21.1. Frontends cut the time of an instant query to whole seconds, and keep the
results of range queries: a read that may be answered from those is a path of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import ClassVar, cast

from core.options import Options
from selfcheck.backends.http_store import HttpStoreOptions
from selfcheck.backends.promql import AGGREGATE, BY_ID, CACHED, METRICS, SEARCH, PromqlStore
from selfcheck.backends.promql_answer import MS, SPAN_S
from selfcheck.backends.protocol import Declaration, Dedupe, WriteRule
from selfcheck.canary.model import Signal

_DEDUPES = "same series, time and value become one sample; another value is refused"


class CortexOptions(HttpStoreOptions):
    """What may be written under a backend of kind `cortex` or `mimir`."""


@dataclass(frozen=True, slots=True)
class CortexBackend(PromqlStore):
    """Reads canaries, exemplars and the newest samples of sources of one tenant."""

    api: ClassVar[str] = "/prometheus/api/v1"
    otlp_path: ClassVar[str] = "/api/v1/otlp/v1/metrics"
    options_model: ClassVar[type[Options]] = CortexOptions
    # Ingesters keep blocks for 6 h (`blocks-storage.tsdb.retention-period`) and cut them every 2 h.
    declaration: ClassVar[Declaration] = Declaration(
        signals=METRICS,
        paths=(BY_ID, SEARCH, AGGREGATE, CACHED),
        precision_ns=MS,
        dedupe=Dedupe.COLLAPSES,
        dedupe_note=_DEDUPES,
        row_limit=SPAN_S,
        absent='200 with "result": []; a wrong tenant looks the same',
        source="cortexmetrics.io/docs HTTP API, 2026-11; Cortex 1.21.1",
        proved=("Cortex 1.21.1",),
        hot_window_s=8 * 3600.0,
    )

    options: CortexOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """Both answer 200 and no body (remote write 2.0: 204); the tenant is the one that is read.

        202 is no success here: it is said of samples that a tracker of replicas has dropped.
        """
        chosen = cast("CortexOptions", options)
        ok, none = int(HTTPStatus.OK), int(HTTPStatus.NO_CONTENT)
        otlp, remote = {Signal.METRICS: cls.otlp_path}, {Signal.METRICS: "/api/v1/push"}
        tenant = chosen.tenant_headers()
        return {
            "otlp_http": WriteRule(chosen.url, otlp, frozenset({ok}), True, tenant),
            "remote_write": WriteRule(chosen.url, remote, frozenset({ok, none}), True, tenant),
        }


@dataclass(frozen=True, slots=True)
class MimirBackend(CortexBackend):
    """The same API, another path for OTLP, and ingesters that are asked for longer."""

    otlp_path: ClassVar[str] = "/otlp/v1/metrics"
    # `querier.query-ingesters-within` is 13 h by default.
    declaration: ClassVar[Declaration] = replace(
        CortexBackend.declaration,
        source="grafana.com/docs/mimir HTTP API, 2026-11",
        proved=("Cortex 1.21.1, whose API it shares; no Mimir was run",),
        hot_window_s=13 * 3600.0,
    )
