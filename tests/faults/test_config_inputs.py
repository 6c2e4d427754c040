"""Bad input to the config: every row is an error at its place, never a guess."""

import codecs

import pytest

from coalmine.config.load import load_config
from coalmine.config.source import MAX_BYTES
from core.errors import ConfigError, Problem
from tests.support.config_kinds import CHECK, HEAD, register, write


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    register(monkeypatch)


@pytest.fixture
def refuse(tmp_path):
    """The problems of a config, which must have some."""

    def run(text, env=None) -> tuple[Problem, ...]:
        with pytest.raises(ConfigError) as caught:
            load_config(write(tmp_path, text), env or {})
        return caught.value.problems

    return run


@pytest.fixture
def accept(tmp_path):
    def run(text, env=None):
        return load_config(write(tmp_path, text), env or {})

    return run


def check(more):
    return f"{HEAD}checks:\n- {{name: shop, probe: fake, url: 'http://127.0.0.1/', {more}}}\n"


def only(problems, key, *words):
    """The one problem at `key`; it must hold every word."""
    [problem] = problems
    assert problem.key == key, problem
    for word in words:
        assert word in str(problem)
    return problem


def test_input_01_a_duplicate_key_is_told_with_both_lines(refuse):
    problem = only(refuse(HEAD + CHECK + "namespace: other\n"), "namespace", "line 2")
    assert (problem.line, problem.column) == (5, 1)


@pytest.mark.parametrize("word", ["no", "yes", "on", "Off", "NO", "y"])
def test_input_02_an_unquoted_no_is_refused_where_text_is_expected(refuse, accept, word):
    text = check(f"every: 30s, country: {word}")
    only(refuse(text), "checks[0].country", f'"{word}"')
    quoted = accept(check(f"every: 30s, country: '{word}'"))
    assert quoted.checks[0].options.country == word


def test_input_02_an_unquoted_no_is_false_in_a_boolean_and_a_word_in_a_choice(accept):
    options = accept(check("every: 30s, follow: no, mode: off")).checks[0].options
    assert (options.follow, options.mode) == (False, "off")


@pytest.mark.parametrize("value", ["1:30", "30", "0777", "1.10", "1e3"])
def test_input_03_a_duration_needs_its_unit(refuse, value):
    only(refuse(check(f"every: {value}")), "checks[0].every", "unit")


@pytest.mark.parametrize(
    ("written", "value"), [("0777", 777), ("0o777", 511), ("0x1F", 31), ("+7", 7)]
)
def test_input_03_integers_are_those_of_yaml_1_2(accept, written, value):
    assert accept(check(f"every: 30s, port: {written}")).checks[0].options.port == value


def test_input_03_a_number_is_not_text(refuse):
    only(refuse(check("every: 30s, country: 1.10")), "checks[0].country", '"1.1"')


def test_input_04_a_bare_date_stays_text(accept):
    options = accept(check("every: 30s, country: 2024-01-01")).checks[0].options
    assert options.country == "2024-01-01"


def test_input_05_an_unknown_key_is_told_with_the_nearest(refuse):
    problems = refuse(HEAD + CHECK.replace("every", "everi"))
    by_key = {problem.key: problem for problem in problems}
    assert by_key["checks[0].everi"].remedy == "did you mean every?"
    only(refuse(check("every: 30s, contry: de")), "checks[0].contry", "did you mean country?")


def test_input_06_an_alias_bomb_is_refused_before_it_is_expanded(refuse):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    [problem] = refuse("\n".join(lines))
    assert "aliases" in problem.message


def test_input_06_an_alias_that_contains_itself_is_refused(refuse):
    [problem] = refuse("a: &a [*a]\n")
    assert "contains itself" in problem.message


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!str", "!include"])
def test_input_07_tags_are_refused(refuse, tag):
    problem = only(refuse(f"{HEAD}instance: {tag} x\n"), "instance", "refused")
    assert problem.line == 3


def test_input_08_deep_nesting_is_refused(refuse):
    [problem] = refuse("a: " + "[" * 5000)
    assert "64 levels" in problem.message


def test_input_08_aliases_cannot_hide_the_depth(refuse):
    deep = "[" * 40 + "]" * 40
    [problem] = refuse(f"a: &a {deep}\nb: {'[' * 40}*a{']' * 40}\n")
    assert "64 levels" in problem.message


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 500, "1e999", ".nan", "-.inf"])
def test_input_09_numbers_out_of_range_are_refused(refuse, number):
    only(refuse(f"{HEAD}instance: {number}\n"), "instance")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("# only a comment\n\n", "empty"),
        ("---\n...\n", "empty"),
        ("- a\n- b\n", "mapping"),
        ("just text", "mapping"),
        ("coalmine: 1\n---\ncoalmine: 1\n", "second document"),
    ],
)
def test_input_10_a_file_that_is_no_single_mapping_is_refused(refuse, text, word):
    [problem] = refuse(text)
    assert word in problem.message


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ((HEAD + CHECK).encode("utf-16"), "UTF-16 at byte offset 0"),
        (b"ab: \xff\n", "invalid UTF-8 at byte offset 4"),
        (b"a: b\0\n", "control character U+0000 at byte offset 4"),
        ("ä:\n\tb: 1\n".encode(), "tab at byte offset 4"),
    ],
)
def test_input_11_bytes_that_are_no_text_are_told_with_their_offset(refuse, raw, word):
    [problem] = refuse(raw)
    assert problem.message == word


def test_input_11_a_byte_order_mark_and_crlf_are_accepted(accept):
    text = codecs.BOM_UTF8 + (HEAD + CHECK).replace("\n", "\r\n").encode()
    config = accept(text)
    assert config.checks[0].at.line == 4


def test_input_12_a_huge_file_is_refused_unread_by_the_parser(refuse):
    [problem] = refuse(b"a: " + b"x" * MAX_BYTES)
    assert str(MAX_BYTES) in problem.message


def test_input_12_a_world_writable_file_is_warned_of(tmp_path):
    path = write(tmp_path, HEAD + CHECK)
    path.chmod(0o666)
    messages = [warning.message for warning in load_config(path, {}).warnings]
    assert "everyone on this machine may write this file" in messages


@pytest.mark.parametrize("env", [{}, {"SHOP_TOKEN": ""}])
def test_input_13_a_missing_or_empty_variable_is_told_by_name_only(refuse, env):
    text = check("every: 30s, token: 'env:SHOP_TOKEN'")
    only(refuse(text, env), "checks[0].token", "SHOP_TOKEN")


def test_input_13_a_secret_file_is_looked_for_beside_the_config_and_trimmed(
    refuse, accept, tmp_path
):
    text = check("every: 30s, token_file: shop-token")
    only(refuse(text), "checks[0].token_file", "shop-token", "No such file")
    (tmp_path / "shop-token").write_text("")
    only(refuse(text), "checks[0].token_file", "empty")
    (tmp_path / "shop-token").write_text("hush\r\n")
    assert accept(text).checks[0].options.token.reveal() == "hush"


def test_input_13_a_missing_secret_hides_no_other_mistake(refuse):
    problems = refuse(check("every: 30s, token: 'env:NONE', port: 0"))
    assert [problem.key for problem in problems] == ["checks[0].token", "checks[0].port"]


def test_input_14_a_secret_written_inline_is_warned_of_and_not_repeated(accept):
    config = accept(check("every: 30s, token: hush-hush"))
    [warning] = [each for each in config.warnings if each.key == "checks[0]"]
    assert "inline" in warning.message
    assert "hush-hush" not in repr(config)


@pytest.mark.parametrize(
    "value", ["0s", "-5s", "1ms", "3650d", "NaN", "inf", ".nan", "0", "25h", "''", "10 s", "1e3s"]
)
def test_input_15_an_interval_out_of_range_is_refused(refuse, value):
    only(refuse(check(f"every: {value}")), "checks[0].every")


@pytest.mark.parametrize("timeout", ["30s", "31s"])
def test_input_16_a_timeout_must_be_shorter_than_the_interval(refuse, timeout):
    only(refuse(check(f"every: 30s, timeout: {timeout}")), "checks[0].timeout", "shorter")


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "* * * *",
        "*/0 * * * *",
        "60 * * * *",
        "0 0 30 2 *",
        "0 0 31 4,6 *",
        "a b c d e",
        "5-1 * * * *",
    ],
)
def test_input_17_a_cron_rule_that_is_wrong_or_never_due_is_refused(refuse, rule):
    [problem] = refuse(check(f"cron: '{rule}'"))
    assert problem.key == ("checks[0].cron" if rule else "checks[0]")


def test_input_17_a_leap_day_is_due_one_day(accept):
    assert accept(check("cron: '0 0 29 2 *'")).checks[0].cron == "0 0 29 2 *"


def test_input_18_an_unknown_time_zone_is_told_with_the_nearest(refuse):
    text = check("cron: '0 3 * * *', zone: Europe/Berlim")
    only(refuse(text), "checks[0].zone", "did you mean Europe/Berlin?")


@pytest.mark.parametrize(
    "name", ["a/b", "'🐤'", "x" * 300, "'   '", "Shop", "-a", "''", "a\u200bb"]
)
def test_input_19_a_name_that_is_no_slug_is_refused(refuse, name):
    text = f"{HEAD}checks:\n- {{name: {name}, probe: fake, url: u, every: 30s}}\n"
    only(refuse(text), "checks[0].name", "title:")


def test_input_19_a_duplicate_name_is_told_with_the_first_line(refuse):
    text = HEAD + CHECK + "- {name: shop, probe: fake, url: u, every: 30s}\n"
    only(refuse(text), "checks[1].name", "line 4")


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_input_24_a_port_outside_its_range_is_refused(refuse, port):
    only(refuse(f"{HEAD}api: {{listen: '127.0.0.1:{port}'}}\n{CHECK}"), "api.listen")
