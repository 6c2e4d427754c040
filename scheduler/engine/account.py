"""The account of one check: every due run is in exactly one column."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.verdict import Verdict


@dataclass(slots=True)
class Account:
    """Runs of one check since this process began, with those missed before it.

    `due` is counted when a run comes due, the other columns when its fate is known, so that
    `balanced` is a check and not a definition. handed_over: runs whose owner reports the result.
    `slipped` stands beside the account: due runs that found the one before still running.
    Written by the probing loop, read by the serving thread: each change and `columns` are whole.
    """

    due: int = 0
    ok: int = 0
    degraded: int = 0
    fail: int = 0
    blind: int = 0
    skipped: int = 0
    missed: int = 0
    running: int = 0
    handed_over: int = 0
    slipped: int = 0
    _whole: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def begin(self) -> None:
        """A run is due and will be tried."""
        with self._whole:
            self.due += 1
            self.running += 1

    def end(self, verdict: Verdict | None) -> None:
        """A tried run has its verdict; None when its owner reports it."""
        with self._whole:
            self.running -= 1
            self._judge(verdict)

    def blinded(self) -> None:
        """A run is due that cannot even be tried."""
        with self._whole:
            self.due += 1
            self.blind += 1

    def withdraw(self) -> None:
        """A run that was waiting will not start after all."""
        with self._whole:
            self.running -= 1
            self.skipped += 1

    def skip(self, count: int) -> None:
        """`count` runs came due and did not start."""
        with self._whole:
            self.due += count
            self.skipped += count

    def miss(self, count: int) -> None:
        """`count` runs came due while no engine was alive."""
        with self._whole:
            self.due += count
            self.missed += count

    @property
    def balanced(self) -> bool:
        """Whether due = ok + degraded + fail + blind + skipped + missed + running + handed_over."""
        judged = self.ok + self.degraded + self.fail + self.blind + self.handed_over
        return self.due == judged + self.skipped + self.missed + self.running

    def columns(self) -> Mapping[str, int]:
        """The account by column name, `due` first."""
        with self._whole:
            return {
                "due": self.due,
                "ok": self.ok,
                "degraded": self.degraded,
                "fail": self.fail,
                "blind": self.blind,
                "skipped": self.skipped,
                "missed": self.missed,
                "running": self.running,
                "handed_over": self.handed_over,
            }

    def _judge(self, verdict: Verdict | None) -> None:
        match verdict:
            case None:
                self.handed_over += 1
            case Verdict.OK:
                self.ok += 1
            case Verdict.DEGRADED:
                self.degraded += 1
            case Verdict.FAIL:
                self.fail += 1
            case Verdict.BLIND:
                self.blind += 1
