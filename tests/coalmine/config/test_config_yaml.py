"""The strict reader: values, places, and that whatever is fed to it ends in a node or an error."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalmine.config.cron import parse_cron
from coalmine.config.scalars import Doubtful, plain_scalar
from coalmine.config.source import decode
from coalmine.config.yaml import read_yaml, show
from core.errors import ConfigError


def plain(text):
    return read_yaml(text, "f").plain()


def test_values_are_those_of_the_core_schema():
    assert plain("a: [~, null, true, 1, -2.5, '3', 1e3, .5, abc, 2024-01-01, 1:30]") == {
        "a": [None, None, True, 1, -2.5, "3", 1000.0, 0.5, "abc", "2024-01-01", "1:30"]
    }


def test_an_alias_stands_for_what_it_names():
    assert plain("a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}


def test_every_entry_knows_the_place_of_its_key_and_value():
    node = read_yaml("a:\n  - b: 1\n    c: [x,\n      y]\n", "f").child("a").child(0).child("c")
    assert (node.key_line, node.key_column) == (3, 5)
    assert (node.child(1).line, node.child(1).column) == (4, 7)


def test_all_mistakes_that_leave_the_structure_readable_are_told():
    with pytest.raises(ConfigError) as caught:
        plain("a: 1\na: 2\nb: !x 1\nc: .inf\n")
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4]


def test_a_syntax_error_is_located():
    with pytest.raises(ConfigError) as caught:
        plain("a: 1\nb: [1, 2\nc: 3\n")
    assert caught.value.problems[0].line == 3


def test_a_key_that_is_no_text_is_refused():
    with pytest.raises(ConfigError, match="a key must be text"):
        plain("[a, b]: 1\n")


def test_a_pair_of_surrogates_is_one_character_and_a_half_is_refused():
    """Escaped as `json.dumps` does it."""
    assert plain(r'{"a": "\ud83d\ude00", "\ud800\udc00": 1}') == {"a": "😀", "𐀀": 1}
    with pytest.raises(ConfigError, match="half of a surrogate pair") as caught:
        plain('a:\n  - "x\\ud800"\n')
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (2, "a[0]")


def test_a_path_is_shown_as_people_write_it():
    assert show(("checks", 2, "expect", "status")) == "checks[2].expect.status"


def is_mapping_or_located(raw):
    try:
        return isinstance(read_yaml(decode(raw, "f"), "f").plain(), dict)
    except ConfigError as exc:
        return all(each.line >= 1 and each.column >= 1 for each in exc.problems)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_mapping_or_in_located_problems(raw):
    assert is_mapping_or_located(raw)


@given(st.text(max_size=80))
def test_any_text_ends_in_a_mapping_or_in_located_problems(text):
    assert is_mapping_or_located(text.encode())


@pytest.mark.parametrize("escape", ["\\UFFFFFFFF", "\\xZZ", "\\q"])
def test_an_escape_that_names_no_character_is_located(escape):
    with pytest.raises(ConfigError) as caught:
        plain(f'a: 1\nb: "{escape}"\n')
    assert caught.value.problems[0].line in {1, 2}


@given(st.text(alphabet="{}[]&*!:-,'\"\n #ab01?|>%@`\\U", max_size=60))
def test_any_punctuation_ends_in_a_mapping_or_in_located_problems(text):
    assert is_mapping_or_located(text.encode())


@given(st.text(max_size=12))
def test_a_plain_scalar_never_becomes_a_number_that_is_none(text):
    try:
        value = plain_scalar(text)
    except ValueError:
        return
    assert not isinstance(value, float) or math.isfinite(value)
    assert not isinstance(value, str) or value == text
    assert not isinstance(value, Doubtful) or value.text == text


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.integers(1, 28),
    st.integers(1, 12),
    st.integers(1, 5),
)
def test_a_cron_rule_of_fixed_fields_is_due_exactly_then(minute, hour, day, month, count):
    from datetime import datetime

    runs = parse_cron(f"{minute} {hour} {day} {month} *").next_runs(datetime(2025, 6, 1), count)
    assert len(runs) == count
    assert all((r.minute, r.hour, r.day, r.month) == (minute, hour, day, month) for r in runs)
    assert sorted(set(runs)) == list(runs)


def test_either_day_field_makes_a_day_due_when_both_are_restricted():
    from datetime import datetime

    runs = parse_cron("0 0 13 * fri").next_runs(datetime(2026, 2, 1), 5)
    assert [run.day for run in runs] == [6, 13, 20, 27, 6]
