"""Each access path of a store judged on its own: one that works never hides one that does not."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from core.clock import Instant
from core.verdict import Verdict
from selfcheck.backends.protocol import AccessPath, Reading
from selfcheck.canary.compare import difference, records_of
from selfcheck.canary.judge import age_bounds_s, past_deadline
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import Brief
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome, Sighting
from selfcheck.canary.route import PathStatus
from selfcheck.canary.tally import UNREAD, Answer, PathTally

_SEEN = frozenset({Outcome.OK, Outcome.LATE, Outcome.ALTERED})
# A path is asked so often for a canary before it counts as refused: now and then a read fails.
_TRIES = 3
# A store whose newest reads begin to fail so many times fails people as well, though a later read
# finds every canary; it is well again once they are fewer than the last. One outage is one time,
# however long; one read in ten is ordinary.
_READS, _FAILURES, _MENDED = 100, 20, 12
_ALL_READ = (1 << _READS) - 1


@dataclass(frozen=True, slots=True)
class Sample:
    """A canary that `path` is asked for, only to judge the path; at_s: boot seconds.

    early: before anybody has seen it, so that a cache has an old answer that it could repeat.
    again: the path has shown it before. tries: reads that failed so far.
    """

    path: AccessPath
    key: CanaryKey
    at_s: float
    early: bool = False
    again: bool = False
    tries: int = 0


class AccessPaths:
    """The paths of a route's backend, cheapest first, with what each has shown so far.

    `all` are those whose answers are evidence; those that are watched for their own sake are only
    ever sampled: what counts only, with the others; what a cache may answer, in pairs of its own.
    """

    def __init__(
        self,
        paths: Sequence[AccessPath],
        rules: JudgingRules,
        watched: Sequence[AccessPath] = (),
        *,
        precision_ns: int = 1,
        stamped: bool = True,
    ) -> None:
        """`paths` must not be empty. precision_ns, stamped: as for `records_of`."""
        self._precision_ns, self._stamped = precision_ns, stamped
        self.all = tuple(paths)
        self.samples: list[Sample] = []
        self._rules = rules
        self._counting = tuple(path for path in watched if not path.cached)
        self._cached = tuple(path for path in watched if path.cached)
        self._tallies = {
            path.name: PathTally.empty(path.name, rules, evidence=path in paths)
            for path in (*paths, *watched)
        }
        self._failed: dict[CanaryKey, str] = {}
        # Whether the newest look for a canary could be made, by whichever path.
        self._readable = False
        # A bit for each of the newest reads, the last one lowest: whether the store answered.
        self._reads, self._unreliable = _ALL_READ, False
        # What was seen once and asked for again at its deadline, by the path that had shown it.
        self._again = PathTally.empty("again", rules, evidence=False)
        self._pair: CanaryKey | None = None
        self._paired_s = -math.inf

    def lead(self) -> AccessPath:
        """The path that is asked first: the cheapest, unless another works and it does not."""
        if self._verdict(self.all[0]) is Verdict.FAIL:
            for path in self.all[1:]:
                if self._verdict(path) is Verdict.OK:
                    return path
        return self.all[0]

    def for_many(self) -> AccessPath:
        """The path for several canaries at once: one read for all of them where a path can.

        By id an outage would cost a read for each canary that is missing, until none were left
        for the new ones. A path that lags behind the leading one, or cannot be read, is not it.
        """
        lead = self.lead()
        shared = (path for path in self.all if path.batched and not self._behind(path, lead))
        return lead if lead.batched else next(shared, lead)

    def _behind(self, path: AccessPath, lead: AccessPath) -> bool:
        if not self._tallies[path.name].answers:
            return False
        failing = self._verdict(path) is Verdict.FAIL and self._verdict(lead) is Verdict.OK
        # When neither can be read, the one that answers for all is tried first.
        return failing or (self._unread(path) and not self._unread(lead))

    def _unread(self, path: AccessPath) -> bool:
        answers = self._tallies[path.name].answers
        return bool(answers) and answers[-1] in UNREAD

    def _verdict(self, path: AccessPath) -> Verdict:
        return self._tallies[path.name].verdict()[0]

    def other(self, name: str) -> AccessPath | None:
        """The path that confirms what path `name` did not show; None where there is only one."""
        return next((path for path in self.all if path.name != name), None)

    def statuses(self) -> tuple[PathStatus, ...]:
        """All paths, cheapest first, then those that are only watched."""
        return tuple(tally.status() for tally in self._tallies.values())

    def denied(self) -> str:
        """How often the store does not show what it holds, or wrongly, in words; "" while it does.

        Canaries may be stored and found, and people who ask in another way, or once more, still
        be told that they are not there. Caches are told of on their own.
        """
        known = [(f"path {p.name}", self._tallies[p.name]) for p in (*self.all, *self._counting)]
        known.append(("asked again, the store", self._again))
        return "; ".join(f"{name} {told}" for name, tally in known if (told := tally.denies()))

    def refused(self) -> str:
        """Which of the ways that the store is asked in are refused, in words; "" while none is.

        One way that works finds every canary, and people who ask in another get no answer.
        Paths that only count are left out: many stores have to be told to answer them at all.
        """
        known = [(f"path {path.name}", self._tallies[path.name]) for path in self.all]
        known.append(("asked again, the store", self._again))
        told = [
            f"{name} {words}, while others were read"
            for name, tally in known
            if (words := tally.refuses())
        ]
        if self._unreliable and not told:
            told.append(f"reads failed {self._failures()} separate times among the last {_READS}")
        return "; ".join(told)

    def last_failed(self, key: CanaryKey) -> str:
        """Name of the path by which the last look for this canary failed, "" when it did not."""
        return self._failed.get(key, "")

    def answered(self, reading: Reading) -> None:
        """Remember whether canaries could be read; being asked to wait is no failure.

        What is read to judge a path alone is told by that path.
        """
        if reading.complete or reading.retry_after_s is None:
            self._reads = (self._reads << 1 | reading.complete) & _ALL_READ
            least = _MENDED if self._unreliable else _FAILURES
            self._unreliable = self._failures() >= least

    def _failures(self) -> int:
        """How often reads began to fail among the newest ones."""
        return (self._reads >> 1 & ~self._reads).bit_count()

    def note(self, key: CanaryKey, path: AccessPath, reading: Reading) -> None:
        """Remember whether a look could be made."""
        self._readable = reading.complete
        if reading.complete:
            self._failed.pop(key, None)
        else:
            self._failed[key] = path.name

    def forget(self, held: Collection[CanaryKey]) -> None:
        """Drop what is remembered of canaries that are not `held` any more."""
        self._failed = {key: name for key, name in self._failed.items() if key in held}
        if self._pair is not None and self._pair not in held:
            self._pair = None

    def recall(self, rows: Iterable[Brief]) -> None:
        """What judged canaries, oldest first, say of the paths: it outlives a restart."""
        for row in rows:
            if row.judged is None:
                continue
            if row.outcome in _SEEN and row.first_path in self._tallies:
                self._tallies[row.first_path].add(Answer.OK, row.judged, row.delay_s)
                if row.empty_path in self._tallies and row.empty_path != row.first_path:
                    there = row.outcome is not Outcome.LATE
                    self._tallies[row.empty_path].add(Answer.DENIED, row.judged, surely=there)
            elif row.outcome is Outcome.LOST:
                # It took the word of one more path than the one that is named.
                for path in self.all[:2]:
                    self._tallies[path.name].add(Answer.LOST, row.judged)

    def accepted(self, key: CanaryKey, now: Instant) -> None:
        """A canary was taken: now and then it is asked of the caches before it is there."""
        if not self._cached or self._pair or now.boot_s - self._paired_s < self._rules.cached_every:
            return
        self._pair, self._paired_s = key, now.boot_s
        self.samples += [Sample(path, key, now.boot_s, early=True) for path in self._cached]

    def judged(self, before: LedgerRow, row: LedgerRow, path: AccessPath, now: Instant) -> None:
        """Count what a judgement by `path` says of the paths; plan samples of the others."""
        if before.outcome is row.outcome:
            return
        tally, key = self._tallies[path.name], row.canary.key
        if row.outcome in _SEEN:
            tally.add(Answer.OK, now, row.delay_s)
            if row.empty_path and row.empty_path != path.name:
                there = row.outcome is not Outcome.LATE
                self._tallies[row.empty_path].add(Answer.DENIED, now, surely=there)
            self.samples += self._wanted(row, path, now)
        elif row.outcome is Outcome.LOST:
            for name in {path.name, row.empty_path}:
                self._tallies[name].add(Answer.LOST, now)
        elif row.outcome is Outcome.UNKNOWN and path.name == self.last_failed(key):
            tally.add(Answer.BLIND, now)
        if key == self._pair and row.outcome is not Outcome.PENDING:
            self._pair = None

    def _wanted(self, row: LedgerRow, path: AccessPath, now: Instant) -> Iterator[Sample]:
        """Which paths have to show a canary that was seen by `path`, once more or at all."""
        key, wanted = row.canary.key, []
        if key.seq % self._rules.all_paths_every == 0:
            others = [one for one in self.all if one.name != path.name] + [*self._counting]
            wanted += [Sample(other, key, now.boot_s + other.floor_s) for other in others]
            ahead_s = row.deadline_s - age_bounds_s(row.sent, now)[1]
            # By the deadline a replica that lags shows it too: what is not there comes and goes.
            # A backlog that is found late was looked for often enough.
            if row.outcome is Outcome.OK and ahead_s > 0:
                wanted.append(Sample(path, key, now.boot_s + ahead_s, again=True))
        if key == self._pair:
            wanted += [Sample(other, key, now.boot_s + other.floor_s) for other in self._cached]
        for one in wanted:
            waiting = [w for w in self.samples if w.path is one.path and w.again is one.again]
            # As many as make a verdict are enough; where reads are short more would pile up.
            if len(waiting) < self._rules.window:
                yield one

    def sampled(self, sample: Sample, row: LedgerRow, reading: Reading, now: Instant) -> None:
        """A stored canary that a path does not show by its deadline is lost on that path.

        Nor may it show another than what was sent, while the path that judged it does not.

        A cache has no such time: past its floor it shows what the store does, or it is stale.
        """
        path = sample.path
        tally = self._again if sample.again else self._tallies[path.name]
        self.samples.remove(sample)
        if not reading.complete:
            self._unanswered(sample, tally, now)
        elif found := [s for s in reading.sightings if s.canary_id == row.canary.canary_id]:
            if not sample.early:
                delay_s = age_bounds_s(row.sent, reading.asked)[1]
                tally.add(self._shown(row, found, path), now, delay_s)
        elif sample.early:
            return
        elif path.cached:
            tally.add(Answer.STALE, now)
        elif past_deadline(row, now):
            tally.add(Answer.DENIED, now)
        else:
            at_s = now.boot_s + self._rules.poll_max
            self.samples.append(Sample(path, row.canary.key, at_s))

    def _shown(self, row: LedgerRow, found: Sequence[Sighting], path: AccessPath) -> Answer:
        """What only counts shows no record that could be wrong."""
        if path not in self.all or row.outcome is Outcome.ALTERED:
            return Answer.OK
        precision_ns, stamped = self._precision_ns, self._stamped
        same = records_of(row.canary, found, precision_ns, stamped=stamped)
        return Answer.OK if same and not difference(row.canary, same) else Answer.WRONG

    def _unanswered(self, sample: Sample, tally: PathTally, now: Instant) -> None:
        """A path is refused only while the store answers those who ask otherwise."""
        tried = replace(sample, at_s=now.boot_s + self._rules.poll_max, tries=sample.tries + 1)
        if not self._readable or sample.early:
            tally.add(Answer.BLIND, now)
        elif tried.tries < _TRIES:
            self.samples.append(tried)
        else:
            tally.add(Answer.REFUSED, now)
