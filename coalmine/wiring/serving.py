"""The serving side of a service: live ReadModel, /metrics, OTLP, the HTTP API in its thread."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coalmine.config.parsed import Config
from coalmine.wiring.selfwatch import SelfWatch
from core.clock import Clock, instant
from core.result import RunEnvelope
from paging.controller import PagingController
from scheduler.api.app import ApiParts, make_app
from scheduler.api.server import ApiServer
from scheduler.engine.engine import Engine
from scheduler.export.points import Internals
from scheduler.export.prometheus import exposition
from scheduler.latest import LatestTable
from scheduler.life import life_of
from scheduler.live import LiveParts, LiveReadModel, PagingPicture, Picture, PlanItem
from scheduler.readmodel import ActionRequest, VitalLine
from scheduler.store import Stores
from scheduler.told import LOG_ROWS, action_of, incident_rows, log_rows

if TYPE_CHECKING:
    from scheduler.export.otlp import OtlpExport, OtlpSettings

OK_SPAN_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Served:
    """What is shown; the callables are asked from the serving thread."""

    stores: Stores
    paging: PagingController
    engine: Engine
    selfwatch: SelfWatch
    latest: LatestTable
    picture: Callable[[], Picture]
    plan: Callable[[], Sequence[PlanItem]]
    generation: Callable[[], int]


class Serving:
    """Binds its port when made, so that a taken one is known before anything runs."""

    def __init__(self, config: Config, clock: Clock, rng: random.Random, served: Served) -> None:
        """Raises CoalmineError when the port is taken."""
        top = config.top
        self._clock, self._served, self._namespace = clock, served, top.namespace
        self.model = LiveReadModel(self._live_parts())
        host, _, port = top.api.listen.rpartition(":")
        metrics = exposition(self.model, self.internals) if top.export.prometheus else None
        parts = ApiParts(
            self.model, metrics, served.selfwatch.ready,
            self._canary, top.api.token,
        )  # fmt: skip
        self._server = ApiServer(make_app(parts), host.strip("[]"), int(port))
        self.url = f"http://{host}:{self._server.port}"
        self._otlp: OtlpExport | None = None
        self._settings = _otlp_settings(config)
        self._rng = rng

    def start(self) -> None:
        """Serve and export."""
        self._server.start()
        if self._settings is not None:
            from scheduler.export.otlp import OtlpExport

            self._otlp = OtlpExport(
                self._settings, self.model, self.internals, self._clock, self._rng,
                self._namespace,
            )  # fmt: skip

    def publish(self, envelope: RunEnvelope) -> None:
        """Hand a result to OTLP, if there is any."""
        if self._otlp is not None:
            self._otlp.publish(envelope)

    def export_vital(self) -> VitalLine | None:
        """How exporting does; None without OTLP."""
        return self._otlp.vital() if self._otlp is not None else None

    def stop(self) -> None:
        """Stop serving, then flush what is to be exported."""
        self._server.stop(5)
        if self._otlp is not None:
            self._otlp.stop(5)

    def internals(self) -> Internals:
        """Coalmine's own counters."""
        served = self._served
        paging, engine = served.paging.snapshot(), served.engine.vitals()
        dwell = paging.dwell_recent_s[-1] if paging.dwell_recent_s else None
        return Internals(
            reload_ok=not served.selfwatch.config_problems,
            results_dropped=paging.results_dropped,
            samples_shed=served.stores.samples.dropped_total,
            leaked_tasks=engine.leaked_total,
            pages_unaccepted=paging.pages_unaccepted,
            outbox_oldest_age_s=paging.outbox_oldest_s,
            page_dwell_s=dwell,
            attempts={(who, answer.value): n for (who, answer), n in paging.answers.items()},
            loop_lag_s={"probing": engine.lag_s},
        )

    def _live_parts(self) -> LiveParts:
        served = self._served
        return LiveParts(
            namespace=self._namespace,
            clock=self._clock,
            generation=served.generation,
            plan=served.plan,
            latest=served.latest,
            account=served.engine.account,
            picture=served.picture,
            paging=self._paging,
            vitals=served.selfwatch.vitals,
            append=self._append,
            done=served.stores.state.folded,
        )

    def _paging(self) -> PagingPicture:
        snapshot = self._served.paging.snapshot()
        state = self._served.stores.state
        told = state.deliveries(LOG_ROWS)
        incidents = incident_rows(
            snapshot.incidents, told, self._served.latest.get, self._namespace, self._clock
        )
        actions = state.recent_actions(LOG_ROWS)
        folded = state.folded([one.action_id for one in actions])
        return PagingPicture(incidents, log_rows(told, actions, folded))

    def _append(self, request: ActionRequest) -> None:
        self._served.stores.state.append_action(action_of(request, instant(self._clock)))

    async def _canary(self, canary_id: str) -> dict[str, object] | None:
        return await life_of(self._served.stores.ledger, canary_id)


def _otlp_settings(config: Config) -> "OtlpSettings | None":
    otlp = config.top.export.otlp
    if otlp is None:
        return None
    # The SDK is loaded by those who export.
    from scheduler.export.otlp import OtlpSettings

    return OtlpSettings(otlp.url, dict(otlp.headers), otlp.every, OK_SPAN_SHARE)
