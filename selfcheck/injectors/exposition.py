"""A metrics canary in Prometheus' text format, for what is scraped and what is pushed. Pure."""

from collections.abc import Iterable, Mapping

from selfcheck.canary.model import Canary
from selfcheck.otlp import METRIC_NAME

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HEAD = (
    f"# HELP {METRIC_NAME} Sequence number of the newest canary of a route.\n"
    f"# TYPE {METRIC_NAME} gauge\n"
)
_MS = 1_000_000


def labels_of(canary: Canary) -> dict[str, str]:
    """Labels of the route's one series: its attributes, in the names that Prometheus makes of them.

    Without `job` and `instance`, which are the scraper's to give, or the group's.
    """
    return {name.replace(".", "_"): value for name, value in canary.attributes.items()}


def page(samples: Iterable[tuple[Mapping[str, str], float, int | None]]) -> bytes:
    """The whole page: samples as labels, value, and stamp in Unix ns (None leaves it out).

    Source: prometheus.io/docs "Exposition formats", 2026-11; a stamp is whole milliseconds.
    """
    return (_HEAD + "".join(_line(*sample) for sample in samples)).encode()


def _line(labels: Mapping[str, str], value: float, stamp_ns: int | None) -> str:
    written = ",".join(f'{name}="{_escaped(text)}"' for name, text in sorted(labels.items()))
    stamp = "" if stamp_ns is None else f" {stamp_ns // _MS}"
    return f"{METRIC_NAME}{{{written}}} {value!r}{stamp}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
