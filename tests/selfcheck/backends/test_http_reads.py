"""Reads that are no GET of JSON, under the same bounds: bodies, lines, headers, refusals."""

import pytest

from core.reason import Reason
from selfcheck.access import AccessOptions
from selfcheck.backends.http import (
    BODY_CAP,
    PAGE_CAP,
    ReadError,
    StoreClient,
    parse_json,
    parse_lines,
)
from tests.fakes.loopback import Loopback, Reply
from tests.support.parts import real_parts


def throttling(response):
    """A store that throttles in the words of a 400."""
    return Reason.THROTTLED if b"ThrottlingException" in response.body else None


@pytest.fixture
async def read(tmp_path):
    """Opens a session against a loopback server with one answer."""

    async def opened(answer, *, told=None):
        access = AccessOptions.model_validate({"headers": {"X-Own": "1"}})
        server = await Loopback(lambda _: answer).__aenter__()
        servers.append(server)
        more = () if told is None else (told,)
        return StoreClient.of(server.base, access, parts, *more).session(5.0), server

    servers = []
    async with real_parts(tmp_path) as parts:
        yield opened
    for server in servers:
        await server.__aexit__()


async def test_a_query_in_a_body_is_posted_with_its_type_and_repeated_keys(read):
    session, server = await read(Reply(200, b'{"rows":[1]}'))
    headers = {"Content-Type": "text/plain", "Cache-Control": "", "Accept": "*/*"}
    query = {"match[]": ("a", "b"), "limit": "2"}
    answer = await session.ask("POST", "/q", query, body=b"SELECT 1", headers=headers)
    assert parse_json(answer.body) == {"rows": [1]}
    (seen,) = server.seen
    assert (seen.method, seen.body) == ("POST", b"SELECT 1")
    assert seen.path == "/q?match%5B%5D=a&match%5B%5D=b&limit=2"
    assert seen.headers["content-type"] == "text/plain"
    assert seen.headers["accept"] == "*/*"
    assert seen.headers["x-own"] == "1"
    assert "cache-control" not in seen.headers


async def test_only_the_statuses_that_are_named_are_answers(read):
    session, _ = await read(Reply(206, b"part"))
    assert (await session.ask("GET", "/", also=frozenset({206}))).body == b"part"
    with pytest.raises(ReadError) as caught:
        await session.ask("GET", "/", also=frozenset({404}))
    assert caught.value.reason is Reason.READBACK


async def test_pages_and_bytes_are_counted_whatever_the_method(read):
    session, server = await read(Reply(200, b"[]"))
    for _ in range(PAGE_CAP):
        await session.ask("POST", "/", body=b"{}")
    with pytest.raises(ReadError, match="pages"):
        await session.get("/", {})
    assert len(server.seen) == PAGE_CAP
    assert session.body_bytes == 2 * PAGE_CAP
    large, _ = await read(Reply(200, bytes(BODY_CAP // 2 + 1)))
    await large.ask("GET", "/")
    with pytest.raises(ReadError) as caught:
        await large.ask("GET", "/")
    assert caught.value.reason is Reason.BACKEND_PROTOCOL


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b'{"__type":"ThrottlingException"}', Reason.THROTTLED),
        (400, b'{"__type":"ValidationException"}', Reason.READBACK),
        (403, b"no", Reason.AUTH),
    ],
)
async def test_row_08_a_refusal_in_other_words_is_understood(read, status, body, reason):
    session, _ = await read(Reply(status, body, {"Retry-After": "3"}), told=throttling)
    with pytest.raises(ReadError) as caught:
        await session.get("/", {})
    assert (caught.value.reason, caught.value.retry_after_s) == (reason, 3.0)


def test_lines_are_parsed_one_by_one_and_a_cut_one_is_an_error():
    assert parse_lines(b"") == []
    assert parse_lines(b'{"a":1}\n[2]\n') == [{"a": 1}, [2]]
    for cut in (b'{"a":1}\n{"a":', b'{"a":1}\n{"a":2}', b"\n", b'{"a":NaN}\n'):
        with pytest.raises(ReadError) as caught:
            parse_lines(cut)
        assert caught.value.reason is Reason.BACKEND_PROTOCOL
