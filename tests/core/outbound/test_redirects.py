"""What a redirect may carry, and where to."""

import pytest

from core.outbound.classify import Fault
from core.outbound.protocol import Request, Tls
from core.outbound.redirects import next_request, origin_of

HEADERS = (("X-Api-Key", "s3cret"), ("Accept", "*/*"), ("Content-Type", "text/plain"))


def request(method: str = "GET", body: bytes = b"", **more) -> Request:
    return Request(method, "https://a.example/x", 5.0, HEADERS, body, max_redirects=5, **more)


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (302, "DELETE", "DELETE"),
    ],
)
def test_the_method_follows_the_specification(status: int, method: str, expected: str) -> None:
    following = next_request(request(method), status, "/y")
    assert isinstance(following, Request)
    assert (following.method, following.url) == (expected, "https://a.example/y")
    assert following.literal


@pytest.mark.parametrize(
    "where", ["https://b.example/", "http://a.example/", "https://a.example:8443/"]
)
def test_another_origin_gets_no_secret_no_certificate_and_no_grant(where: str, tmp_path) -> None:
    tls = Tls(cert_file=tmp_path / "c", key_file=tmp_path / "k", ca_file=tmp_path / "ca")
    following = next_request(request(tls=tls), 302, where)
    assert isinstance(following, Request)
    assert following.headers == (("Accept", "*/*"),)
    assert following.tls == Tls(ca_file=tmp_path / "ca")
    assert not following.literal


def test_a_body_is_never_carried_to_another_origin() -> None:
    assert isinstance(next_request(request("POST", b"x"), 307, "https://b.example/"), Fault)
    same = next_request(request("POST", b"x"), 307, "https://a.example:443/y")
    assert isinstance(same, Request)
    assert same.body == b"x"


def test_what_is_no_redirect_is_the_answer() -> None:
    assert next_request(request(), 200, "/y") is None
    assert next_request(request(), 302, None) is None
    assert next_request(request(), 304, "/y") is None


@pytest.mark.parametrize("url", ["ftp://a/", "http://", "http://u@a/", "/x", "http://a:99999/"])
def test_an_origin_is_only_what_can_be_connected_to(url: str) -> None:
    with pytest.raises(ValueError):
        origin_of(url)
