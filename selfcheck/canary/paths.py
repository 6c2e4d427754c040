"""Each access path of a store judged on its own: one that works never hides one that does not."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.clock import Instant
from core.verdict import Verdict
from selfcheck.backends.protocol import AccessPath, Reading
from selfcheck.canary.judge import past_deadline
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome
from selfcheck.canary.route import PathStatus

_SEEN = frozenset({Outcome.OK, Outcome.LATE, Outcome.ALTERED})


class Answer(StrEnum):
    """What a path made of a canary that is known to be stored, or known to be lost."""

    OK = "ok"
    LOST = "lost"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class PathTally:
    """The newest answers of one path."""

    name: str
    answers: deque[Answer]
    rules: JudgingRules

    @classmethod
    def empty(cls, name: str, rules: JudgingRules) -> "PathTally":
        """Nothing asked yet."""
        return cls(name, deque(maxlen=rules.window), rules)

    def status(self) -> PathStatus:
        """Counts and verdict: nothing shown and nothing missed is `blind`."""
        counts = {answer: self.answers.count(answer) for answer in Answer}
        return PathStatus(
            self.name,
            self._verdict(counts),
            counts[Answer.OK],
            counts[Answer.LOST],
            counts[Answer.BLIND],
        )

    def _verdict(self, counts: dict[Answer, int]) -> Verdict:
        if counts[Answer.LOST] >= self.rules.losses_to_fail:
            return Verdict.FAIL
        if not self.answers or self.answers[-1] is Answer.BLIND:
            return Verdict.BLIND
        return Verdict.DEGRADED if counts[Answer.LOST] else Verdict.OK


@dataclass(frozen=True, slots=True)
class Sample:
    """A stored canary that `path` is asked for, only to judge the path; at_s: boot seconds."""

    path: AccessPath
    key: CanaryKey
    at_s: float


class AccessPaths:
    """The paths of a route's backend, cheapest first, with what each has shown so far."""

    def __init__(self, paths: Sequence[AccessPath], rules: JudgingRules) -> None:
        """`paths` must not be empty."""
        self.all = tuple(paths)
        self.samples: list[Sample] = []
        self._rules = rules
        self._tallies = {path.name: PathTally.empty(path.name, rules) for path in paths}
        self._failed: dict[CanaryKey, str] = {}

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
        answers = self._tallies[path.name].answers
        if not answers:
            return False
        failing = self._verdict(path) is Verdict.FAIL and self._verdict(lead) is Verdict.OK
        return failing or answers[-1] is Answer.BLIND

    def _verdict(self, path: AccessPath) -> Verdict:
        return self._tallies[path.name].status().verdict

    def other(self, name: str) -> AccessPath | None:
        """The path that confirms what path `name` did not show; None where there is only one."""
        return next((path for path in self.all if path.name != name), None)

    def statuses(self) -> tuple[PathStatus, ...]:
        """All paths, cheapest first."""
        return tuple(tally.status() for tally in self._tallies.values())

    def last_failed(self, key: CanaryKey) -> str:
        """Name of the path by which the last look for this canary failed, "" when it did not."""
        return self._failed.get(key, "")

    def note(self, key: CanaryKey, path: AccessPath, reading: Reading) -> None:
        """Remember whether a look could be made."""
        if reading.complete:
            self._failed.pop(key, None)
        else:
            self._failed[key] = path.name

    def forget(self, held: Collection[CanaryKey]) -> None:
        """Drop what is remembered of canaries that are not `held` any more."""
        self._failed = {key: name for key, name in self._failed.items() if key in held}

    def judged(self, before: LedgerRow, row: LedgerRow, path: AccessPath, now: Instant) -> None:
        """Count what a judgement by `path` says of the paths; plan samples of the others."""
        if before.outcome is row.outcome:
            return
        answers = self._tallies[path.name].answers
        if row.outcome in _SEEN:
            answers.append(Answer.OK)
            if row.empty_path and row.empty_path != path.name:
                self._tallies[row.empty_path].answers.append(Answer.LOST)
            if row.canary.key.seq % self._rules.all_paths_every == 0:
                self._sample_others(row, path, now)
        elif row.outcome is Outcome.LOST:
            for name in {path.name, row.empty_path}:
                self._tallies[name].answers.append(Answer.LOST)
        elif row.outcome is Outcome.UNKNOWN and path.name == self.last_failed(row.canary.key):
            answers.append(Answer.BLIND)

    def _sample_others(self, row: LedgerRow, path: AccessPath, now: Instant) -> None:
        for other in self.all:
            if other.name != path.name:
                self.samples.append(Sample(other, row.canary.key, now.boot_s + other.floor_s))

    def sampled(self, path: AccessPath, row: LedgerRow, reading: Reading, now: Instant) -> None:
        """A stored canary that a path does not show by its deadline is lost on that path."""
        key, answers = row.canary.key, self._tallies[path.name].answers
        self.samples = [s for s in self.samples if (s.key, s.path.name) != (key, path.name)]
        if not reading.complete:
            answers.append(Answer.BLIND)
        elif [s for s in reading.sightings if s.canary_id == row.canary.canary_id]:
            answers.append(Answer.OK)
        elif past_deadline(row, now):
            answers.append(Answer.LOST)
        else:
            self.samples.append(Sample(path, key, now.boot_s + self._rules.poll_max))
