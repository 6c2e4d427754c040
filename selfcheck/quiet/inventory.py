"""Many sources at once: a storm of silence is one event with a common attribute. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_STORM_COUNT, _STORM_SHARE, _STORM_WINDOW_S = 10, 0.2, 60.0
_COMMON_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Fallen:
    """A source that went quiet: when (seconds of one clock) and what is known of it."""

    source: str
    at_s: float
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Storm:
    """Sources that fell silent together. common: the attribute shared by most of them, or ""."""

    sources: tuple[str, ...]
    common: str


def storm(fallen: Sequence[Fallen], inventory_size: int) -> Storm | None:
    """The largest burst within one minute of more than ten sources or a fifth of the inventory.

    One source alone is no storm, however small the inventory. None when there is no burst.
    """
    ordered = sorted(fallen, key=lambda one: (one.at_s, one.source))
    bursts = [
        [two for two in ordered[index:] if two.at_s - one.at_s <= _STORM_WINDOW_S]
        for index, one in enumerate(ordered)
    ]
    largest = max(bursts, key=len, default=[])
    many = len(largest) > _STORM_COUNT or len(largest) > _STORM_SHARE * inventory_size
    if len(largest) < 2 or not many:
        return None
    return Storm(tuple(sorted(one.source for one in largest)), _common(largest))


def _common(fallen: Sequence[Fallen]) -> str:
    counts = Counter(pair for one in fallen for pair in one.attributes.items())
    shared = [pair for pair, count in counts.items() if count >= _COMMON_SHARE * len(fallen)]
    best = max(shared, key=lambda pair: (counts[pair], pair), default=None)
    return f"{best[0]}={best[1]}" if best else ""
