"""Each access path of a store judged on its own: one that works never hides one that does not."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from core.clock import Instant
from core.verdict import Verdict
from selfcheck.backends.protocol import AccessPath, Reading
from selfcheck.canary.compare import NOTHING, difference, parts_of, records_of
from selfcheck.canary.judge import age_bounds_s, past_deadline
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.kept import hour_s
from selfcheck.canary.ledger import Brief, PathPast
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome, Sighting
from selfcheck.canary.route import PathStatus
from selfcheck.canary.tally import UNREAD, Answer, PathTally
from selfcheck.canary.turns import is_picked

_SEEN = frozenset({Outcome.OK, Outcome.LATE, Outcome.ALTERED})
# A path is asked so often for a canary before it counts as refused: now and then a read fails.
_TRIES = 3
# What is said of one canary in so many is said of a route that sends as often as this, or oftener.
_USUAL_S = 10.0
# A copy may be stored long after: one sample in so many is asked for once more after this.
_LATER_EVERY, _LATER_S = 5, 300.0
# A part that no record has shown for so long is no part of them any more: exporters change.
_SHOWN_DAYS = 7
_DAY_S = 86_400


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
        every_s: float = 0.0,
        precision_ns: int = 1,
        stamped: bool = True,
    ) -> None:
        """`paths` must not be empty. every_s: between two canaries of the route.

        precision_ns, stamped: as for `records_of`.
        """
        self._precision_ns, self._stamped, self._hour_s = precision_ns, stamped, hour_s(every_s)
        # Of a route that sends rarely more are asked for, or its paths were judged by the day.
        rare = rules.all_paths_every * _USUAL_S / max(every_s, _USUAL_S)
        self._every = max(1, round(rare))
        self.all = tuple(paths)
        self.samples: list[Sample] = []
        # Parts of records that each path has shown, with the day since 1970 of the last time.
        self.shown: dict[str, dict[str, int]] = {}
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
        known = [self._tallies[path.name] for path in (*self.all, *self._counting)]
        return "; ".join(f"path {one.name} {told}" for one in known if (told := one.denies()))

    def refused(self, now: Instant) -> str:
        """Which of the ways that the store is asked in are refused, in words; "" while none is.

        One way that works finds every canary, or one read of several, and people who ask in
        another way, or once, get no answer.
        Paths that only count are left out: many stores have to be told to answer them at all.
        """
        known = [self._tallies[path.name] for path in self.all]
        told = [(one.name, one.refuses(now, self._hour_s)) for one in known]
        return "; ".join(f"path {name} {words}" for name, words in told if words)

    def last_failed(self, key: CanaryKey) -> str:
        """Name of the path by which the last look for this canary failed, "" when it did not."""
        return self._failed.get(key, "")

    def answered(self, path: AccessPath, reading: Reading, now: Instant) -> None:
        """Remember whether `path` could be read: to be asked to wait is no answer either."""
        self._tallies[path.name].read(now, complete=reading.complete)
        if parts := NOTHING.union(*map(parts_of, reading.sightings)):
            self._show(path.name, dict.fromkeys(parts, int(now.utc.timestamp()) // _DAY_S))

    def _show(self, name: str, parts: Mapping[str, int]) -> None:
        known = {**self.shown.get(name, {}), **parts}
        first = max(known.values(), default=0) - _SHOWN_DAYS
        self.shown[name] = {part: day for part, day in known.items() if day > first}

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

    def past(self) -> tuple[PathPast, ...]:
        """What outlives a restart, of the paths that were asked."""
        told = (tally.past(self.shown.get(name, {})) for name, tally in self._tallies.items())
        return tuple(one for one in told if one != PathPast(one.path))

    def recall(self, rows: Iterable[Brief], kept: Iterable[PathPast] = ()) -> None:
        """What judged canaries, oldest first, say of the paths, and what was kept of them."""
        self._recall(rows)
        for one in kept:
            if one.path in self._tallies:
                self._tallies[one.path].recall(one)
                self._show(one.path, one.shown)

    def _recall(self, rows: Iterable[Brief]) -> None:
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

    def to_pair(self, now_s: float) -> bool:
        """Whether the next canary is to be asked of the caches before it is there."""
        due = now_s - self._paired_s >= self._rules.cached_every
        return due and self._pair is None and bool(self._cached)

    def accepted(self, key: CanaryKey, now: Instant) -> None:
        """A canary was taken: now and then it is asked of the caches before it is there."""
        if not self.to_pair(now.boot_s):
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
        if is_picked(key.seq - 1, self._every):
            others = [one for one in self.all if one.name != path.name] + [*self._counting]
            wanted += [Sample(other, key, now.boot_s + other.floor_s) for other in others]
            wanted += self._once_more(row, path, now)
        if key == self._pair:
            wanted += [Sample(other, key, now.boot_s + other.floor_s) for other in self._cached]
        yield from self._fitting(wanted)

    def _once_more(self, row: LedgerRow, path: AccessPath, now: Instant) -> Iterator[Sample]:
        """By the deadline a replica that lags shows it too: what is not there comes and goes.

        A backlog that is found late was looked for often enough.
        """
        ahead_s = row.deadline_s - age_bounds_s(row.sent, now)[1]
        if row.outcome is Outcome.OK and ahead_s > 0 and path in self.all:
            yield Sample(path, row.canary.key, now.boot_s + ahead_s, again=True)

    def _much_later(self, row: LedgerRow, path: AccessPath, now: Instant) -> Iterator[Sample]:
        age_s = age_bounds_s(row.sent, now)[1]
        number = row.canary.key.seq - 1
        if is_picked(number, self._every, _LATER_EVERY) and age_s < _LATER_S:
            yield Sample(path, row.canary.key, now.boot_s + _LATER_S, again=True)

    def _fitting(self, wanted: Iterable[Sample]) -> Iterator[Sample]:
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
        path, tally = sample.path, self._tallies[sample.path.name]
        self.samples.remove(sample)
        if reading.complete or self._readable:
            self.answered(path, reading, now)
        if not reading.complete:
            self._unanswered(sample, tally, now)
            return
        found = [one for one in reading.sightings if one.canary_id == row.canary.canary_id]
        if sample.early:
            if found:
                # What is there already leaves no old answer that could be repeated.
                self._pair = None
                self.samples = [one for one in self.samples if one.key != sample.key]
            return
        answer = self._shown(row, found, path) if found else Answer.DENIED
        if sample.again:
            tally.asked_again(answer)
            self.samples += self._fitting(self._much_later(row, path, now))
        elif found:
            tally.add(answer, now, self._delay_s(sample, row, reading))
            self.samples += self._fitting(self._once_more(row, path, now))
        elif path.cached:
            tally.add(Answer.STALE, now)
        elif past_deadline(row, now):
            tally.add(answer, now)
        else:
            at_s = now.boot_s + self._rules.poll_max
            self.samples.append(Sample(path, row.canary.key, at_s))

    def _delay_s(self, sample: Sample, row: LedgerRow, reading: Reading) -> float | None:
        """How long it took; None where it could not be looked for in time, as in an outage."""
        waited_s = reading.asked.boot_s - sample.at_s
        in_time = not sample.tries and waited_s <= self._rules.poll_max
        if not in_time or row.delay_s is None:
            return None
        return age_bounds_s(row.sent, reading.asked)[1]

    def _shown(self, row: LedgerRow, found: Sequence[Sighting], path: AccessPath) -> Answer:
        """What only counts shows no record that could be wrong."""
        if path.counts_only or row.outcome is Outcome.ALTERED:
            return Answer.OK
        precision_ns, stamped = self._precision_ns, self._stamped
        shown = self.shown.get(path.name, NOTHING)
        same = records_of(row.canary, found, precision_ns, stamped=stamped)
        return Answer.OK if same and not difference(row.canary, same, shown) else Answer.WRONG

    def _unanswered(self, sample: Sample, tally: PathTally, now: Instant) -> None:
        """A path is refused only while the store answers those who ask otherwise."""
        tried = replace(sample, at_s=now.boot_s + self._rules.poll_max, tries=sample.tries + 1)
        if self._readable and not sample.early and tried.tries < _TRIES:
            self.samples.append(tried)
        elif not sample.again:
            refused = self._readable and not sample.early
            tally.add(Answer.REFUSED if refused else Answer.BLIND, now)
