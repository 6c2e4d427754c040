"""Cortex, with tenants, by OTLP and by remote write; the Mimir kind reads the same server.

No Mimir installs from the registries. Its OTLP path lies elsewhere: the prefix of the address that
is written to makes it that of Cortex.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from deploy.stack.launch import TENANT
from tests.contracts.backends.case import Case, Ground, Opening


def _open(
    kind: str, inject: str, write_prefix: str = ""
) -> Callable[[Ground], AbstractAsyncContextManager[Case]]:
    @asynccontextmanager
    async def opened(ground: Ground) -> AsyncIterator[Case]:
        running = ground.start("cortex")["cortex"]
        yield Case(
            kind,
            f"Cortex {running.version}",
            ground.parts,
            {"url": running.url(), "tenant": TENANT},
            lambda _, service: f'{{service_name="{service}"}}',
            inject=inject,
            inject_options={"url": running.url() + write_prefix} if write_prefix else {},
        )

    return opened


CASES = {
    "cortex": Opening("cortex", _open("cortex", "otlp_http"), ("cortex",)),
    "cortex-remote-write": Opening(
        "cortex", _open("cortex", "remote_write"), ("cortex",), "remote_write"
    ),
    "mimir-on-cortex": Opening("mimir", _open("mimir", "otlp_http", "/api/v1"), ("cortex",)),
}
