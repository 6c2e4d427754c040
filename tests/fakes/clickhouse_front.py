"""ClickHouse's HTTP interface in front of its real engine (chdb), in a process of its own.

What is real: the engine, its SQL, types, bound parameters, formats and exceptions. What is ours:
the HTTP before it, after clickhouse.com/docs, "HTTP interface" (2026-11): the statement is the
parameter `query` and the body together, `param_x` are bound values, users come in headers or as
basic authentication, an exception has a status of its own and a header with its number, unless the
answer has begun. A request to `/front/late` makes the next statement fail after its 200.

    python -m tests.fakes.clickhouse_front
"""

import base64
import re
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.child import say

USER, PASSWORD = "coalmine", "front-secret"
DATABASE = "otel"
_STATUS = {
    60: 404, 81: 404, 46: 404, 47: 404, 62: 400, 27: 400, 457: 400, 516: 403, 497: 403,
    164: 500, 241: 500, 159: 408, 48: 501,
}  # fmt: skip
_CODE = re.compile(r"Code: (\d+)\.")
_ATTRIBUTES = "Map(LowCardinality(String), String)"
_EVENTS = f"Nested(Timestamp DateTime64(9), Name LowCardinality(String), Attributes {_ATTRIBUTES})"
_LINKS = f"Nested(TraceId String, SpanId String, TraceState String, Attributes {_ATTRIBUTES})"
_EXEMPLARS = (
    f"Nested(FilteredAttributes {_ATTRIBUTES}, TimeUnix DateTime64(9), Value Float64,"
    " SpanId String, TraceId String)"
)
_TABLES = (
    f"""CREATE TABLE {DATABASE}.otel_logs (Timestamp DateTime64(9),
    TimestampTime DateTime DEFAULT toDateTime(Timestamp), TraceId String, SpanId String,
    TraceFlags UInt8, SeverityText LowCardinality(String), SeverityNumber UInt8,
    ServiceName LowCardinality(String), Body String, ResourceSchemaUrl LowCardinality(String),
    ResourceAttributes {_ATTRIBUTES}, ScopeSchemaUrl LowCardinality(String), ScopeName String,
    ScopeVersion LowCardinality(String), ScopeAttributes {_ATTRIBUTES}, LogAttributes {_ATTRIBUTES},
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_log_attr_value mapValues(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_body Body TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8)
    ENGINE = MergeTree PARTITION BY toDate(TimestampTime)
    PRIMARY KEY (ServiceName, TimestampTime) ORDER BY (ServiceName, TimestampTime, Timestamp)""",
    f"""CREATE TABLE {DATABASE}.otel_traces (Timestamp DateTime64(9), TraceId String,
    SpanId String, ParentSpanId String, TraceState String, SpanName LowCardinality(String),
    SpanKind LowCardinality(String), ServiceName LowCardinality(String),
    ResourceAttributes {_ATTRIBUTES}, ScopeName String, ScopeVersion String,
    SpanAttributes {_ATTRIBUTES}, Duration UInt64, StatusCode LowCardinality(String),
    StatusMessage String, Events {_EVENTS}, Links {_LINKS},
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1)
    ENGINE = MergeTree PARTITION BY toDate(Timestamp)
    ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp)""",
    f"""CREATE TABLE {DATABASE}.otel_metrics_gauge (ResourceAttributes {_ATTRIBUTES},
    ResourceSchemaUrl String, ScopeName String, ScopeVersion String,
    ScopeAttributes {_ATTRIBUTES}, ScopeDroppedAttrCount UInt32, ScopeSchemaUrl String,
    ServiceName LowCardinality(String), MetricName String, MetricDescription String,
    MetricUnit String, Attributes {_ATTRIBUTES}, StartTimeUnix DateTime64(9),
    TimeUnix DateTime64(9), Value Float64, Flags UInt32, Exemplars {_EXEMPLARS})
    ENGINE = MergeTree PARTITION BY toDate(TimeUnix)
    ORDER BY (ServiceName, MetricName, Attributes, toUnixTimestamp64Nano(TimeUnix))""",
)


class Engine:
    """One session of chdb: a process has room for no more."""

    def __init__(self, folder: str) -> None:
        from chdb.session import Session

        self._session, self._lock, self._late = Session(folder), threading.Lock(), False
        self.version = str(self._session.query("SELECT version()", "TSV")).strip()
        self._session.query(f"CREATE DATABASE {DATABASE}")
        for table in _TABLES:
            # A row an insert is a part an insert: by default the engine slows down at 1,000.
            many = "parts_to_delay_insert = 100000, parts_to_throw_insert = 100000"
            self._session.query(f"{table} SETTINGS {many}")

    def query(self, statement: str, database: str, parameters: dict[str, str]) -> bytes:
        """The formatted answer. Raises RuntimeError with ClickHouse's own text."""
        with self._lock:
            self._session.query(f"USE `{database}`")
            return self._session.query(statement, "TSV", params=parameters).bytes()

    def fail_late(self) -> None:
        self._late = True

    def fails_late(self) -> bool:
        late, self._late = self._late, False
        return late


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine

    def log_message(self, *_: object) -> None:
        """Requests are no news."""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _serve(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path == "/ping":
            self._say(200, b"Ok.\n")
        elif parts.path == "/front/late":
            self.engine.fail_late()
            self._say(200, b"Ok.\n")
        elif not self._allowed():
            self._refuse(
                f"Code: 516. DB::Exception: {self._user()[0]}: Authentication failed: password is"
                " incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)"
            )
        else:
            self._query("\n".join((asked.pop("query", ""), body.decode())).strip(), asked)

    def _query(self, statement: str, asked: dict[str, str]) -> None:
        bound = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
        try:
            answer = self.engine.query(statement, asked.get("database", "default"), bound)
        except RuntimeError as exc:
            self._refuse(str(exc))
            return
        if self.engine.fails_late():
            late = b"Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)\n"
            answer = answer[: len(answer) // 2] + late
        self._say(200, answer)

    def _user(self) -> tuple[str, str]:
        scheme, _, told = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            user, _, password = base64.b64decode(told).decode().partition(":")
            return user, password
        user = self.headers.get("X-ClickHouse-User", "default")
        return user, self.headers.get("X-ClickHouse-Key", "")

    def _allowed(self) -> bool:
        return self._user() == (USER, PASSWORD)

    def _refuse(self, told: str) -> None:
        code = int(found[1]) if (found := _CODE.search(told)) else 1001
        self._say(
            _STATUS.get(code, 500),
            f"{told} (version {self.engine.version})\n".encode(),
            ("X-ClickHouse-Exception-Code", str(code)),
        )

    def _say(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("X-ClickHouse-Server-Display-Name", "front"), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    import chdb

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Handler.engine = Engine(folder)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        version = f"chdb {chdb.__version__} (ClickHouse {Handler.engine.version}), front of ours"
        say(f"http://127.0.0.1:{server.server_address[1]}", version)
        server.serve_forever()


if __name__ == "__main__":
    main()
