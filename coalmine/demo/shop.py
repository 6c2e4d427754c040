"""The demo's shop: a small web application whose telemetry is real, by the OpenTelemetry SDK.

It serves a page, orders from itself twice a second, and logs, counts and traces each order.
`POST /telemetry {"on": false}` switches its telemetry off: the shop goes on, silently.
"""

import argparse
import asyncio
import itertools
import json
import logging
import signal
from dataclasses import dataclass, field

import uvicorn
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from coalmine.demo.ports import free_port
from core.clock import Clock, SystemClock

PAGE = """<!doctype html><title>The shop</title><h1>Welcome to the shop</h1>
<p id="orders">Orders today: {orders}</p>
<form action="/order" method="post"><button id="order">Order a lamp</button></form>"""


@dataclass(slots=True)
class Telemetry:
    """The SDK's three pipelines; `shutdown` ends them for good."""

    logs: LoggerProvider
    metrics: MeterProvider
    traces: TracerProvider
    on: bool = True

    @classmethod
    def to(cls, url: str) -> "Telemetry":
        """Export to the OTLP/HTTP endpoint `url`, in short batches."""
        resource = Resource.create({"service.name": "shop", "service.instance.id": "shop-1"})
        logs = LoggerProvider(resource=resource)
        logs.add_log_record_processor(
            BatchLogRecordProcessor(OTLPLogExporter(f"{url}/v1/logs"), schedule_delay_millis=500)
        )
        metrics = MeterProvider(
            [PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"), 1000)], resource
        )
        traces = TracerProvider(resource=resource)
        traces.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces"), schedule_delay_millis=500)
        )
        return cls(logs, metrics, traces)

    def shutdown(self) -> None:
        """Flush and end."""
        for provider in (self.logs, self.metrics, self.traces):
            provider.shutdown()


@dataclass(slots=True)
class Shop:
    """Takes orders and tells of them."""

    telemetry: Telemetry
    clock: Clock
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    orders: int = 0

    def order(self) -> int:
        """Take one order; returns its number."""
        number = next(self.numbers)
        self.orders = number
        if self.telemetry.on:
            tracer = self.telemetry.traces.get_tracer("shop")
            with tracer.start_as_current_span("order", attributes={"order.number": number}):
                _logger.info("order %s taken", number)
                self.telemetry.metrics.get_meter("shop").create_counter("shop_orders").add(1)
        return number

    async def trade(self) -> None:
        """Order twice a second until cancelled."""
        while True:
            self.order()
            await self.clock.sleep(0.5)


_logger = logging.getLogger("shop")


def make_app(shop: Shop) -> Starlette:
    """The shop's pages."""

    async def home(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE.format(orders=shop.orders))

    async def order(_: Request) -> HTMLResponse:
        return HTMLResponse(f"<title>Thanks</title><h1>Order {shop.order()} taken</h1>")

    async def telemetry(request: Request) -> JSONResponse:
        shop.telemetry.on = bool((await request.json())["on"])
        return JSONResponse({"on": shop.telemetry.on})

    return Starlette(
        routes=[
            Route("/", home),
            Route("/order", order, methods=["POST"]),
            Route("/telemetry", telemetry, methods=["POST"]),
        ]
    )


async def serve(port: int, otlp: str) -> None:
    """Run the shop until SIGTERM; prints one JSON line when it is ready."""
    shop = Shop(Telemetry.to(otlp), SystemClock())
    _logger.setLevel(logging.INFO)
    _logger.addHandler(LoggingHandler(logger_provider=shop.telemetry.logs))
    _logger.propagate = False
    config = uvicorn.Config(
        make_app(shop), host="127.0.0.1", port=port, log_level="warning", lifespan="off"
    )
    server = uvicorn.Server(config)
    trading = asyncio.create_task(shop.trade())
    print(json.dumps({"ready": f"http://127.0.0.1:{port}"}), flush=True)  # noqa: T201  the contract
    await server.serve()
    trading.cancel()
    shop.telemetry.shutdown()


def main() -> None:
    """`python -m coalmine.demo.shop --otlp URL`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--otlp", required=True)
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve(args.port or free_port(), args.otlp))


if __name__ == "__main__":
    main()
