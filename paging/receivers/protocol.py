"""The seam of a receiver."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from core.clock import Clock
from core.kinds import Registry
from core.options import Options
from paging.model import Delivery, Page


@dataclass(frozen=True, slots=True)
class ReceiverParts:
    """What a receiver may use: nothing of it is shared with probing."""

    clock: Clock
    namespace: str


class Receiver(ABC):
    """Delivers pages to one service.

    targets: one outbox row each (Alertmanager: every peer); `provider` tells two receivers of
    one provider (same kind and host) apart from two that fail independently.
    rate_per_minute: requests the service takes per key and minute, None when it names no limit.
    """

    options_model: ClassVar[type[Options]]
    republish_every_s: ClassVar[float | None] = None
    rate_per_minute: ClassVar[float | None] = None
    targets: tuple[str, ...]
    provider: str

    @classmethod
    @abstractmethod
    def build(cls, options: Options, parts: ReceiverParts) -> Self:
        """An instance for `options`; made inside the paging loop."""

    @abstractmethod
    async def deliver(self, page: Page, target: str, thread: str, deadline_s: float) -> Delivery:
        """Send once. Every doing of the network is a Delivery, never an exception."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of address and secret: tells a re-keyed receiver apart; never the secret."""

    async def close(self) -> None:
        """Release what `build` took."""


RECEIVERS = Registry[Receiver](
    "receiver",
    {
        "webhook": "paging.receivers.webhook:WebhookReceiver",
        "pagerduty": "paging.receivers.pagerduty:PagerDutyReceiver",
        "alertmanager": "paging.receivers.alertmanager:AlertmanagerReceiver",
    },
)
