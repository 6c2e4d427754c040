"""A ReadModel over the files of an instance that does not answer."""

from collections.abc import Callable
from functools import partial

from coalmine.config.parsed import Config, RouteConfig
from coalmine.wiring.paging import source_check
from coalmine.wiring.picture import source_row
from coalmine.wiring.plan import hop_names, plan_items
from core.clock import Clock
from core.verdict import freshness_limit_s
from scheduler.latest import Latest
from scheduler.offline import OfflineParts, OfflineReadModel, OfflineRoute
from scheduler.readmodel import SourceRow
from scheduler.store import is_served, open_reader


def file_read_model(config: Config, clock: Clock) -> OfflineReadModel:
    """What the stores of `config` hold. Raises StoreError when there is nothing to read."""

    def sources(latest: Callable[[str], Latest | None]) -> tuple[SourceRow, ...]:
        return tuple(source_row(s, latest(source_check(s.name)), clock) for s in config.sources)

    def limit_s(route: RouteConfig, deadline_s: float) -> float:
        return freshness_limit_s(route.every_s, deadline_s, route.judging.confirm_after)

    def served() -> bool | None:
        # A database's lock is not to be asked about without taking it.
        return None if config.database_url else is_served(config.data_dir)

    routes = [
        OfflineRoute(one.name, one.signal.value, one.title, hop_names(one), partial(limit_s, one))
        for one in config.routes
    ]
    stores = open_reader(config.database_url or config.data_dir, clock)
    return OfflineReadModel(
        OfflineParts(
            config.top.namespace, clock, stores, plan_items(config), routes, sources, served
        )
    )
