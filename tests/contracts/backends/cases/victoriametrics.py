"""VictoriaMetrics, by OTLP and by remote write; what it buffers is flushed on request."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from core.outbound.protocol import Request, Response
from tests.contracts.backends.case import Case, Ground, Opening


def _open(inject: str) -> Callable[[Ground], AbstractAsyncContextManager[Case]]:
    @asynccontextmanager
    async def opened(ground: Ground) -> AsyncIterator[Case]:
        running = ground.start("victoria-metrics")["victoria-metrics"]

        async def flush() -> None:
            url = f"{running.url()}/internal/force_flush"
            answer = await ground.parts.outbound.fetch(Request("GET", url, 5.0))
            assert isinstance(answer, Response), answer
            assert answer.status == 200

        yield Case(
            "victoriametrics",
            f"VictoriaMetrics {running.version}",
            ground.parts,
            {"url": running.url()},
            lambda _, service: f'{{service_name="{service}"}}',
            inject=inject,
            settle=flush,
        )

    return opened


CASES = {
    f"victoriametrics-{name}": Opening(
        "victoriametrics", _open(inject), ("victoria-metrics",), inject
    )
    for name, inject in {"otlp": "otlp_http", "remote-write": "remote_write"}.items()
}
