"""ClickHouse's engine behind an HTTP front, with the tables of the Collector's exporter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.secrets import Secret
from tests.contracts.backends.case import Case, Ground, Opening
from tests.fakes.child import child
from tests.fakes.clickhouse_front import DATABASE, PASSWORD, USER


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[Case]:
    front = child("tests.fakes.clickhouse_front")
    auth = {"username": USER, "password": Secret.inline(PASSWORD)}
    yield Case(
        "clickhouse",
        front.version,
        ground.parts,
        {"url": front.url, "database": DATABASE, "auth": auth},
        lambda signal, service: f"{signal}: ServiceName = '{service}'",
        inject="clickhouse",
        inject_options={"auth": auth},
        small_pages={"row_limit": 20},
    )


CASES = {"clickhouse": Opening("clickhouse", _open, inject="clickhouse")}
