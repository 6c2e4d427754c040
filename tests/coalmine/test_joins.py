"""Joins from the config to a verdict."""

import json
import os

import pytest

from coalmine.cli import main
from coalmine.config.load import load_config
from coalmine.demo.config import JUDGING
from core.errors import ConfigError
from tests.fakes.embedded_thread import embedded_stack

CONFIG = """\
coalmine: 1
namespace: tests
{judging}
backends:
  store: {{kind: embedded, url: "{url}"}}
routes:
  - {{name: logs, signal: logs, every: 2s, read: store, inject: {{kind: otlp_http, to: store}}}}
  - {{name: metrics, signal: metrics, every: 2s, read: store, inject: {{kind: otlp_http, to: store}}}}
  - {{name: traces, signal: traces, every: 2s, read: store, inject: {{kind: otlp_http, to: store}}}}
  - {{name: slow, signal: traces, every: 10s, read: store, inject: {{kind: otlp_http, to: store}}}}
joins:
  - {{name: log-to-trace, from: logs, to: traces, every: 5s}}
  - {{name: exemplar-to-trace, from: metrics, to: traces, every: 5s}}
receivers:
  pager: {{kind: webhook, url: "http://127.0.0.1:9/"}}
pages:
  - {{to: pager, allow_single: true}}
"""


def written(folder, url="http://127.0.0.1:9", old="", new=""):
    text = CONFIG.format(judging=JUDGING, url=url)
    assert old in text
    path = folder / "coalmine.yaml"
    path.write_text(text.replace(old, new) if old else text)
    return path


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("from: logs,", "from: traces,", "joins[0].from", "starts at logs or metrics"),
        ("from: logs, to: traces", "from: logs, to: metrics", "joins[0].to", "leads to traces"),
        ("from: logs, to: traces", "from: logs, to: slow", "joins[0]", "one every:"),
        ("from: logs,", "from: logz,", "joins[0].from", "did you mean logs?"),
        ("name: log-to-trace", "name: traces", "joins[0].name", "taken"),
        ("from: logs,", "fron: logs,", "joins[0].fron", "did you mean from?"),
    ],
)
def test_a_join_that_cannot_be_is_told_where_it_stands(tmp_path, old, new, key, words):
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, old=old, new=new), os.environ)
    told = {problem.key: str(problem) for problem in caught.value.problems}
    assert words in told[key]


@pytest.mark.slow
def test_joins_are_followed_by_verify_once_their_routes_are_judged(tmp_path, capsys):
    with embedded_stack(tmp_path) as stack:
        path = written(tmp_path, stack.store.url)
        code = main(["verify", "-c", str(path), "log-to-trace", "exemplar-to-trace", "--json"])
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert code == 0, (report, err)
    checks = {one["name"]: one["verdict"] for one in report["checks"]}
    assert checks == {"log-to-trace": "ok", "exemplar-to-trace": "ok"}
    assert {one["name"] for one in report["routes"]} == {"logs", "metrics", "traces"}
