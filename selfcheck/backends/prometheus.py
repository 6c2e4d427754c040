"""prometheus: metrics, found by the sample's own timestamp in a constant series per route.

Read from the HTTP API of Prometheus (prometheus.io/docs, "HTTP API"), which versions 2 and 3 share.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, cast

from core.options import Options
from selfcheck.backends.http_store import HttpStoreOptions
from selfcheck.backends.promql import AGGREGATE, BY_ID, METRICS, SEARCH, PromqlStore
from selfcheck.backends.promql_answer import MS, SPAN_S
from selfcheck.backends.protocol import Declaration, Dedupe, WriteRule
from selfcheck.canary.model import Signal

OTLP_PATH = "/api/v1/otlp/v1/metrics"
_DEDUPES = "same series, time and value become one sample; another value is refused"


class PrometheusOptions(HttpStoreOptions):
    """What may be written under a backend of kind `prometheus`."""


@dataclass(frozen=True, slots=True)
class PrometheusBackend(PromqlStore):
    """Reads canaries, exemplars and the newest samples of sources from Prometheus."""

    options_model: ClassVar[type[Options]] = PrometheusOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=METRICS,
        paths=(BY_ID, SEARCH, AGGREGATE),
        precision_ns=MS,
        dedupe=Dedupe.COLLAPSES,
        dedupe_note=_DEDUPES,
        row_limit=SPAN_S,
        absent='200 with "result": []',
        source="prometheus.io/docs HTTP API, 2026-11",
        proved=("Prometheus 3.14", "Prometheus 2.42"),
        impossible={
            "cached and uncached": "it has no cache of results: only a proxy before it can have",
        },
    )

    options: PrometheusOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """OTLP (version 3) and remote write, each behind a flag of its own; no body is an answer.

        Remote write says 204, from 3 on 200 where it tells how much it has written.
        """
        chosen = cast("PrometheusOptions", options)
        ok, none = int(HTTPStatus.OK), int(HTTPStatus.NO_CONTENT)
        otlp, remote = {Signal.METRICS: OTLP_PATH}, {Signal.METRICS: "/api/v1/write"}
        return {
            "otlp_http": WriteRule(
                chosen.url, otlp, frozenset({ok}), True, chosen.tenant_headers()
            ),
            "remote_write": WriteRule(
                chosen.url, remote, frozenset({ok, none}), True, chosen.tenant_headers()
            ),
        }
