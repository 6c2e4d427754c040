"""Signatures are held against botocore's, and nothing of a key is ever told."""

from datetime import UTC, datetime

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import CoalmineError
from core.outbound.protocol import Response
from core.reason import Reason
from core.secrets import Secret
from selfcheck.aws import (
    AwsAccess,
    Credentials,
    Outgoing,
    error_code,
    host_of,
    path_of,
    query_of,
    refusal_reason,
    sign,
)

NOW = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Amz-Target", "X-Amz-Meta-A"]),
    st.text(st.sampled_from("aZ9 ;,=/-"), min_size=1, max_size=12).map(str.strip).filter(bool),
)


def oracle(outgoing, credentials, region, service):
    """The Authorization header as botocore makes it for the same moment."""
    kind = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    own = kind(
        BotoCredentials(
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token or None,
        ),
        service,
        region,
    )
    request = AWSRequest(
        outgoing.method, outgoing.url, headers=dict(outgoing.headers), data=outgoing.body
    )
    request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
    own._modify_request_before_signing(request)
    text = own.string_to_sign(request, own.canonical_request(request))
    return own.signature(text, request), own.signed_headers(own.headers_to_sign(request))


@given(
    st.sampled_from(["s3", "logs", "xray"]),
    st.lists(TEXT.filter(bool), max_size=3),
    st.dictionaries(TEXT.filter(bool), TEXT, max_size=4),
    HEADERS,
    st.binary(max_size=50),
    st.sampled_from(["", "a/session+token=="]),
    st.sampled_from(["http://127.0.0.1:9000", "https://logs.eu-central-1.amazonaws.com"]),
)
def test_a_signature_is_the_one_that_botocore_makes(
    service, segments, query, headers, body, token, base
):
    # "." and ".." are steps, no names: neither keys of canaries nor calls hold them.
    segments = [one for one in segments if not {".", ".."} & set(one.split("/"))]
    url = base + path_of(*segments)
    if service != "s3" and "//" in path_of(*segments):
        url = base + "/"
    if query:
        url += "?" + query_of(query.items())
    keys = Credentials("AKIA123", "secret/with+signs", token)
    outgoing = Outgoing("POST", url, body, tuple(headers.items()))
    made = sign(outgoing, keys, "eu-central-1", service, NOW)
    signature, names = oracle(outgoing, keys, "eu-central-1", service)
    assert made["Authorization"].endswith(f"Signature={signature}")
    assert f"SignedHeaders={names}," in made["Authorization"]
    assert made["X-Amz-Date"] == "20261121T030405Z"
    assert made.get("X-Amz-Security-Token", "") == token


def test_the_documented_key_derivation_gives_the_documented_signature():
    """AWS's own worked example: GetObject with a range, of examplebucket, in May 2013."""
    keys = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "")
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    outgoing = Outgoing("GET", url, b"", (("Range", "bytes=0-9"),))
    made = sign(outgoing, keys, "us-east-1", "s3", datetime(2013, 5, 24, tzinfo=UTC))
    assert made["Authorization"].endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.example:80/x", "a.example"),
        ("https://a.example:443", "a.example"),
        ("http://127.0.0.1:9000/b", "127.0.0.1:9000"),
        ("https://[::1]:9000/b", "[::1]:9000"),
        ("https://[::1]/b", "[::1]"),
    ],
)
def test_the_host_is_signed_as_the_client_writes_it(url, host):
    assert host_of(url) == host


def answer(body, status=400, *headers):
    return Response(status, headers, body, (), 0.0)


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (b'{"__type":"ThrottlingException"}', "ThrottlingException", Reason.THROTTLED),
        (b'{"__type":"com.amazon#Throttling:http://x"}', "Throttling", Reason.THROTTLED),
        (b"<Error><Code>SlowDown</Code></Error>", "SlowDown", Reason.THROTTLED),
        (b'{"__type":"UnrecognizedClientException"}', "UnrecognizedClientException", Reason.AUTH),
        (b"<Error><Code>ExpiredToken</Code></Error>", "ExpiredToken", Reason.AUTH),
        (b"<Error><Code>RequestTimeTooSkewed</Code></Error>", "RequestTimeTooSkewed", Reason.AUTH),
        (b'{"__type":"InvalidParameterException"}', "InvalidParameterException", None),
        (b'{"__type":7}', "", None),
        (b"[]", "", None),
        (b"not at all", "", None),
        (b"", "", None),
    ],
)
def test_a_refusal_is_told_by_its_name(body, code, reason):
    assert error_code(answer(body)) == code
    assert refusal_reason(answer(body)) is reason


def test_the_name_may_be_in_a_header():
    told = answer(b"", 429, ("x-amzn-ErrorType", "TooManyRequestsException:http://x"))
    assert refusal_reason(told) is Reason.THROTTLED


def keys(**more):
    inline = {"access_key_id": "AKIA1", "secret_access_key": "very-secret", **more}
    return {name: Secret.inline(value) for name, value in inline.items()}


def test_no_key_is_printed_or_repeated():
    options = AwsAccess.model_validate({"keys": keys(session_token="tok/en")})
    said = options.redacted("no such key AKIA1 very-secret tok/en")
    assert said == "no such key *** *** ***"
    for text in (repr(options), str(options), repr(options.keys.reveal())):
        assert "very-secret" not in text
        assert "tok/en" not in text


def test_a_key_that_is_gone_is_an_error_and_hides_what_was_said(tmp_path):
    secret = tmp_path / "key"
    secret.write_text("s")
    given_keys = {
        "access_key_id": Secret.inline("A"),
        "secret_access_key": Secret.from_file(secret),
    }
    options = AwsAccess.model_validate({"keys": given_keys})
    secret.unlink()
    with pytest.raises(CoalmineError):
        options.signed("s3", Outgoing("GET", "http://a/"), NOW)
    assert options.redacted("anything") == ""


def test_without_keys_nothing_is_signed_and_both_ways_in_are_an_error():
    assert AwsAccess.model_validate({}).signed("s3", Outgoing("GET", "http://a/"), NOW) == {}
    both = {"keys": keys(), "auth": {"bearer": Secret.inline("t")}}
    with pytest.raises(ValidationError, match="either keys"):
        AwsAccess.model_validate(both)
