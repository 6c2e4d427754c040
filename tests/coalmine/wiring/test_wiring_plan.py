"""What a route's config becomes."""

from coalmine.config.load import load_config
from coalmine.wiring.plan import _spec

CONFIG = """coalmine: 1
namespace: prod
backends:
  loki: {kind: loki, url: "http://127.0.0.1:3100"}
routes:
  - {name: stated, signal: logs, inject: {kind: otlp_http, to: loki}, read: loki, slow_after: 8s}
  - {name: learned, signal: logs, inject: {kind: otlp_http, to: loki}, read: loki}
receivers:
  chat: {kind: webhook, url: "http://127.0.0.1:1/chat"}
pages:
  - {to: chat, allow_single: true}
"""


def test_a_stated_slowness_reaches_the_route(tmp_path):
    file = tmp_path / "coalmine.yaml"
    file.write_text(CONFIG)
    stated, learned = (_spec(one, "mark") for one in load_config(file, {}).routes)
    assert (stated.target_s, learned.target_s) == (8.0, None)
