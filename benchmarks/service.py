"""The whole service: memory, time to the first run, lateness, CPU a probe beside its peer.

Ours and the peer are processes of their own and probe the same loopback server at the same rate in
the same minutes. Ours schedules, judges, stores and is scraped every 15 s; the peer probes only.
BENCH_ROUNDS repeats the minute that is compared.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks._running import (
    Running,
    blackbox,
    checks_config,
    cpu_s,
    load,
    p99,
    probed,
    rss_mib,
    samples,
    scrape,
    service,
    states,
)
from benchmarks.http_probe import GOALS, PEER, target
from core.clock import SystemClock
from scheduler.store.stores import open_reader

SMALL, LARGE = 1_000, 5_000
EVERY_S = 60
SCRAPE_S = 15.0
SETTLED_S = 5.0
RSS_AFTER_S = 95.0
RSS_GOAL_MIB = 128
START_GOAL_S = 3.0
LATE_GOAL_S, NOT_RUN_GOAL = 0.1, 0.001
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2"))


def _scraped(running: Running, seconds: float, every_s: float = SCRAPE_S) -> float:
    """Scrape on the beat for so long, the end excluded; the median seconds of a scrape."""
    end_s, took = time.monotonic() + seconds, [0.0]
    while (left_s := end_s - time.monotonic()) > every_s:
        time.sleep(every_s)
        began_s = time.monotonic()
        scrape(running.url)
        took.append(time.monotonic() - began_s)
    time.sleep(max(0.0, left_s))
    return statistics.median(took[1:] or took)


def _first_run_s(running: Running) -> float:
    """Seconds from the start of the process to that of its first run; asked in its first minute."""
    stores = open_reader(running.data, SystemClock())
    try:
        runs = stores.samples.latest_all()
    finally:
        stores.close()
    ran = [run.started.utc for run in runs if run.kind == "http"]
    first = min(started for started in ran if started > running.began)
    return (first - running.began).total_seconds()


def _small(folder: Path, url: str) -> list[str]:
    with service(checks_config(folder, url, SMALL, EVERY_S)) as running:
        time.sleep(SETTLED_S)
        first_s = _first_run_s(running)
        _scraped(running, RSS_AFTER_S)
        rss = rss_mib(running.pid)
    with service(folder / "coalmine.yaml") as again:
        time.sleep(SETTLED_S)
        again_s = _first_run_s(again)
    goal = "met" if rss <= RSS_GOAL_MIB else "missed"
    start = (
        f"start, {SMALL} checks, a new data folder: API ready {running.ready_s:.2f} s and first "
        f"run {first_s:.2f} s after the process, {running.ready_cpu_s:.2f} s CPU; again: "
        f"{again.ready_s:.2f} s, {again_s:.2f} s, {again.ready_cpu_s:.2f} s CPU "
        f"(goal {START_GOAL_S:g} s); {load()}"
    )
    memory = (
        f"memory, {SMALL} checks every {EVERY_S} s: {rss:.0f} MiB after {RSS_AFTER_S:g} s "
        f"(goal {RSS_GOAL_MIB}: {goal})"
    )
    return [start, memory]


@dataclass(frozen=True, slots=True)
class _Window:
    """One minute: due runs and what became of them, lateness, CPU of both."""

    due: float
    ok: float
    not_run: float
    late_p99_s: float
    ours_s: float
    theirs_ms: float | None
    scrape_s: float
    watched_s: float

    def __str__(self) -> str:
        line = (
            f"{self.due:.0f} due, {self.ok:.0f} ok, missed or skipped {self.not_run / self.due:.3%}"
            f" (goal {NOT_RUN_GOAL:.1%}), late p99 {self.late_p99_s * 1e3:.0f} ms"
            f" (goal {LATE_GOAL_S * 1e3:.0f}), {self.ours_s / self.watched_s:.0%} of a core,"
            f" {self.ours_ms:.2f} ms CPU a probe"
        )
        if self.ratio is not None:
            line += f", {PEER} {self.theirs_ms:.2f} ms, ratio {self.ratio:.2f}"
        return f"{line}; {load()}"

    @property
    def ours_ms(self) -> float:
        """CPU by the probes that come due while it is counted: their rate is fixed, none is lost.

        `due` is told by scrapes, which take their own time at both ends.
        """
        return self.ours_s / (self.watched_s * LARGE / EVERY_S) * 1e3

    @property
    def ratio(self) -> float | None:
        """Our CPU a probe by the peer's."""
        return self.theirs_ms and self.ours_ms / self.theirs_ms


def _window(
    running: Running, peer: int | None, probes: Callable[[], int], scrape_every_s: float
) -> _Window:
    """Watch for one interval; the scrapes that tell the figures cost nothing within it."""
    first = scrape(running.url)
    began_s, count = time.monotonic(), probes()
    ours_s, theirs_s = cpu_s(running.pid), peer and cpu_s(peer)
    scrape_s = _scraped(running, EVERY_S, scrape_every_s)
    ours_s, watched_s = cpu_s(running.pid) - ours_s, time.monotonic() - began_s
    theirs_ms = None
    if peer is not None and theirs_s is not None:
        theirs_ms = (cpu_s(peer) - theirs_s) / (probes() - count) * 1e3
    text = scrape(running.url)
    before, after = states(first), states(text)
    gained = {state: after[state] - before[state] for state in after}
    late = [value for _, value in samples(text, "coalmine_check_late_seconds")]
    return _Window(
        gained["due"], gained["ok"], gained["missed"] + gained["skipped"], p99(late), ours_s,
        theirs_ms, scrape_s, watched_s,
    )  # fmt: skip


def _large(folder: Path, scheme: str, url: str) -> list[str]:
    lines, ratios = [], []
    with ExitStack() as stack:
        running = stack.enter_context(service(checks_config(folder, url, LARGE, EVERY_S)))
        peer: int | None = None
        probes: Callable[[], int] = int
        if shutil.which(PEER):
            peer, port = stack.enter_context(blackbox(folder))
            probes = stack.enter_context(probed(port, url, LARGE / EVERY_S))
        time.sleep(EVERY_S)
        for _ in range(ROUNDS):
            alone = _window(running, peer, probes, EVERY_S)
            scraped = _window(running, peer, probes, SCRAPE_S)
            lines.append(f"{scheme}, {LARGE} checks every {EVERY_S} s: {alone}")
            lines.append(
                f"{scheme}, and a scrape every {SCRAPE_S:g} s, of {scraped.scrape_s:.2f} s: "
                f"{scraped}, {rss_mib(running.pid):.0f} MiB"
            )
            ratios += [] if alone.ratio is None else [alone.ratio]
    if ratios:
        ratio = statistics.median(ratios)
        lines.append(
            f"{scheme}, CPU a probe by that of {PEER}: median {ratio:.2f} of {len(ratios)} "
            f"(goal {GOALS[scheme]:.2f}: {'met' if ratio <= GOALS[scheme] else 'missed'})"
        )
    return lines


def run() -> list[str]:
    """One line a figure, its goal beside it."""
    lines = []
    with tempfile.TemporaryDirectory() as name, target(Path(name)) as urls:
        for part in ("small", *urls):
            folder = Path(name) / part
            folder.mkdir()
            shutil.copy(Path(name) / "ca.pem", folder)
            lines += (
                _small(folder, urls["http"])
                if part == "small"
                else _large(folder, part, urls[part])
            )
    return lines
