"""pushgateway: the newest sample of a route, put under a group of its own on a Pushgateway.

The gateway refuses stamps and the scraper's clock stamps what it finds, so the value is the proof.
A put replaces the whole group, hence one group a route.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar
from urllib.parse import quote

from pydantic import Field

from core.options import Options
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Sent, Signal
from selfcheck.injectors.exposition import CONTENT_TYPE, labels_of, page
from selfcheck.injectors.plain import PlainInjector
from selfcheck.injectors.posting import Parcel, PostingOptions

PATH = "/metrics"


class PushgatewayOptions(PostingOptions):
    """What may be written under `inject: {kind: pushgateway}`."""

    job: Annotated[
        str, Field(description="Group's `job`; empty takes the canaries' service name.")
    ] = ""
    instance: Annotated[
        str, Field(description="Group's `instance`; empty takes the name of this installation.")
    ] = ""


@dataclass(frozen=True, slots=True)
class PushgatewayInjector(PlainInjector):
    """Puts canaries on a Pushgateway."""

    options_model: ClassVar[type[Options]] = PushgatewayOptions
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    unstamped: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "200 or 202: the gateway shows the sample, whether or not it is scraped",
        Sent.REJECTED: "no connection, another status",
        Sent.MAYBE: "a connection stood and no complete answer came",
    }
    source: ClassVar[str] = "github.com/prometheus/pushgateway README, 'API', 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("Pushgateway 1.5.1, scraped by Prometheus 2.42",)
    other_receiver: ClassVar[WriteRule] = WriteRule(
        "",
        {Signal.METRICS: PATH},
        frozenset({int(HTTPStatus.OK), int(HTTPStatus.ACCEPTED)}),
        empty_body=True,
    )

    options: PushgatewayOptions

    def path(self, canary: Canary) -> str | None:
        """The route's group below the gateway's path: constant, so that each put replaces it."""
        base = self.rule.paths.get(canary.signal)
        return None if base is None else base + group_path(self._group(canary))

    def parcel(self, canary: Canary) -> Parcel:
        """The group's whole content: one gauge."""
        body = page([(labels_of(canary), canary.value, None)])
        return Parcel(body, (("Content-Type", CONTENT_TYPE),), method="PUT")

    def _group(self, canary: Canary) -> dict[str, str]:
        return {
            "job": self.options.job or canary.service_name,
            "instance": self.options.instance or canary.service_instance,
            "coalmine_route": canary.key.route,
        }


def group_path(group: Mapping[str, str]) -> str:
    """Path of a group, which begins with `job`: names and values in turn."""
    return "".join(f"/{name}{_segment(value)}" for name, value in group.items())


def _segment(value: str) -> str:
    # A slash, even escaped, would end the value; the gateway takes base64 for that, "=" for none.
    if re.fullmatch(r"[^/]+", value) and value not in {".", ".."}:
        return f"/{quote(value, safe='')}"
    return f"@base64/{base64.urlsafe_b64encode(value.encode()).decode() or '='}"
