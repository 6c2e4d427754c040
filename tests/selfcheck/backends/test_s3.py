"""What only an object store shows: listings, names that hold stamps, words of a refusal."""

import dataclasses
import hashlib
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.outbound.protocol import Request
from core.reason import Reason
from core.secrets import Secret
from selfcheck.aws import Outgoing, path_of
from selfcheck.backends.http import ReadError
from selfcheck.backends.listing import parse_page
from selfcheck.backends.s3 import BY_ID, SEARCH
from selfcheck.canary.compare import difference, same_record
from selfcheck.canary.model import Sent, Signal
from selfcheck.objects import decode, encode, folder_of, key_of, stamp_in
from tests.contracts.backends.cases.s3 import CASES
from tests.fakes.hostile import hostile, says
from tests.support.aws import KEYS
from tests.support.canaries import canary_of, question_of
from tests.support.case import opened_case

# A server of its own, moto, that takes seconds to start.
pytestmark = pytest.mark.slow

_ROUTES = itertools.count(1)
UNDATED = b"<Contents><Key>a</Key><LastModified>now</LastModified></Contents></ListBucketResult>"


def fresh_route():
    return f"s3-{time.time_ns()}-{next(_ROUTES)}"


@pytest.fixture
async def case(tmp_path):
    async with opened_case(CASES["s3"], tmp_path) as opened:
        yield opened


async def read(case, path, *canaries, **options):
    return await case.backend(**options).read(question_of(*canaries), path, 5.0)


async def put(case, key, body, content_type="application/json"):
    """An object that no canary wrote, signed as a canary is."""
    options = case.model()
    url = options.url + path_of(options.bucket, key)
    own = (("Content-Type", content_type),)
    signed = options.signed("s3", Outgoing("PUT", url, body, own), case.parts.clock.utc())
    headers = (*own, *signed.items())
    answer = await case.parts.outbound.fetch(Request("PUT", url, 5.0, headers=headers, body=body))
    assert answer.status == 200, answer


def error(code, status):
    return says(f"<Error><Code>{code}</Code></Error>".encode(), status)


@given(st.sampled_from(list(Signal)), st.integers(1, 2**31), st.integers(0, 2**62))
def test_an_object_gives_back_what_its_canary_carried(signal, seq, stamp_ns):
    canary = canary_of(signal, seq, stamp_ns=stamp_ns)
    stored = decode(encode(canary))
    assert (stored.stamp_ns, stored.body) == (canary.stamp_ns, canary.body)
    assert (stored.value, stored.attributes) == (canary.value, canary.attributes)
    assert stamp_in(key_of(canary)) == canary.stamp_ns
    assert key_of(canary).startswith(folder_of(canary))


@given(st.lists(st.integers(0, 2**62), min_size=2, max_size=5))
def test_the_order_of_keys_is_the_order_of_stamps(stamps):
    keys = [key_of(canary_of(Signal.LOGS, stamp_ns=stamp)) for stamp in sorted(stamps)]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    "key", ["a/b", "a/123-b", "1763728512123456789", "a/b/1763728512123456789"]
)
def test_a_name_that_holds_no_stamp_is_none(key):
    assert stamp_in(key) is None


async def test_mode_09_a_listing_is_followed_over_its_pages(case):
    route, start = fresh_route(), time.time_ns() - 100 * 10**9
    backlog = [canary_of(Signal.LOGS, n, route, start + n * 10**9) for n in range(1, 31)]
    older = [canary_of(Signal.LOGS, 99, route, start - 10**12)]
    await case.write(*backlog, *older)
    reading = await read(case, SEARCH, *backlog, row_limit=4)
    assert reading.complete, reading.detail
    assert {s.canary_id for s in reading.sightings} == {c.canary_id for c in backlog}


async def test_what_is_listed_is_opened_so_that_altered_content_shows(case):
    canary = canary_of(Signal.METRICS, route=fresh_route())
    await case.write(dataclasses.replace(canary, value=canary.value + 1))
    for path in (BY_ID, SEARCH):
        (sighting,) = (await read(case, path, canary)).sightings
        assert "value: sent 1, stored 2" in difference(canary, [sighting])


@pytest.mark.parametrize("signal", list(Signal))
@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"{}", b"[1]", b'{"body": 7}'])
async def test_an_object_that_was_written_over_is_altered_and_not_lost(case, signal, body):
    canary = canary_of(signal, route=fresh_route())
    await case.write(canary)
    await put(case, f"canaries/{key_of(canary)}", body)
    for path in (BY_ID, SEARCH):
        (sighting,) = (await read(case, path, canary)).sightings
        assert same_record(canary, sighting, 1)
        assert difference(canary, [sighting])


async def test_a_truncated_object_is_altered(case):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    await put(case, f"canaries/{key_of(canary)}", encode(canary)[:-40])
    (sighting,) = (await read(case, BY_ID, canary)).sightings
    assert "not the document of a canary" in difference(canary, [sighting])


async def test_mode_36_a_second_put_leaves_one_object_and_no_count(case):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    await case.write(canary, canary)
    for path in (BY_ID, SEARCH):
        (sighting,) = (await read(case, path, canary)).sightings
        assert sighting.copies is None


async def test_mode_41_wrong_keys_are_auth_and_never_absence(case):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    wrong = {**KEYS, "secret_access_key": Secret.inline("wrong-secret")}
    unknown = {**KEYS, "access_key_id": Secret.inline("AKIANOBODY")}
    for keys in (wrong, unknown, None):
        for path in (BY_ID, SEARCH):
            reading = await read(case, path, canary, keys=keys)
            assert (reading.complete, reading.reason) == (False, Reason.AUTH)
            assert "wrong-secret" not in repr(reading)
        injector = case.injector({"keys": keys})
        receipt = await injector.send(canary, 5.0)
        assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.AUTH)


async def test_a_bucket_that_is_not_there_is_absent_to_a_reader_and_refused_to_a_writer(case):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    for path in (BY_ID, SEARCH):
        reading = await read(case, path, canary, bucket="not-yet")
        assert (reading.complete, reading.sightings) == (True, ())
    (receipt,) = await case.write(canary, bucket="not-yet")
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
    assert "NoSuchBucket" in receipt.detail


@pytest.mark.parametrize("path", [BY_ID, SEARCH], ids=lambda path: path.name)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error("SlowDown", "503 Slow Down"), Reason.THROTTLED),
        (error("InternalError", "500 X"), Reason.READBACK),
        (error("AccessDenied", "403 Forbidden"), Reason.AUTH),
        (error("ExpiredToken", "400 X"), Reason.AUTH),
        (error("NoSuchUpload", "404 X"), Reason.READBACK),
        (error("PermanentRedirect", "301 X"), Reason.READBACK),
    ],
    ids=["slow_down", "internal", "denied", "expired", "another_404", "another_region"],
)
async def test_mode_11_a_refusal_is_told_by_its_name_and_is_no_absence(case, path, answer, reason):
    async with hostile(answer) as server:
        reading = await read(case, path, canary_of(Signal.LOGS), url=server.url)
    assert (reading.complete, reading.reason) == (False, reason)


async def test_an_internal_error_on_put_leaves_it_open_and_is_tried_again(case):
    failed, taken = error("InternalError", "500 X"), says(b"", "200 OK", 'ETag: "a"')
    for answers, sent, tries in (([failed, taken], Sent.ACCEPTED, 2), ([failed], Sent.MAYBE, 3)):
        async with hostile(*answers) as server:
            injector = case.injector({"url": server.url})
            receipt = await injector.send(canary_of(Signal.LOGS), 9.0)
        assert (receipt.sent, receipt.tries, receipt.first_try) == (sent, tries, Sent.MAYBE)


async def test_slow_down_on_put_is_throttling_and_backs_off(case):
    async with hostile(error("SlowDown", "503 X")) as server:
        receipt = await case.injector({"url": server.url}).send(canary_of(Signal.LOGS), 9.0)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.THROTTLED)
    assert receipt.tries == 3


async def test_objects_of_others_are_dated_by_their_last_change(case):
    folder = f"canaries/{fresh_route()}/"
    await put(case, f"{folder}block 1/+%é.bin", b"x")
    found = await case.backend().newest(folder, 60.0, 5.0)
    assert found.complete, found.detail
    assert abs(found.stamp_ns - time.time_ns()) < 5 * 10**9
    assert found.stamp_ns % 10**9 == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>please log in</html>",
        b"<ListBucketResult/>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>false</IsTruncated>",
        b"<ListBucketResult><IsTruncated>false</IsTruncated>" + UNDATED,
        b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult>&b;</ListBucketResult>',
        b"<a>" * 20_000,
    ],
)
def test_a_listing_that_is_none_is_refused(body):
    with pytest.raises(ReadError) as caught:
        parse_page(body)
    assert caught.value.reason is Reason.BACKEND_PROTOCOL


async def test_a_listing_without_end_is_a_read_error(case):
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
    )
    async with hostile(says(page)) as server:
        reading = await read(case, SEARCH, canary_of(Signal.LOGS), url=server.url)
        assert (reading.complete, reading.reason) == (False, Reason.READBACK)
        assert len(server.requests) == 100


async def test_an_object_without_etag_is_no_answer_of_an_object_store(case):
    answer = says(encode(canary_of(Signal.LOGS)), "200 OK", "Content-Type: application/json")
    async with hostile(answer) as server:
        reading = await read(case, BY_ID, canary_of(Signal.LOGS), url=server.url)
    assert (reading.complete, reading.reason) == (False, Reason.BACKEND_PROTOCOL)


def test_an_empty_bucket_means_that_the_address_is_the_buckets_own(case):
    model = case.model(bucket="", prefix="")
    assert model.place("a/b") == "/a/b"
    assert model.place() == "/"
    rules = type(case.backend()).write_rules(model)
    assert set(rules["s3"].paths.values()) == {"/"}


def listing(canary, etag):
    return says(
        f"<ListBucketResult><IsTruncated>false</IsTruncated><Contents>"
        f"<Key>canaries/{key_of(canary)}</Key><ETag>{etag}</ETag>"
        f"<LastModified>2026-11-21T00:00:00.000Z</LastModified></Contents></ListBucketResult>".encode()
    )


async def test_mode_13_what_is_listed_is_there_even_when_a_cache_denies_it(case):
    """Some stores go on saying that a name is not there: by id alone it would be called lost."""
    canary = canary_of(Signal.LOGS)
    async with hostile(listing(canary, '"of-another"'), error("NoSuchKey", "404 X")) as server:
        (sighting,) = (await read(case, SEARCH, canary, url=server.url)).sightings
    assert same_record(canary, sighting, 1)
    assert (sighting.body, sighting.attributes) == (None, {})


async def test_a_digest_that_is_the_documents_own_needs_no_opening(case):
    canary = canary_of(Signal.LOGS, route=fresh_route())
    await case.write(canary)
    digest = hashlib.md5(encode(canary)).hexdigest()
    async with hostile(listing(canary, f'"{digest}"')) as server:
        (sighting,) = (await read(case, SEARCH, canary, url=server.url)).sightings
        assert len(server.requests) == 1
    assert difference(canary, [sighting]) == ""
