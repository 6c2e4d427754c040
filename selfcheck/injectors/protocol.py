"""The seam of an injector."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

from core.kinds import FactSpec, Parts, Registry
from core.options import Options
from core.reason import Reason
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Receipt, Sent, Signal


class Injector(ABC):
    """Sends one canary under its own deadline; not by an SDK, but for the kind that tests one.

    unstamped: signals whose records somebody else stamps (a scraper, an SDK): their samples are
    known by a value that no other start of the service repeats. says: what each word of a receipt
    stands on, for the docs. source: pages that was read from. proved: receivers tried, with
    versions.
    """

    options_model: ClassVar[type[Options]]
    reasons: ClassVar[frozenset[Reason]]
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    signals: ClassVar[frozenset[Signal]]
    unstamped: ClassVar[frozenset[Signal]] = frozenset()
    says: ClassVar[Mapping[Sent, str]]
    source: ClassVar[str]
    proved: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> Self:
        """`rule` is the declaration of the backend named by `to:`, None for any other receiver."""

    @classmethod
    def least_deadline_s(cls, options: Options) -> float:
        """Seconds that sending takes by design; a shorter injection deadline is a mistake."""
        del options
        return 0.0

    @abstractmethod
    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        """All tries within `deadline_s`. The network's doings are receipts, not exceptions."""

    @property
    def skew_s(self) -> float | None:
        """Seconds that the receiver's clock is at least ahead of ours, as `Backend.skew_s`."""
        return None

    async def close(self) -> None:
        """Release what `build` took."""


INJECTORS = Registry[Injector](
    "injector",
    {
        "otlp_http": "selfcheck.injectors.otlp_http:OtlpHttpInjector",
        "otlp_grpc": "selfcheck.injectors.otlp_grpc:OtlpGrpcInjector",
        "sdk": "selfcheck.injectors.sdk:SdkInjector",
        "loki_push": "selfcheck.injectors.loki_push:LokiPushInjector",
        "remote_write": "selfcheck.injectors.remote_write:RemoteWriteInjector",
        "zipkin": "selfcheck.injectors.zipkin:ZipkinInjector",
        "file": "selfcheck.injectors.file:FileInjector",
        "scrape": "selfcheck.injectors.scrape:ScrapeInjector",
        "pushgateway": "selfcheck.injectors.pushgateway:PushgatewayInjector",
        "clickhouse": "selfcheck.injectors.clickhouse:ClickhouseInjector",
        "s3": "selfcheck.injectors.s3:S3Injector",
        "cloudwatch_logs": "selfcheck.injectors.cloudwatch_logs:CloudwatchLogsInjector",
        "xray": "selfcheck.injectors.xray:XrayInjector",
    },
)
