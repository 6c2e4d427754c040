"""Plug-in kinds: a registry maps a kind's name to `module:Class`, imported when first used."""

import difflib
import importlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, Self, TypeVar, cast

from core.clock import Clock
from core.egress import Egress
from core.errors import CoalmineError
from core.options import Options
from core.reason import Reason

if TYPE_CHECKING:
    from core.outbound.protocol import Outbound


K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a kind may use, made once in wiring: nothing is reached through globals."""

    outbound: "Outbound"
    clock: Clock
    rng: random.Random
    artifacts: Path
    base_dir: Path
    instance: str
    namespace: str
    egress: Egress = field(default_factory=lambda: Egress(()))


@dataclass(frozen=True, slots=True)
class FactSpec:
    """One fact a kind can yield: base unit, help, and blackbox_exporter's name where it has one."""

    name: str
    unit: str
    help: str
    alias: str = ""


class Kind(Protocol):
    """What every plug-in kind declares; config errors, schema, metrics and docs come from it."""

    options_model: ClassVar[type[Options]]
    reasons: ClassVar[frozenset[Reason]]
    facts: ClassVar[tuple[FactSpec, ...]]
    needs: ClassVar[tuple[str, ...]]

    @classmethod
    def build(cls, options: Options, parts: Parts) -> Self:
        """An instance for `options`. Raises CoalmineError when a need is missing."""
        ...

    async def close(self) -> None:
        """Release what `build` took."""
        ...


class UnknownKindError(CoalmineError):
    """No such kind; `nearest` is the best guess or empty."""

    def __init__(self, seam: str, kind: str, known: tuple[str, ...]) -> None:
        """`known` are the kinds of this seam."""
        close = difflib.get_close_matches(kind, known, n=1)
        self.nearest = close[0] if close else ""
        hint = f"did you mean {self.nearest}?" if self.nearest else f"known: {', '.join(known)}"
        super().__init__(f"unknown {seam} kind {kind!r}: {hint}")


# No slots: `Registry[X](...)` sets `__orig_class__`, which a frozen slotted class refuses wrongly.
@dataclass(frozen=True)
class Registry(Generic[K]):
    """The kinds of one seam. A new kind is one line in `entries` and one file."""

    seam: str
    entries: Mapping[str, str]

    def load(self, kind: str) -> type[K]:
        """The class behind `kind`. Raises UnknownKindError."""
        if kind not in self.entries:
            raise UnknownKindError(self.seam, kind, tuple(sorted(self.entries)))
        module, _, name = self.entries[kind].partition(":")
        return cast("type[K]", getattr(importlib.import_module(module), name))
