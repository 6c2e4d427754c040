"""A ReadModel over the files of an instance that does not answer."""

from collections.abc import Callable

from coalmine.config.parsed import Config
from coalmine.wiring.paging import source_check
from coalmine.wiring.picture import source_row
from coalmine.wiring.plan import hop_names, plan_items
from core.clock import Clock
from scheduler.latest import Latest
from scheduler.offline import OfflineParts, OfflineReadModel, OfflineRoute
from scheduler.readmodel import SourceRow
from scheduler.store import open_reader


def file_read_model(config: Config, clock: Clock) -> OfflineReadModel:
    """What the stores of `config` hold. Raises StoreError when there is nothing to read."""

    def sources(latest: Callable[[str], Latest | None]) -> tuple[SourceRow, ...]:
        return tuple(source_row(s, latest(source_check(s.name)), clock) for s in config.sources)

    routes = [
        OfflineRoute(one.name, one.signal.value, one.title, hop_names(one)) for one in config.routes
    ]
    stores = open_reader(config.database_url or config.data_dir, clock)
    return OfflineReadModel(
        OfflineParts(config.top.namespace, clock, stores, plan_items(config), routes, sources)
    )
