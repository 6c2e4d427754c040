"""What cannot be a request is refused when the config is read."""

import pytest
from pydantic import ValidationError

from probes.http.options import HttpOptions

URL = "https://shop.example/"


def problem(**given) -> str:
    with pytest.raises(ValidationError) as caught:
        HttpOptions.model_validate({"url": URL, **given})
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "shop.example",
        "//shop.example/",
        "file:///etc/passwd",
        "gopher://shop.example/",
        "javascript:alert(1)",
        "http://shop.example/\r\nX: y",
        "http://shop.example/a b",
        "http://user:pass@shop.example/",
        "http:///path",
    ],
)
def test_input_20_a_url_that_is_none_is_refused(url: str) -> None:
    assert "url" in problem(url=url)


def test_input_20_a_refused_url_is_not_repeated_with_its_password() -> None:
    assert "hunter2" not in problem(url="http://user:hunter2@shop.example/")


def test_input_23_an_international_host_is_shown_as_it_goes_on_the_wire() -> None:
    assert (
        HttpOptions(url="http://bücher.example:8080/x").url == "http://xn--bcher-kva.example:8080/x"
    )
    problem(url=f"http://{'a.' * 130}example/")


@pytest.mark.parametrize("port", ["0", "65536", "25", "22", "x"])
def test_input_24_ports_that_cannot_be_meant_are_refused(port: str) -> None:
    problem(url=f"http://shop.example:{port}/")


@pytest.mark.parametrize(
    "headers",
    [
        {"X A": "b"},
        {"X\n": "b"},
        {"": "b"},
        {"X": "a\r\nY: b"},
        {"X": "☃"},
        {"Host": "a", "host": "b"},
    ],
)
def test_input_25_headers_that_http_forbids_are_refused(headers) -> None:
    assert "header" in problem(headers=headers)


def test_input_26_method_and_body_are_bounded() -> None:
    problem(method="GET\r\nX")
    problem(method="")
    problem(body="x" * ((1 << 20) + 1))
    assert HttpOptions.model_validate({"url": URL, "method": "get", "body": "x"}).method == "GET"


def test_input_27_an_expression_that_re2_cannot_run_is_refused() -> None:
    assert "RE2" in problem(expect={"body_matches": "(?=x)"})
    assert "RE2" in problem(expect={"body_matches": "("})


@pytest.mark.parametrize("path", ["$..[", "$.a[", "", "]"])
def test_input_28_a_json_path_that_cannot_be_read_is_refused(path: str) -> None:
    problem(expect={"json": [{"path": path}]})


def test_input_29_a_condition_that_cannot_fail_is_refused() -> None:
    problem(expect={"body_contains": ""})
    problem(expect={"status": 999})


def test_input_05_an_unknown_key_is_refused() -> None:
    assert "statuss" in problem(expect={"statuss": 200})
