"""Prometheus 3 with its OTLP receiver."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.contracts.backends.case import Case, Ground, Opening


@asynccontextmanager
async def _open(ground: Ground) -> AsyncIterator[Case]:
    yield Case(
        "prometheus",
        "Prometheus 3.14",
        ground.parts,
        {"url": ground.start("prometheus")["prometheus"].url()},
        lambda _, service: f'{{service_name="{service}"}}',
    )


CASES = {"prometheus-3": Opening("prometheus", _open, ("prometheus",))}
