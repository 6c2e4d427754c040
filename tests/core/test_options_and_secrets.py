"""What may be written under a kind: durations, sizes, secrets; and where kinds are found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import CoalmineError
from core.kinds import Registry, UnknownKindError
from core.options import (
    Duration,
    Options,
    SecretField,
    Size,
    parse_duration,
    parse_size,
    secret_fields,
)
from core.secrets import Secret


class Sample(Options):
    every: Duration = 10.0
    size: Size = 1024
    token: SecretField | None = None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("500ms", 0.5), ("1h30m", 5400), ("1.5m", 90), ("2d", 172800), ("1w", 604800)],
)
def test_a_duration_is_read_with_its_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "10 s",
        "-5s",
        "10S",
        "1e3s",
        "0s",
        "367d",
        "10s ",
        "1h-5m",
        "\u0663s",
        3,
        1.5,
        None,
    ],
)
def test_input_a_duration_without_unit_or_sense_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(1, 1000), st.sampled_from(["ms", "s", "m", "h"]))
def test_every_whole_number_with_a_unit_is_a_duration(number, unit):
    assert parse_duration(f"{number}{unit}") == pytest.approx(
        number * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]
    )


@pytest.mark.parametrize(
    ("text", "size"), [("512KiB", 524288), ("1MB", 1_000_000), ("2 GiB", 2**31), ("7B", 7)]
)
def test_a_size_is_read_with_its_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "10", "1.5MB", "1mb", "-1MB", "1 000MB", "\u0663B", 3, None])
def test_input_a_size_without_unit_or_sense_is_refused(text):
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


def test_a_bare_number_is_fine_in_code_and_refused_in_a_file():
    assert Sample(every=5.0, size=7).every == 5.0
    for value in ({"every": 5.0}, {"size": 7}):
        with pytest.raises(ValidationError):
            Sample.model_validate(value, context={"from_file": True})


def test_an_unknown_key_is_refused_and_an_error_never_shows_the_input():
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate({"evry": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_secret_fields_are_known_by_their_type():
    assert secret_fields(Sample) == ("token",)


def test_a_secret_comes_from_a_file_beside_the_config_and_is_read_at_each_use(tmp_path):
    file = tmp_path / "token"
    file.write_text("one\n")
    sample = Sample.model_validate({"token_file": "token"}, context={"base_dir": tmp_path})
    assert sample.token.reveal() == "one"
    file.write_text("two\r\n")
    assert sample.token.reveal() == "two"


def test_a_secret_comes_from_the_environment():
    context = {"env": {"TOKEN": "three"}}
    sample = Sample.model_validate({"token": "env:TOKEN"}, context=context)
    assert sample.token.reveal() == "three"
    assert sample.token.source == "env TOKEN"


def test_a_secret_written_out_is_taken_with_a_warning_that_does_not_show_it():
    warnings = []
    sample = Sample.model_validate({"token": "hunter2"}, context={"warnings": warnings})
    assert sample.token.reveal() == "hunter2"
    assert len(warnings) == 1
    assert "hunter2" not in warnings[0]


@pytest.mark.parametrize(
    "given",
    [
        {"token": "a", "token_file": "b"},
        {"token_file": "no-such-file"},
        {"token": "env:COALMINE_NOT_SET"},
        {"token": 7},
        {"token_file": None},
    ],
    ids=["both", "no-file", "no-variable", "number", "null"],
)
def test_input_a_secret_that_is_not_there_is_an_error_of_the_config(given, tmp_path):
    with pytest.raises(ValidationError):
        Sample.model_validate(given, context={"base_dir": tmp_path, "env": {}})


def test_a_secret_never_prints_itself():
    secret = Secret.inline("hunter2")
    sample = Sample(token=secret)
    for shown in (repr(secret), str(secret), f"{secret}", repr(sample), str(sample)):
        assert "hunter2" not in shown


def test_a_file_that_goes_away_or_is_empty_is_our_error_without_its_path(tmp_path):
    file = tmp_path / "token"
    file.write_text("\n")
    secret = Secret.from_file(file)
    with pytest.raises(CoalmineError, match="missing or empty"):
        secret.reveal()
    file.unlink()
    with pytest.raises(CoalmineError, match="secret file token"):
        secret.reveal()


def test_a_file_that_is_not_text_is_our_error(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CoalmineError, match="secret file token"):
        Secret.from_file(file).reveal()


def test_a_kind_is_imported_when_it_is_first_asked_for():
    registry = Registry[object]("thing", {"fraction": "fractions:Fraction", "bad": "no_such:X"})
    assert registry.load("fraction").__name__ == "Fraction"
    with pytest.raises(ModuleNotFoundError):
        registry.load("bad")


def test_an_unknown_kind_names_the_nearest_or_all():
    registry = Registry[object]("probe", {"http": "a:B", "dns": "a:C"})
    with pytest.raises(UnknownKindError, match="did you mean http") as caught:
        registry.load("htpp")
    assert caught.value.nearest == "http"
    with pytest.raises(UnknownKindError, match="known: dns, http"):
        registry.load("zzz")
