"""The seam of an injector."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from core.kinds import FactSpec, Parts, Registry
from core.options import Options
from core.reason import Reason
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Receipt, Signal


class Injector(ABC):
    """Sends one canary under its own deadline; never through an SDK pipeline."""

    options_model: ClassVar[type[Options]]
    reasons: ClassVar[frozenset[Reason]]
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    signals: ClassVar[frozenset[Signal]]

    @classmethod
    @abstractmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> Self:
        """`rule` is the declaration of the backend named by `to:`, None for any other receiver."""

    @abstractmethod
    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        """All tries within `deadline_s`. The network's doings are receipts, not exceptions."""

    async def close(self) -> None:
        """Release what `build` took."""


INJECTORS = Registry[Injector](
    "injector",
    {
        "otlp_http": "selfcheck.injectors.otlp_http:OtlpHttpInjector",
    },
)
