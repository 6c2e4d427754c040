"""Which reads the waiting rechecks need now: as few as can be. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from core.clock import Instant
from selfcheck.backends.protocol import AccessPath
from selfcheck.canary.recheck.judge import RecheckBench, may_read
from selfcheck.canary.recheck.model import Recheck

# One read covers no wider span of stamps: all that lies between would be read too.
SPAN_NS = 3600 * 10**9
BATCH = 20


@dataclass(frozen=True, slots=True)
class Errand:
    """One read: these rechecks by this path."""

    path: AccessPath
    items: tuple[Recheck, ...]


def errands(
    items: Sequence[Recheck],
    paths: Sequence[AccessPath],
    limit: int,
    now: Instant,
    bench: RecheckBench,
) -> Iterator[Errand]:
    """Reads that can be made now: canaries of one age and nearly one time share one.

    limit: canaries that one read may ask for, where its path can answer for several.
    """
    ready = [(path_for(item, paths), item) for item in items]
    ready = [(path, item) for path, item in ready if may_read(item, path, now, bench)]
    ready.sort(key=lambda one: (one[0].name, one[1].age, one[1].canary.stamp_ns))
    for _, group in groupby(ready, key=lambda one: (one[0].name, one[1].age)):
        together = list(group)
        yield from _batches(together[0][0], [item for _, item in together], limit)


def path_for(item: Recheck, paths: Sequence[AccessPath]) -> AccessPath:
    """Each path is the first of some; after an absence it is another, after an error the next.

    What one denies of old would not be known by asking another that shows it. A digest chooses,
    so that restarts change nothing.
    """
    others = [path for path in paths if path.name != item.empty_path] or list(paths)
    return others[(item.canary.span_id[-1] + item.tries) % len(others)]


def _batches(path: AccessPath, items: Sequence[Recheck], limit: int) -> Iterator[Errand]:
    size = max(1, min(BATCH, limit)) if path.batched else 1
    batch: list[Recheck] = []
    for item in items:
        wide = batch and item.canary.stamp_ns - batch[0].canary.stamp_ns > SPAN_NS
        if wide or len(batch) == size:
            yield Errand(path, tuple(batch))
            batch = []
        batch.append(item)
    if batch:
        yield Errand(path, tuple(batch))
