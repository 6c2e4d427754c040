"""Whatever stands in the place of a value: the answer is a config or located problems."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coalmine.config.load import load_config
from coalmine.config.parsed import Config
from coalmine.config.yaml import read_yaml
from core.errors import ConfigError
from tests.support.config_kinds import register, write

BASE = """coalmine: 1
namespace: prod-eu
allow_empty: false
database: {url: "env:DB"}
api: {listen: "127.0.0.1:9470", token: "env:T"}
export: {prometheus: true, otlp: {url: "http://127.0.0.1:4318", headers: {a: b}}}
egress: {allow: [10.0.0.0/8, "*.example"]}
browser: {sandbox: auto, parallel: 2}
cost: {price_books: ["builtin:self-hosted"]}
paging: {group_wait: 10s}
heartbeats: {outbound: [{url: "env:H", every: 60s}]}
judging: {window: 6}
backends: {logs: {kind: fake, url: "http://127.0.0.1:3100"}}
hops: {gateway: {kind: fake, metrics: "http://127.0.0.1:8888/"}}
routes:
- {name: r, signal: logs, every: 10s, inject: {kind: fake, to: logs}, hops: [gateway], read: logs, judging: {window: 7}, expect_drop: {ratio: 0.1}}
checks:
- {name: shop, probe: fake, url: u, every: 30s, token: "env:T", headers: {a: b}}
- {name: cron, probe: fake, url: u, cron: "0 0 * * *", zone: Europe/Berlin}
sources: [{name: s, backend: logs, select: x, quiet_after: 5m, routes: [r]}]
receivers: {a: {kind: fake, url: "env:H"}, b: {kind: other, url: "env:H"}}
pages: [{match: {severity: critical, subject: "r*"}, to: a, fallback: b}, {to: a, fallback: b}]
"""
ENV = {"DB": "postgresql://127.0.0.1/x", "T": "t", "H": "http://127.0.0.1:1/"}
WORDS = st.sampled_from(
    ["no", "fake", "logs", "env:NONE", "env:T", "../x", "0s", "1e9", "[", "a/b"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | WORDS
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """All paths below the root of a plain value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for step, inner in entries:
        yield (*path, step)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, step))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


TREE = read_yaml(BASE, "base").plain()


@pytest.fixture(autouse=True, scope="module")
def _kinds():
    patch = pytest.MonkeyPatch()
    register(patch)
    yield
    patch.undo()


def judge(folder, text):
    try:
        return load_config(write(folder, text), ENV)
    except ConfigError as exc:
        return exc.problems


def test_the_base_itself_is_right(tmp_path):
    assert isinstance(judge(tmp_path, BASE), Config)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(places(TREE), key=str)), VALUES)
def test_any_value_in_any_place_gives_a_config_or_located_problems(path, value):
    with TemporaryDirectory() as folder:
        # JSON as json.dumps writes it is YAML 1.2.
        outcome = judge(Path(folder), json.dumps(replaced(TREE, path, value)))
    if not isinstance(outcome, Config):
        assert outcome
        assert all(problem.line >= 1 and problem.message for problem in outcome)
