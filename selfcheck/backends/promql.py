"""What all stores that speak PromQL have in common: canaries are samples of one series a route.

A sample is known by its own time, or by its value where somebody else stamps it. A plain instant
query answers with the time of evaluation and the last value of up to 5 min ago: it proves no
sample, so every path here asks for samples at their own times. How a store spells the series (with
suffixes, with dots or underscores) is found out, never assumed.

Source: prometheus.io/docs, "HTTP API" and "Querying basics", 2026-11.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from selfcheck.backends.http import Json, Query, ReadSession, items, member, number, parse_json
from selfcheck.backends.http_store import HttpStore
from selfcheck.backends.promql_answer import (
    MS,
    SHOWS,
    SLACK_S,
    SPAN_S,
    Sample,
    Spelling,
    Window,
    data_of,
    exemplar_traces,
    paired,
    probes,
    records_of,
    result_of,
    samples_of,
    spellings,
    windows,
)
from selfcheck.backends.protocol import AccessPath, Linked, Question
from selfcheck.backends.sightings import Record
from selfcheck.canary.model import Canary, Signal

METRICS = frozenset({Signal.METRICS})
BY_ID = AccessPath("by_id", 1.0, batched=True, signals=METRICS)
SEARCH = AccessPath("search", 1.0, batched=True, signals=METRICS)
AGGREGATE = AccessPath("aggregate", 1.0, batched=False, signals=METRICS, counts_only=True)
CACHED = AccessPath("search_cached", 1.0, batched=True, signals=METRICS, cached=True)
# `no-store` is what query frontends understand; `no-cache` what proxies before them do.
_UNCACHED: Mapping[str, str] = {"Cache-Control": "no-cache, no-store"}
_AS_IT_COMES: Mapping[str, str] = {"Cache-Control": ""}
# An instant selector sees 5 min back: subquery steps below that miss no sample.
_LOOKBACK_S = 240
_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class PromqlStore(HttpStore):
    """Reads canaries, the newest samples of sources, and exemplars, by raw or evaluated samples.

    A kind adds its address (`api`), its parameters, and paths of its own.
    """

    api: ClassVar[str] = "/api/v1"

    spelt: dict[tuple[str, str], tuple[Spelling, ...]] = field(default_factory=dict)

    def parameters(self, *, cached: bool) -> Query:
        """What this store is told with every read; `cached`: on the path that may be cached."""
        del cached
        return {}

    async def ask(
        self, session: ReadSession, call: str, query: Query, *, cached: bool = False
    ) -> Json:
        """`data` of the answer to one call of the API. Raises ReadError when it is partial."""
        told = {**query, **self.parameters(cached=cached)}
        headers = _AS_IT_COMES if cached else _UNCACHED
        answer = await session.ask("GET", f"{self.api}/{call}", told, headers=headers)
        return data_of(parse_json(answer.body))

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Samples of the route's series that are canaries in question.

        A store may begin to spell the series in another way: absence is only told of what it
        spells today.
        """
        key = (question.route, question.canaries[0].service_instance)
        known = self.spelt.get(key, ())
        found = [r for one in known for r in await self._shown(session, question, path, one)]
        if {record.canary_id for record in found} >= {c.canary_id for c in question.canaries}:
            return found
        new = [one for one in await self._spellings(session, question) if one not in known]
        if new:
            self.spelt[key] = (*known, *new)
        return found + [r for one in new for r in await self._shown(session, question, path, one)]

    async def trace_ids(self, canary: Canary, deadline_s: float) -> Linked:
        """Trace ids of the exemplars beside the canary's sample."""
        now_ns = int(self.clock.utc().timestamp() * 1e9)
        question = Question(
            Signal.METRICS, canary.key.route, (canary,), canary.stamp_ns, now_ns, stamped=False
        )

        async def ask(session: ReadSession) -> Iterable[str]:
            found: list[str] = []
            for one in await self._spellings(session, question):
                start, end = canary.stamp_ns // 10**9 - 1, now_ns // 10**9 + 2
                query = {"query": one.selector(question), "start": str(start), "end": str(end)}
                series = items(await self.ask(session, "query_exemplars", query))
                found += exemplar_traces(series, canary)
            return found

        return await self.linked(ask, deadline_s)

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest sample of the series `selector`."""
        now_s = self.clock.utc().timestamp()
        query = {"query": self.newest_query(selector, window_s), "time": f"{now_s + 1:.3f}"}
        answer = result_of(await self.ask(session, "query", query), "vector")
        values = [number(items(member(one, "value"))[1]) for one in answer]
        # Selectors look back 5 min from each step: what is older than the window is left out.
        inside = [value for value in values if value > now_s - window_s]
        return max((round(value * 1000) * MS for value in inside), default=None)

    def newest_query(self, selector: str, window_s: float) -> str:
        """PromQL for the time of the newest sample of `selector`, in Unix seconds."""
        step_s = min(max(1, int(window_s) // 1000), _LOOKBACK_S)
        older = f"max_over_time(timestamp({selector})[{max(1, int(window_s * 1000))}ms:{step_s}s])"
        return f"max(timestamp({selector}) or {older})"

    async def samples(
        self, session: ReadSession, path: AccessPath, window: Window
    ) -> Sequence[Sample]:
        """Samples of one window: by id as they are stored, else as they are evaluated."""
        if path.name == BY_ID.name:
            return await self.raw(session, window)
        return await self.evaluated(session, window, cached=path.cached)

    async def raw(self, session: ReadSession, window: Window) -> Sequence[Sample]:
        """Samples as they are stored, by a range vector.

        Its window excludes its left end (Prometheus 3); asked slightly into the future, a frontend
        that cuts the time hides nothing.
        """
        start_s, end_s = window.start_s - SLACK_S, window.end_s + SLACK_S
        query = {"query": f"{window.selector}[{end_s - start_s}s]", "time": str(end_s)}
        return samples_of(result_of(await self.ask(session, "query", query), "matrix"))

    async def evaluated(
        self, session: ReadSession, window: Window, *, cached: bool
    ) -> Sequence[Sample]:
        """Samples by evaluation at each whole second.

        Stamps of canaries are whole: a range of 1 ms holds a sample only when its time is the
        step's own. Others are shown with their times beside them.
        """
        query, selector = f"last_over_time({window.selector}[1ms])", window.selector
        if not window.stamped:
            query = f'{selector} or label_replace(timestamp({selector}),"{SHOWS}","time","","")'
        found = await self.steps(session, query, window, cached=cached)
        return found if window.stamped else paired(found)

    async def steps(
        self,
        session: ReadSession,
        query: str,
        window: Window,
        *,
        cached: bool,
        slack_s: int = SLACK_S,
    ) -> Sequence[Sample]:
        """What a range query shows at each whole second, under the times of its steps.

        slack_s: how much more is asked for on both sides.
        """
        start_s, end_s = window.start_s - slack_s, window.end_s + slack_s
        told = {"query": query, "start": str(start_s), "end": str(end_s), "step": "1"}
        answer = await self.ask(session, "query_range", told, cached=cached)
        return samples_of(result_of(answer, "matrix"))

    async def _shown(
        self, session: ReadSession, question: Question, path: AccessPath, spelling: Spelling
    ) -> Sequence[Record]:
        selector = spelling.selector(question)
        if path.counts_only:
            return await self._counted(session, question, selector)
        samples: list[Sample] = []
        wanted = {canary.canary_id for canary in question.canaries}
        for window in windows(question, selector):
            samples += await self.samples(session, path, window)
            if question.stamped:
                continue
            if wanted <= {record.canary_id for record in records_of(samples, question)}:
                break
        return records_of(samples, question)

    async def _counted(
        self, session: ReadSession, question: Question, selector: str
    ) -> Sequence[Record]:
        """As many records as there are samples; a count shows neither stamps nor values."""
        found: list[Record] = []
        for canary in question.canaries:
            at_s = canary.stamp_ns // 10**9
            query = f"count_over_time({selector}[500ms])"
            if not question.stamped:
                query = f"count_over_time(({selector} == {canary.value!r})[{SPAN_S}s:1s]) > bool 0"
                at_s += SPAN_S
            asked = {"query": query, "time": str(at_s)}
            vector = result_of(await self.ask(session, "query", asked), "vector")
            count = round(sum(number(items(member(one, "value"))[1]) for one in vector))
            record = Record(canary.canary_id, None, None, None, {})
            found += [record] * min(count, _COUNTED)
        return found

    async def _spellings(self, session: ReadSession, question: Question) -> Sequence[Spelling]:
        """How the store spells the route's series; none while it has none."""
        query: Query = {
            "match[]": probes(question),
            "start": str(question.start_ns // 10**9 - SLACK_S),
            "end": str(question.end_ns // 10**9 + SLACK_S),
        }
        return spellings(items(await self.ask(session, "series", query)), question)
