"""Remote write 1.0 and 2.0 (prometheus.io/docs/specs/prw, 2026-11)."""

from collections.abc import Callable, Mapping

from core.outbound.protocol import Request
from core.reason import Reason
from selfcheck.canary.model import Signal
from selfcheck.injectors.remote_write import wire
from tests.contracts.injectors.dialect import Dialect, Said, Seen

HTML = (Said(200, b"<html>log in", {"Content-Type": "text/html"}), Reason.NOT_OTLP)
REDIRECT = (Said(302, b"", {"Location": "/login"}), Reason.NOT_OTLP)
QUEUED = (Said(202), Reason.NOT_OTLP)


def written(samples: object, exemplars: object = 1) -> Mapping[str, str]:
    """The headers by which version 2 counts."""
    head = "X-Prometheus-Remote-Write"
    return {
        f"{head}-Samples-Written": str(samples),
        f"{head}-Histograms-Written": "0",
        f"{head}-Exemplars-Written": str(exemplars),
    }


def _version_1(_signal: Signal, request: Request) -> Seen:
    (series,) = wire.decode(request.body, 1).timeseries
    (exemplar,) = series.exemplars
    return _seen(
        series,
        {one.name: one.value for one in series.labels},
        {one.name: one.value for one in exemplar.labels},
    )


def _version_2(_signal: Signal, request: Request) -> Seen:
    sent = wire.decode(request.body, 2)
    (series,) = sent.timeseries
    (exemplar,) = series.exemplars
    assert sent.symbols[0] == ""
    assert len(set(sent.symbols)) == len(sent.symbols)

    def named(refs) -> Mapping[str, str]:
        texts = [sent.symbols[ref] for ref in refs]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    return _seen(series, named(series.labels_refs), named(exemplar.labels_refs))


def _seen(series, labels: Mapping[str, str], exemplar: Mapping[str, str]) -> Seen:
    (sample,) = series.samples
    assert list(labels) == sorted(labels), "both versions demand sorted labels"
    return Seen(
        exemplar["canary_id"],
        sample.timestamp * 1_000_000,
        exemplar["trace_id"],
        value=sample.value,
        series=labels,
    )


def _dialect(version: int, yes: tuple[Said, ...], parse: Callable, **more) -> Dialect:
    return Dialect(
        "remote_write", {Signal.METRICS: yes}, parse=parse, options={"version": version}, **more
    )


DIALECTS = {
    "remote_write-1": _dialect(
        1,
        (Said(204), Said(200)),
        _version_1,
        no={"html": HTML, "redirect": REDIRECT, "202": QUEUED},
        remark=Said(200, b"use the other port"),
        whole="the whole request has one status",
    ),
    "remote_write-2": _dialect(
        2,
        (
            Said(204, b"", written(1)),
            Said(200, b"", written(1)),
            Said(400, b"out of order exemplar", written(1, 0)),
        ),
        _version_2,
        no={
            "html": HTML,
            "redirect": REDIRECT,
            "202": QUEUED,
            "knows_only_version_1": (Said(204), Reason.PARTIAL_SUCCESS),
            "not_a_count": (Said(204, b"", written("all")), Reason.PARTIAL_SUCCESS),
            "no_count": (Said(204, b"", written("-1")), Reason.PARTIAL_SUCCESS),
            "empty_count": (Said(204, b"", written("")), Reason.PARTIAL_SUCCESS),
        },
        partial=Said(200, b"line too long", written(0)),
    ),
}
