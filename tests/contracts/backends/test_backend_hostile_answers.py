"""Every adapter against answers that are none: each is a read error, within the deadline.

Rows 4, 5, 7, 8, 10, 21 and 27 of the conformance list, on a loopback server, for all backends.
"""

import gzip
import json
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.reason import Reason
from selfcheck.backends.http import ReadError, parse_json, retry_after_s
from selfcheck.backends.protocol import BACKENDS
from tests.fakes.hostile import drip, flood, hostile, reset, says, silence
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts

KINDS = sorted(BACKENDS.entries)
NOT_USABLE = {
    "html": says(b"<html>please log in</html>"),
    "empty": says(b""),
    "cut": says(b'{"status":"success","data":', length=4000),
    "reset": reset,
    "duplicate_keys": says(b'{"status":"success","status":"success","data":[],"records":[]}'),
    "deep": says(b"[" * 10_000),
    "very_deep": says(b'{"a":' * 200_000),
    "infinite": says(b'{"status":"success","data":1e400,"records":1e400}'),
    "nan": says(b'{"status":"success","data":NaN}'),
    "not_utf8": says(b'{"status":"success","data":"\xff\xfe"}'),
    "wrong_shape": says(b'{"status":"success","data":{"resultType":"x","result":7}}'),
    "list": says(b"[1]"),
    "warned": says(b'{"status":"success","warnings":["partial"],"errors":["partial"],"data":[]}'),
    "status_207": says(b"{}", "207 Multi-Status"),
    "status_500": says(b"oops", "500 Internal Server Error"),
    "status_404_html": says(b"<html>not here</html>", "404 Not Found"),
    "status_404_json": says(b'{"message":"no route"}', "404 Not Found"),
    "status_302": says(b"", "302 Found", "Location: /login"),
    "drip": drip,
    "silence": silence,
    "flood": flood,
    "objects": says(
        gzip.compress(b"[" + b"{}," * 2_600_000 + b"{}]"), "200 OK", "Content-Encoding: gzip"
    ),
    "gzip_bomb": says(gzip.compress(bytes(64 << 20)), "200 OK", "Content-Encoding: gzip"),
}


def reader(kind, url, parts, **options):
    adapter = BACKENDS.load(kind)
    needed = [name for name, key in adapter.options_model.model_fields.items() if key.is_required()]
    written = {**dict.fromkeys(needed, "x"), "url": url, **options}
    return adapter.build(adapter.options_model.model_validate(written), parts)


async def broken_reads(kind, answer, folder, deadline_s=0.5, **options):
    """The readings of all paths and signals of one backend whose store answers `answer`."""
    async with real_parts(folder) as parts, hostile(answer) as server:
        backend = reader(kind, server.url, parts, **options)
        found = []
        for signal in sorted(backend.declaration.signals)[:1]:
            for path in backend.declaration.paths_for(signal):
                started = time.monotonic()
                found.append(await backend.read(question_of(canary_of(signal)), path, deadline_s))
                assert time.monotonic() - started < deadline_s + 1
        return found, server.requests


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(NOT_USABLE))
async def test_an_answer_that_is_none_is_a_read_error_within_the_deadline(kind, name, tmp_path):
    readings, _ = await broken_reads(kind, NOT_USABLE[name], tmp_path)
    for reading in readings:
        assert not reading.complete, name
        assert reading.reason is not Reason.OK
        assert reading.detail
        assert reading.sightings == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("401 Unauthorized", Reason.AUTH),
        ("403 Forbidden", Reason.AUTH),
        ("429 Too Many Requests", Reason.THROTTLED),
        ("529 Overloaded", Reason.THROTTLED),
        ("503 Service Unavailable", Reason.READBACK),
    ],
)
async def test_a_refused_read_says_why_and_how_long_to_wait(kind, status, reason, tmp_path):
    answer = says(b"no", status, "Retry-After: 7")
    for reading in (await broken_reads(kind, answer, tmp_path))[0]:
        assert (reading.complete, reading.reason) == (False, reason)
        assert reading.retry_after_s == 7.0


@pytest.mark.parametrize("kind", KINDS)
async def test_row_10_reads_ask_to_bypass_caches(kind, tmp_path):
    _, requests = await broken_reads(kind, says(b"{}"), tmp_path)
    assert requests
    assert all("cache-control: no-cache" in request.lower() for request in requests)


@pytest.mark.parametrize("kind", KINDS)
async def test_row_27_no_credential_is_told_even_when_the_store_echoes_it(
    kind, tmp_path, monkeypatch
):
    monkeypatch.setenv("STORE_TOKEN", "tok-very-secret")
    answer = says(b"bad token tok-very-secret in Bearer tok-very-secret", "401 Unauthorized")
    options = {"auth": {"bearer": "env:STORE_TOKEN"}}
    readings, requests = await broken_reads(kind, answer, tmp_path, **options)
    assert "tok-very-secret" in requests[0]
    for reading in readings:
        assert "tok-very-secret" not in reading.detail
        assert "tok-very-secret" not in repr(reading)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_secret_that_is_gone_is_auth_and_nothing_is_sent(kind, tmp_path):
    token = tmp_path / "token"
    token.write_text("t")
    async with real_parts(tmp_path) as parts, hostile(says(b"{}")) as server:
        backend = reader(kind, server.url, parts, auth={"bearer_file": str(token)})
        token.unlink()
        signal = min(backend.declaration.signals)
        path = backend.declaration.paths[0]
        reading = await backend.read(question_of(canary_of(signal)), path, 1.0)
        assert (reading.complete, reading.reason) == (False, Reason.AUTH)
        assert server.requests == []


@pytest.mark.parametrize("kind", KINDS)
async def test_the_newest_record_that_could_not_be_read_is_not_none(kind, tmp_path):
    async with real_parts(tmp_path) as parts, hostile(says(b"no", "500 Oops")) as server:
        select = "logs:x" if kind == "embedded" else "x"
        newest = await reader(kind, server.url, parts).newest(select, 60.0, 1.0)
        assert (newest.complete, newest.reason) == (False, Reason.READBACK)


@pytest.mark.parametrize("kind", ["loki", "embedded"])
async def test_pages_without_end_are_a_read_error(kind, tmp_path):
    now = time.time_ns()
    page = {
        "loki": {
            "status": "success",
            "data": {
                "resultType": "streams",
                "result": [{"stream": {}, "values": [[str(now), "a"], [str(now), "b"]]}],
            },
        },
        "embedded": {"records": [], "next": 1},
    }[kind]
    answer = says(json.dumps(page).encode())
    async with real_parts(tmp_path) as parts, hostile(answer) as server:
        backend = reader(kind, server.url, parts, row_limit=2)
        path = backend.declaration.paths[1]
        signal = min(backend.declaration.signals)
        reading = await backend.read(question_of(canary_of(signal)), path, 5.0)
        assert (reading.complete, reading.reason) == (False, Reason.READBACK)
        assert len(server.requests) <= 100


@pytest.mark.parametrize("bomb", ["gzip_bomb", "objects"])
async def test_row_21_a_bomb_costs_little_memory(bomb, tmp_path):
    tracemalloc.start()
    try:
        await broken_reads("loki", NOT_USABLE[bomb], tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The body within its cap, and once more while it is put together.
    assert peak < 24 << 20


def test_row_08_retry_after_is_read_in_seconds_and_as_a_date():
    now = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
    assert retry_after_s("120", now) == 120.0
    assert retry_after_s(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90.0
    assert retry_after_s(format_datetime(now - timedelta(seconds=90), usegmt=True), now) == 0.0
    assert retry_after_s("99999999999999999999", now) == 600.0
    for junk in (None, "", "soon", "-3", "1e400", "nan", "²"):
        assert retry_after_s(junk, now) is None


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":2}', b"NaN", b"-Infinity", b"1e999", b"\xff", b"", b"[" * 100_000]
)
def test_json_that_two_readers_could_read_differently_is_refused(body):
    with pytest.raises(ReadError) as caught:
        parse_json(body)
    assert caught.value.reason is Reason.BACKEND_PROTOCOL
