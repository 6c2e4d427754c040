"""One case for every registered backend: the embedded store in process, the others for real."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from core.kinds import Parts
from deploy.stack.launch import TENANT, Stack
from selfcheck.backends.protocol import BACKENDS, Backend
from selfcheck.canary.model import Canary, Receipt
from selfcheck.embedded.store import EmbeddedStore
from selfcheck.injectors.otlp_http import OtlpHttpInjector, OtlpHttpOptions
from tests.support.parts import real_parts
from tests.support.servers import stack_of

SERVERS = {"loki": "loki", "prometheus": "prometheus", "jaeger": "jaeger"}


@dataclass
class Case:
    """A backend with the server behind it: `backend(**overrides)` reads, `write` sends to it."""

    kind: str
    parts: Parts
    options: dict[str, Any]

    def backend(self, **overrides: Any) -> Backend:
        """A reader with some options changed."""
        adapter = BACKENDS.load(self.kind)
        options = adapter.options_model.model_validate({**self.options, **overrides})
        return adapter.build(options, self.parts)

    async def write(self, *canaries: Canary, **overrides: Any) -> list[Receipt]:
        """Send straight to the store, as its own write rule says."""
        adapter = BACKENDS.load(self.kind)
        options = adapter.options_model.model_validate({**self.options, **overrides})
        injector = OtlpHttpInjector.build(
            OtlpHttpOptions(), self.parts, adapter.write_rule(options)
        )
        return [await injector.send(canary, 5.0) for canary in canaries]


@pytest.fixture(scope="session")
def stores(tmp_path_factory) -> Any:
    """Starts each real store once per worker, when a test first asks for it."""
    running: dict[str, Stack] = {}

    def start(name: str) -> Stack:
        if name not in running:
            stack = stack_of(tmp_path_factory.mktemp(name), name)
            stack.__enter__()
            running[name] = stack
        return running[name]

    yield start
    for stack in running.values():
        stack.close()


def _real_options(stack: Stack, kind: str) -> dict[str, Any]:
    url = stack[SERVERS[kind]].url()
    if kind == "loki":
        return {"url": url, "tenant": TENANT}
    if kind == "jaeger":
        return {"url": url, "write_url": stack["jaeger"].url("otlp")}
    return {"url": url}


@pytest.fixture(
    params=[
        pytest.param(kind, marks=[] if kind == "embedded" else [pytest.mark.stack])
        for kind in sorted(BACKENDS.entries)
    ]
)
async def case(request, tmp_path, stores: Callable[[str], Stack]) -> AsyncIterator[Case]:
    """Every registered backend; an entry without a server is a KeyError here, not a gap."""
    kind = request.param
    async with real_parts(tmp_path) as parts:
        if kind != "embedded":
            yield Case(kind, parts, _real_options(stores(SERVERS[kind]), kind))
            return
        store = EmbeddedStore(parts.clock, parts.rng)
        await store.start()
        try:
            yield Case(kind, parts, {"url": store.url})
        finally:
            await store.stop()
