"""Follow one join as a user would: open the record, take its trace id, open that trace."""

from collections.abc import Awaitable, Callable

from core.clock import Clock, age_s
from core.errors import StoreError
from core.reason import Reason
from core.result import Result
from selfcheck.backends.protocol import Linked, LinkReader, TraceReader
from selfcheck.canary.judging import JudgingRules
from selfcheck.joins.model import Beat, Join

NewestBeat = Callable[[], Awaitable[Beat | None]]


class JoinWatch:
    """Judges one join, each time by the newest beat whose log or sample and span were both seen."""

    def __init__(
        self,
        join: Join,
        beat: NewestBeat,
        links: LinkReader,
        traces: TraceReader,
        clock: Clock,
        rules: JudgingRules,
        limit_s: float,
    ) -> None:
        """`beat` may raise StoreError.

        limit_s: age of a beat from which nothing can be said of the present.
        """
        self.join = join
        self._beat, self._links, self._traces = beat, links, traces
        self._clock, self._rules, self._limit_s = clock, rules, limit_s

    @property
    def deadline_s(self) -> float:
        """Longest that one judgement may take: two looks at both ends and the pause between."""
        return 4 * self._rules.read_timeout + self._rules.confirm_after

    async def step(self) -> Result:
        """One judgement.

        `fail(join)` needs two looks that both lead astray. What cannot be read is `blind`, and so
        is a join without a fresh beat: its routes say why.
        """
        try:
            beat = await self._beat()
        except StoreError as exc:
            return Result.blind(Reason.STORE, f"what both routes saw could not be read: {exc}")
        if beat is None:
            return Result.blind(Reason.STARTING, "no beat was seen on both routes lately")
        age, _ = age_s(beat.record.sent, self._clock)
        if age > self._limit_s:
            told = f"newest beat seen on both routes is {age:.0f} s old"
            return Result.blind(Reason.ROUTE, told)
        first = await self._follow(beat)
        if first.reason is not Reason.JOIN:
            return first
        # One end may be indexed later than the other.
        await self._clock.sleep(self._rules.confirm_after)
        return await self._follow(beat)

    async def _follow(self, beat: Beat) -> Result:
        canary, own = beat.record.canary, beat.record.canary.trace_id.hex()
        facts = {"canary": canary.canary_id, "trace_id": own}
        link = await self._links.trace_ids(canary, self._rules.read_timeout)
        if not link.complete:
            return _unread(self.join.source, link)
        if not link.found:
            told = f"what {self.join.source} stored leads to no trace"
            return Result.fail(Reason.JOIN, told, facts)
        if own not in link.found:
            told = f"what {self.join.source} stored leads to trace {link.found[0]}, not to {own}"
            return Result.fail(Reason.JOIN, told, facts)
        trace = await self._traces.canaries_in(own, self._rules.read_timeout)
        if not trace.complete:
            return _unread(self.join.target, trace)
        if beat.span.canary.canary_id not in trace.found:
            told = f"trace {own} does not show the span that {self.join.target} stored"
            return Result.fail(Reason.JOIN, told, facts)
        return Result.ok(facts)


def _unread(route: str, end: Linked) -> Result:
    reason = end.reason if end.reason is Reason.AUTH else Reason.READBACK
    return Result.blind(reason, f"the backend of {route} could not be read: {end.detail}")
