"""thanos: metrics behind Thanos Query, written to Thanos Receive.

Read from thanos.io/tip ("Querier", "Receiver", "Query Frontend"), 2026-11, and from the source of
0.42. Query answers for many stores: unless it is told otherwise it leaves out those that do not
answer and says so in a warning. A partial answer is never a complete read here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar, cast

from pydantic import Field

from core.options import Options
from selfcheck.backends.http import Query, ReadSession
from selfcheck.backends.http_store import HttpStoreOptions
from selfcheck.backends.promql import AGGREGATE, BY_ID, CACHED, METRICS, SEARCH, PromqlStore
from selfcheck.backends.promql_answer import MS, SPAN_S, Sample, Window
from selfcheck.backends.protocol import AccessPath, Declaration, Dedupe, WriteRule
from selfcheck.canary.model import Signal

_DEDUPES = "same series, time and value become one sample; another value is refused with 409"


class ThanosOptions(HttpStoreOptions):
    """What may be written under a backend of kind `thanos`."""

    tenant_header: ClassVar[str] = "THANOS-TENANT"

    write_url: Annotated[
        str,
        Field(
            pattern=r"^(https?://.+)?$",
            description="Base URL of Thanos Receive; empty: not written to.",
        ),
    ] = ""
    dedup: Annotated[
        bool, Field(description="Whether Query merges replicas, as users see them; else we do.")
    ] = True
    store_match: Annotated[
        tuple[str, ...],
        Field(description="Selectors of the stores to ask (`storeMatch[]`); none asks them all."),
    ] = ()


@dataclass(frozen=True, slots=True)
class ThanosBackend(PromqlStore):
    """Reads canaries, exemplars and the newest samples of sources from Thanos."""

    options_model: ClassVar[type[Options]] = ThanosOptions
    # Receive keeps 15 d by itself (`--tsdb.retention`); what is older comes from the bucket.
    declaration: ClassVar[Declaration] = Declaration(
        signals=METRICS,
        paths=(BY_ID, SEARCH, AGGREGATE, CACHED),
        precision_ns=MS,
        dedupe=Dedupe.COLLAPSES,
        dedupe_note=_DEDUPES,
        row_limit=SPAN_S,
        absent='200 with "result": []; a wrong tenant too, where Query enforces tenancy',
        source="thanos.io/tip Querier and Receiver, 2026-11",
        proved=("Thanos 0.42",),
        fake=True,
        hot_window_s=15 * 86400.0,
    )

    options: ThanosOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """Receive answers 200 and no body; its OTLP path lacks the usual `/v1/metrics`."""
        chosen = cast("ThanosOptions", options)
        if not chosen.write_url:
            return {}
        taken, tenant = frozenset({int(HTTPStatus.OK)}), chosen.tenant_headers()
        otlp, remote = {Signal.METRICS: "/api/v1/otlp"}, {Signal.METRICS: "/api/v1/receive"}
        return {
            "otlp_http": WriteRule(chosen.write_url, otlp, taken, True, tenant),
            "remote_write": WriteRule(chosen.write_url, remote, taken, True, tenant),
        }

    def parameters(self, *, cached: bool) -> Query:
        """Every store or none, and samples as they were written, not downsampled."""
        del cached
        wanted = {"storeMatch[]": self.options.store_match} if self.options.store_match else {}
        return {
            "partial_response": "false",
            "dedup": "true" if self.options.dedup else "false",
            "max_source_resolution": "0s",
            **wanted,
        }

    async def samples(
        self, session: ReadSession, path: AccessPath, window: Window
    ) -> Sequence[Sample]:
        """Those of all replicas: one sample in several of them is no double."""
        found = await PromqlStore.samples(self, session, path, window)
        return found if self.options.dedup else _merged(found)


def _merged(samples: Sequence[Sample]) -> list[Sample]:
    return list({(one.stamp_ns, one.value): one for one in samples}.values())
