"""What only ClickHouse shows: schemas, exceptions, copies, links, values; on its real engine."""

import dataclasses
import itertools
import json
import time
from urllib.parse import quote, urlencode

import pycurl
import pytest

from core.reason import Reason
from core.secrets import Secret
from selfcheck.backends import clickhouse_sql as sql
from selfcheck.backends.clickhouse import AGGREGATE, BY_ID, SEARCH
from selfcheck.backends.http import ReadError
from selfcheck.backends.protocol import Question
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import CanaryKey, Sent, Signal
from tests.contracts.backends.cases.clickhouse import CASES
from tests.fakes.child import child
from tests.fakes.clickhouse_front import DATABASE, PASSWORD, USER
from tests.fakes.hostile import hostile, says
from tests.support.canaries import INSTANCE, SERVICE, canary_of, question_of
from tests.support.case import opened_case

# A ClickHouse engine of its own.
pytestmark = pytest.mark.slow

_ROUTES = itertools.count(1)


def fresh_route():
    return f"clickhouse-{time.time_ns()}-{next(_ROUTES)}"


@pytest.fixture
async def case(tmp_path):
    async with opened_case(CASES["clickhouse"], tmp_path) as opened:
        yield opened


def run(statement, values=()):
    """A statement by a client that is not the one under test; its answer."""
    told = {
        "database": DATABASE,
        **{f"param_{name}": value for name, value in dict(values).items()},
    }
    curl, body = pycurl.Curl(), []
    url = f"{child('tests.fakes.clickhouse_front').url}/?{urlencode(told, quote_via=quote)}"
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.POSTFIELDS, statement)
    user = [f"X-ClickHouse-User: {USER}", f"X-ClickHouse-Key: {PASSWORD}"]
    curl.setopt(pycurl.HTTPHEADER, user)
    curl.setopt(pycurl.WRITEFUNCTION, body.append)
    curl.perform()
    status = curl.getinfo(pycurl.RESPONSE_CODE)
    curl.close()
    assert status == 200, b"".join(body)
    return b"".join(body)


def fail_late():
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"{child('tests.fakes.clickhouse_front').url}/front/late")
    curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)
    curl.perform()
    curl.close()


async def read(case, path, *canaries, **options):
    return await case.backend(**options).read(question_of(*canaries), path, 5.0)


@pytest.mark.parametrize("path", [BY_ID, SEARCH, AGGREGATE], ids=lambda path: path.name)
async def test_mode_10_an_exception_after_the_header_is_no_complete_read(case, path):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    await case.write(canary)
    backend = case.backend()
    assert (await backend.read(question_of(canary), path, 5.0)).complete
    fail_late()
    reading = await backend.read(question_of(canary), path, 5.0)
    assert (reading.complete, reading.sightings) == (False, ())
    assert reading.reason is Reason.BACKEND_PROTOCOL
    assert (await backend.read(question_of(canary), path, 5.0)).sightings


async def test_an_exception_inside_of_valid_json_is_no_complete_read(case):
    """With http_write_exception_in_output_format the answer stays well-formed."""
    told = {"meta": [], "data": [], "rows": 0, "exception": "Code: 395. DB::Exception: no"}
    async with hostile(says(json.dumps(told).encode())) as server:
        reading = await read(case, BY_ID, canary_of(Signal.LOGS), url=server.url)
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)
    assert "395" in reading.detail


async def test_fewer_rows_than_told_are_no_complete_read(case):
    async with hostile(says(b'{"meta":[],"data":[],"rows":2}')) as server:
        reading = await read(case, BY_ID, canary_of(Signal.LOGS), url=server.url)
    assert (reading.complete, reading.reason) == (False, Reason.BACKEND_PROTOCOL)


@pytest.mark.parametrize("signal", list(Signal))
async def test_mode_36_copies_are_counted_by_every_path(case, signal):
    route, now = fresh_route(), time.time_ns()
    thrice, once = canary_of(signal, 1, route, now - 10**9), canary_of(signal, 2, route, now)
    await case.write(thrice, thrice, thrice, once)
    for path in case.backend().declaration.paths:
        reading = await read(case, path, thrice, once)
        assert {s.canary_id: s.copies for s in reading.sightings} == {
            thrice.canary_id: 3,
            once.canary_id: 1,
        }


@pytest.mark.parametrize("signal", list(Signal))
async def test_a_count_is_no_proof_of_a_stamp(case, signal):
    route = fresh_route()
    canary, never = canary_of(signal, 1, route), canary_of(signal, 2, route)
    await case.write(canary)
    (sighting,) = (await read(case, AGGREGATE, canary)).sightings
    assert (sighting.stamp_ns, sighting.body, sighting.value) == (None, None, None)
    other = dataclasses.replace(never, stamp_ns=canary.stamp_ns + 3 * 10**9)
    assert (await read(case, AGGREGATE, other)).sightings == ()


async def test_mode_09_pages_end_between_rows_of_one_time_without_losing_or_doubling_any(case):
    route, now = fresh_route(), time.time_ns()
    backlog = [canary_of(Signal.LOGS, n, route, now + n // 3) for n in range(1, 101)]
    await case.write(*backlog)
    for path in (BY_ID, SEARCH):
        reading = await read(case, path, *backlog, row_limit=7)
        assert reading.complete, reading.detail
        assert {s.canary_id: s.copies for s in reading.sightings} == {
            c.canary_id: 1 for c in backlog
        }


async def test_a_page_of_one_time_alone_is_told_as_incomplete(case):
    route, now = fresh_route(), time.time_ns()
    crowd = [canary_of(Signal.LOGS, n, route, now) for n in range(1, 4)]
    await case.write(*crowd)
    reading = await read(case, BY_ID, *crowd, row_limit=3)
    assert (reading.complete, reading.reason) == (False, Reason.READBACK)


@pytest.mark.parametrize("signal", list(Signal))
async def test_a_backlog_of_more_ids_than_a_statement_names_is_found(case, signal):
    route, start = fresh_route(), time.time_ns() - 200 * 10**9
    size = sql.IDS_IN_QUERY + 5
    backlog = [canary_of(signal, n, route, start + n * 10**9) for n in range(1, size + 1)]
    await case.write(*backlog)
    for path in case.backend().declaration.paths:
        reading = await read(case, path, *backlog)
        assert {s.canary_id for s in reading.sightings} == {c.canary_id for c in backlog}


async def test_mode_38_a_stamp_comes_back_to_the_nanosecond(case):
    for signal in (Signal.LOGS, Signal.TRACES):
        stamp = time.time_ns() // 1000 * 1000 + 7
        canary = canary_of(signal, route=fresh_route(), stamp_ns=stamp)
        await case.write(canary)
        for path in (BY_ID, SEARCH):
            (sighting,) = (await read(case, path, canary)).sightings
            assert sighting.stamp_ns == stamp


async def test_mode_38_a_sequence_number_of_53_bits_comes_back_whole(case):
    canary = canary_of(Signal.METRICS, route=fresh_route())
    canary = dataclasses.replace(canary, value=float(2**53 - 1))
    await case.write(canary)
    (sighting,) = (await read(case, BY_ID, canary)).sightings
    assert sighting.value == 2**53 - 1


def unstamped(route, seq, epoch=7):
    stamp = time.time_ns() - 60 * 10**9
    key = CanaryKey(route, epoch, seq)
    return make_canary(INSTANCE, "t", key, seq, Signal.METRICS, stamp, SERVICE, stamped=False)


async def test_a_sample_that_somebody_else_stamped_is_known_by_its_value(case):
    route = fresh_route()
    one, old = unstamped(route, 1), unstamped(route, 1, epoch=6)
    later = [dataclasses.replace(one, stamp_ns=one.stamp_ns + n * 10**9) for n in (2, 17)]
    await case.write(*later)
    for path in (BY_ID, SEARCH):
        for canary, expected in ((one, 1), (old, 0)):
            asked = Question(
                Signal.METRICS, route, (canary,), canary.stamp_ns, time.time_ns(), stamped=False
            )
            reading = await case.backend().read(asked, path, 5.0)
            assert reading.complete, reading.detail
            assert len(reading.sightings) == expected
            for sighting in reading.sightings:
                assert sighting.stamp_ns == later[0].stamp_ns
                assert same_record(canary, sighting, 1, stamped=False)


async def test_labels_that_a_scraper_underscored_are_found_too(case):
    canary = canary_of(Signal.METRICS, route=fresh_route())
    names = {name.replace(".", "_"): value for name, value in canary.attributes.items()}
    await case.write(dataclasses.replace(canary, attributes=names))
    for path in (BY_ID, SEARCH):
        (sighting,) = (await read(case, path, canary)).sightings
        assert difference(canary, [sighting]) == ""


async def test_an_id_with_wildcards_of_like_matches_itself_alone(case):
    route, now = fresh_route(), time.time_ns()

    def named(seq, name, stamp):
        canary = canary_of(Signal.LOGS, seq, route, stamp)
        return dataclasses.replace(canary, canary_id=name)

    wild, plain = named(1, f"{route}a_%\\b", now), named(2, f"{route}aXYb", now + 1)
    await case.write(plain)
    assert (await read(case, SEARCH, wild)).sightings == ()
    await case.write(wild)
    (sighting,) = (await read(case, SEARCH, wild)).sightings
    assert sighting.canary_id == wild.canary_id


async def test_a_log_a_sample_and_a_span_of_one_beat_lead_to_one_trace(case):
    route, backend = fresh_route(), case.backend()
    now = time.time_ns()
    log, sample, span = (canary_of(signal, 1, route, now) for signal in Signal)
    for canary in (log, sample):
        nothing = await backend.trace_ids(canary, 5.0)
        assert (nothing.complete, nothing.found) == (True, ())
        await case.write(canary)
        assert (await backend.trace_ids(canary, 5.0)).found == (span.trace_id.hex(),)
    before = (await backend.canaries_in(span.trace_id.hex(), 5.0)).found
    assert span.canary_id not in before
    await case.write(span)
    assert span.canary_id in (await backend.canaries_in(span.trace_id.hex(), 5.0)).found


async def test_a_link_that_cannot_be_read_is_not_a_missing_one(case):
    backend = case.backend(url="http://127.0.0.1:1")
    for link in (
        await backend.trace_ids(canary_of(Signal.LOGS), 2.0),
        await backend.canaries_in("ab" * 16, 2.0),
    ):
        assert (link.complete, link.reason) == (False, Reason.READBACK)


def access(name, password):
    return {"auth": {"username": name, "password": Secret.inline(password)}}


async def test_mode_41_a_wrong_user_is_auth_on_both_ways_and_no_absence(case):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    await case.write(canary)
    for wrong in (access(USER, "another"), access("nobody", PASSWORD)):
        reading = await read(case, BY_ID, canary, **wrong)
        assert (reading.complete, reading.reason) == (False, Reason.AUTH)
        assert PASSWORD not in reading.detail
        injector = case.injector(wrong)
        receipt = await injector.send(canary, 5.0)
        assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.AUTH)
        assert PASSWORD not in repr(receipt)


async def test_a_table_or_database_that_is_not_there_yet_is_absence(case):
    canary = canary_of(Signal.LOGS)
    for options in ({"logs_table": "not_yet"}, {"database": "not_yet"}):
        for path in case.backend().declaration.paths:
            reading = await read(case, path, canary, **options)
            assert (reading.complete, reading.sightings) == (True, ())


async def test_a_table_that_appears_is_read_without_a_restart(case):
    backend, name = case.backend(logs_table="appears"), "appears"
    canary = canary_of(Signal.LOGS, route=fresh_route())
    assert (await backend.read(question_of(canary), BY_ID, 5.0)).sightings == ()
    run(f"CREATE TABLE IF NOT EXISTS {name} AS otel_logs")
    await case.write(canary, logs_table=name)
    assert (await backend.read(question_of(canary), BY_ID, 5.0)).sightings


@pytest.mark.parametrize(
    ("time_type", "attributes", "told"),
    [
        ("DateTime64(9)", "LogAttributes JSON", "json: true"),
        ("DateTime64(9)", "attributes Map(String, String)", "no column LogAttributes"),
        ("DateTime", "LogAttributes Map(String, String)", "not DateTime64"),
    ],
    ids=["json", "another_version", "another_time"],
)
async def test_another_schema_is_told_apart_and_never_taken_for_absence(
    case, time_type, attributes, told
):
    name = f"other_{time.time_ns()}"
    columns = (
        f"Timestamp {time_type}, Body String, ServiceName String, TraceId String, SpanId String,"
        " SeverityText String, SeverityNumber Int32"
    )
    run(f"CREATE TABLE {name} ({columns}, {attributes}) ENGINE = MergeTree ORDER BY Timestamp")
    for path in case.backend().declaration.paths:
        reading = await read(case, path, canary_of(Signal.LOGS), logs_table=name)
        assert (reading.complete, reading.reason) == (False, Reason.BACKEND_PROTOCOL)
        assert told in reading.detail


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        ("500 X", b"Code: 202. DB::Exception: Too many simultaneous queries.", Reason.THROTTLED),
        ("500 X", b"Code: 201. DB::Exception: Quota exceeded.", Reason.THROTTLED),
        ("500 X", b"Code: 497. DB::Exception: Not enough privileges.", Reason.AUTH),
        ("500 X", b"Code: 241. DB::Exception: Memory limit exceeded.", Reason.READBACK),
        ("404 X", b"Code: 47. DB::Exception: Unknown identifier.", Reason.READBACK),
        ("404 X", b"no such page", Reason.READBACK),
    ],
)
async def test_the_number_of_an_exception_decides_what_it_means(case, status, body, reason):
    async with hostile(says(body, status)) as server:
        reading = await read(case, BY_ID, canary_of(Signal.LOGS), url=server.url)
    assert (reading.complete, reading.reason) == (False, reason)


@pytest.mark.parametrize("code", [159, 209, 210, 236, 319])
async def test_an_insert_that_ends_unknown_to_the_server_itself_may_be_stored(case, code):
    body = f"Code: {code}. DB::Exception: who knows.".encode()
    async with hostile(says(body, "500 X")) as server:
        injector = case.injector({"url": server.url})
        receipt = await injector.send(canary_of(Signal.LOGS), 5.0)
    assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.MAYBE, Reason.MAYBE_SENT, 1)


@pytest.mark.parametrize("selector", ["", "logs", "logs: ", "spans: 1", "ServiceName = 'x'"])
async def test_a_selector_that_is_none_is_told(case, selector):
    newest = await case.backend().newest(selector, 60.0, 5.0)
    assert (newest.complete, newest.stamp_ns) == (False, None)
    assert "selector" in newest.detail


@pytest.mark.parametrize(
    "answer", [[], {}, {"data": []}, {"data": [], "rows": "x"}, {"data": 7, "rows": 0}]
)
def test_an_answer_without_rows_is_refused(answer):
    with pytest.raises(ReadError):
        sql.answered(answer)


async def test_a_read_of_logs_leaves_out_the_parts_of_other_days(case):
    """The table is parted by a column of its own: a bound on the stamp alone reads every day."""
    service, now = fresh_route(), time.time_ns()
    week = [
        canary_of(Signal.LOGS, n, "r", now - n * 86_400 * 10**9, service=service) for n in range(7)
    ]
    await case.write(*week)
    asked, read_rows = question_of(week[0]), []
    for times in (sql.Times("Timestamp", "TimestampTime"), sql.Times("Timestamp", "")):
        where = sql.Where()
        where.among("ServiceName", [service])
        where.within(times, asked.start_ns, asked.end_ns)
        answer = json.loads(run(sql.rows("otel_logs", Signal.LOGS, where, 10), where.values))
        assert answer["rows"] == 1
        read_rows.append(answer["statistics"]["rows_read"])
    assert read_rows[0] < read_rows[1]
