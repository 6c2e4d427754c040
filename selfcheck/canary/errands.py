"""Which reads are due for a route, and in which order: the plan that `cycle` carries out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.clock import Instant
from selfcheck.backends.protocol import AccessPath
from selfcheck.canary.book import RouteBook
from selfcheck.canary.fitting import ReadSize
from selfcheck.canary.judge import UNDECIDED, past_deadline
from selfcheck.canary.looks import Looks
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome
from selfcheck.canary.paths import AccessPaths, Sample
from selfcheck.canary.turns import in_turn

# One read in so many is for what is not on its way any more, however much is.
_BEHIND_EVERY = 4


@dataclass(frozen=True, slots=True)
class Errand:
    """One read: these canaries by this path. sample: set when it only judges the path.

    due_s: boot seconds from which it has been due.
    """

    path: AccessPath
    keys: tuple[CanaryKey, ...]
    due_s: float
    sample: Sample | None = None


class Errands:
    """What a route would read now, were there reads enough."""

    def __init__(
        self, book: RouteBook, looks: Looks, paths: AccessPaths, size: ReadSize, row_limit: int
    ) -> None:
        """`row_limit`: how many canaries the backend answers for in one read."""
        self._book, self._looks, self._paths = book, looks, paths
        self._size, self._row_limit = size, row_limit
        self._taken = 0

    def taken(self) -> None:
        """One of them was carried out."""
        self._taken += 1

    def due(self, now: Instant) -> Iterator[Errand]:
        """Reads that are due: confirming ones, first and further looks, access path samples."""
        due = [self._book.get(key) for key in self._looks.due(now.boot_s)]
        if not due and not self._paths.samples:
            return iter(())
        confirming = [row for row in due if self._to_confirm(row, now)]
        apart = {row.canary.key for row in confirming}
        others = [row for row in due if row.canary.key not in apart]
        lead = self._path_for(others)
        if others and lead.batched:
            others += self._joining({row.canary.key for row in due}, now)
        looks = [*self._confirmations(confirming, now), *self.batches(lead, others, now)]
        return self._in_turn(looks, now)

    def _path_for(self, rows: Sequence[LedgerRow]) -> AccessPath:
        """The path to look by. Where each look is by another, no delay could be told of any."""
        shared = self._paths.for_many()
        asked = {look.path for row in rows if (look := self._book.polled(row.canary.key))}
        return shared if len(rows) > 1 or shared.name in asked else self._paths.lead()

    def batches(
        self, path: AccessPath, rows: Sequence[LedgerRow], now: Instant
    ) -> Iterator[Errand]:
        """Reads of `rows` by `path`, as many in each as it can answer for."""
        limit = min(self._size.most(now.boot_s), self._row_limit)
        size = max(1, limit) if path.batched else 1
        keys = sorted(row.canary.key for row in rows)
        left = [row.canary.key for row in rows if row.outcome is not Outcome.PENDING]
        groups = [keys]
        if len(keys) > size:
            # They cannot share a read: the newest must not wait behind what may never arrive.
            groups = [sorted(set(keys) - set(left)), sorted(left, key=self._looks.turn)]
        for group in groups:
            for start in range(0, len(group), size):
                some = tuple(group[start : start + size])
                yield Errand(path, some, min(map(self._looks.turn, some))[0])

    def _joining(self, known: set[CanaryKey], now: Instant) -> list[LedgerRow]:
        """A read costs the same for one canary as for all that are on their way."""
        return [
            row
            for row in self._book.pending()
            if row.canary.key not in known and self._looks.may_join(row.canary.key, now.boot_s)
        ]

    def _in_turn(self, errands: Sequence[Errand], now: Instant) -> Iterator[Errand]:
        """What is on its way first, as the newest make the verdict, but never it alone.

        Of the rest what has been due longest comes first: what never arrived is looked for again
        and again, and would otherwise keep what did arrive from ever being found.
        """
        ahead = [one for one in errands if self._is_on_its_way(one)]
        behind = [one for one in errands if not self._is_on_its_way(one)]
        behind += [
            Errand(one.path, (one.key,), one.at_s, one)
            for one in self._paths.samples
            if one.at_s <= now.boot_s
        ]
        behind.sort(key=lambda one: one.due_s)
        return in_turn(ahead, behind, self._taken, _BEHIND_EVERY)

    def _is_on_its_way(self, errand: Errand) -> bool:
        return any(self._book.get(key).outcome is Outcome.PENDING for key in errand.keys)

    def _to_confirm(self, row: LedgerRow, now: Instant) -> bool:
        other = self._paths.other(row.empty_path)
        if other is None or row.outcome not in UNDECIDED or row.empty_read is None:
            return False
        # A path that cannot be read must not keep the other one from being asked.
        failed = self._paths.last_failed(row.canary.key) == other.name
        return past_deadline(row, now) and not failed

    def _confirmations(self, rows: Sequence[LedgerRow], now: Instant) -> Iterator[Errand]:
        for path in self._paths.all:
            mine = [row for row in rows if self._paths.other(row.empty_path) is path]
            yield from self.batches(path, mine, now)
