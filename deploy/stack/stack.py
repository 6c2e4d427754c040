"""`make stack`: two real Collectors, Loki, Prometheus and Jaeger, watched by `coalmine run`.

Runs until Ctrl-C, or for a stated time as a healthy hour: it then ends with 0 only when nothing
was lost, nobody was paged, every account was balanced at every look and every route is ok.
"""

import argparse
import json
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from coalmine.demo.receiver import PageReceiver  # noqa: E402  the path comes first
from core.clock import Clock, SystemClock  # noqa: E402
from core.errors import CoalmineError  # noqa: E402
from deploy.stack.launch import Instance, LaunchError, Stack, through  # noqa: E402
from deploy.stack.servers import SkippedError, find, required  # noqa: E402
from deploy.stack.watched import AGENT, STORES, Watcher, config, write  # noqa: E402

ALL_OK_S = 180.0
_LOOK_S = 2.0
_LOSSES = ("late", "lost", "altered", "rejected", "policy_drop", "unknown")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(slots=True)
class Account:
    """What was seen of the whole run.

    not_ok: looks at which a route was not ok, by route. unanswered: looks without an answer.
    """

    routes: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    imbalances: list[str] = field(default_factory=list)
    not_ok: dict[str, int] = field(default_factory=dict)
    looks: int = 0
    unanswered: int = 0
    ran_s: float = 0.0

    def losses(self) -> int:
        """Canaries that are neither ok nor still under way."""
        return sum(row["outcomes"].get(name, 0) for row in self.routes for name in _LOSSES)

    def good(self, *, timed: bool) -> bool:
        """Every route ok and balanced; for a timed run also nothing lost and nobody paged."""
        sound = _all_ok(self.routes) and not self.imbalances and not self.unanswered
        return sound and (not timed or (not self.losses() and not self.pages))

    def look(self, watcher: Watcher) -> None:
        """Take in the board and the metrics of this moment."""
        self.looks += 1
        try:
            self.routes = watcher.board()["routes"]
            self.imbalances += watcher.imbalances()
        except OSError:
            self.unanswered += 1
            return
        for row in self.routes:
            if row["verdict"] != "ok":
                self.not_ok[row["name"]] = self.not_ok.get(row["name"], 0) + 1

    def take_pages(self, pager: PageReceiver) -> None:
        """Take in what has been paged since the last time."""
        while not pager.pages.empty():
            self.pages.append(pager.pages.get())

    def report(self, *, timed: bool) -> Mapping[str, Any]:
        """The account as plain values."""
        return {
            "good": self.good(timed=timed),
            "ran_s": round(self.ran_s, 1),
            "losses": self.losses(),
            "pages": [_page_line(page) for page in self.pages],
            "imbalances": self.imbalances,
            "looks": self.looks,
            "unanswered": self.unanswered,
            "not_ok_looks": self.not_ok,
            "routes": [
                {key: row[key] for key in ("name", "verdict", "reason", "sent", "outcomes",
                                           "balanced", "delay_p50_s", "delay_p99_s")}
                for row in self.routes
            ],
        }  # fmt: skip


def _page_line(page: Mapping[str, Any]) -> str:
    data = page["data"]
    return f"{data['action']} {data['subject']}: {data['summary']}"


def _table(account: Account, *, timed: bool) -> Iterator[str]:
    for row in account.routes:
        outcomes = " ".join(f"{name} {count}" for name, count in row["outcomes"].items() if count)
        yield (
            f"{row['name']:16} {row['verdict']:8} sent {row['sent']}  {outcomes}  "
            f"delay p50 {_seconds(row['delay_p50_s'])} p99 {_seconds(row['delay_p99_s'])}  "
            f"identity {'holds' if row['balanced'] else 'BROKEN'}  "
            f"not ok at {account.not_ok.get(row['name'], 0)} of {account.looks} looks"
        )
    yield from (f"page: {_page_line(page)}" for page in account.pages)
    yield from (f"imbalance: {line}" for line in account.imbalances)
    yield (
        f"{'good' if account.good(timed=timed) else 'NOT GOOD'}: ran {account.ran_s:.0f} s, "
        f"{account.losses()} losses, {len(account.pages)} pages, "
        f"{len(account.imbalances)} imbalances, {account.unanswered} looks unanswered"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


class StoppedError(Exception):
    """The run was asked to end."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM raise once; a second one does not interrupt the clearing up."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise StoppedError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    yield


def watch(run_for_s: float | None, *, as_json: bool) -> int:
    """The whole run; 0 when it was good, 1 when not. Raises LaunchError, CoalmineError."""
    clock, account = SystemClock(), Account()
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="coalmine-stack-")))
        pager = PageReceiver(refuses=False)
        exits.callback(pager.close)
        agent = {AGENT: Instance("otelcol", plan=through("otelcol", hop=AGENT))}
        stack = exits.enter_context(
            Stack(folder, _names(), substitutions={"webhook": pager.url}, instances=agent)
        )
        watcher = Watcher(write(config(stack, pager.url, folder), folder), clock)
        exits.callback(watcher.stop)
        watcher.start()
        _tell(_addresses(watcher, folder), as_json=as_json)
        try:
            _until_ok(watcher, clock)
            _tell({"all_ok": True, "at": clock.utc().isoformat()}, as_json=as_json)
            _follow(watcher, pager, account, clock, run_for_s)
        except StoppedError:
            account.take_pages(pager)
        timed = run_for_s is not None
        lines = [json.dumps(account.report(timed=timed))] if as_json else _table(
            account, timed=timed
        )  # fmt: skip
        print("\n".join(lines), flush=True)
        if not account.good(timed=timed):
            print(watcher.log()[-4000:], file=sys.stderr)
        return 0 if account.good(timed=timed) else 1


def _names() -> list[str]:
    needed = ["otelcol", *STORES.values()]
    return [*needed, "alertmanager"] if find("alertmanager") else needed


def _addresses(watcher: Watcher, folder: Path) -> Mapping[str, Any]:
    return {
        "ready": True,
        "api": watcher.url,
        "config": str(folder / "coalmine.yaml"),
        "terminal": f"coalmine tui --url {watcher.url} --token-file {folder / 'token'}",
    }


def _tell(event: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(event), flush=True)
    else:
        print("\n".join(f"{key:10} {value}" for key, value in event.items()), flush=True)


def _until_ok(watcher: Watcher, clock: Clock) -> None:
    ends = clock.monotonic() + ALL_OK_S
    while not _all_ok(rows := watcher.board()["routes"]):
        if clock.monotonic() > ends:
            told = "; ".join(f"{row['name']}: {row['verdict']} {row['detail']}" for row in rows)
            raise CoalmineError(f"not every route is ok after {ALL_OK_S:g} s: {told}")
        _rest(_LOOK_S)


def _all_ok(rows: list[dict[str, Any]]) -> bool:
    return {row["verdict"] for row in rows} == {"ok"}


def _follow(
    watcher: Watcher, pager: PageReceiver, account: Account, clock: Clock, run_for_s: float | None
) -> None:
    started = clock.monotonic()
    while run_for_s is None or account.ran_s < run_for_s:
        account.look(watcher)
        account.take_pages(pager)
        _rest(_LOOK_S)
        account.ran_s = clock.monotonic() - started


def _rest(seconds: float) -> None:
    """Wait; SIGINT and SIGTERM end it at once."""
    signal.sigtimedwait([], seconds)


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None:
        raise argparse.ArgumentTypeError("expected a duration such as 30s, 10m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def main() -> int:
    """0 good, 1 not good, 2 when it could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-for", type=_duration, default=None, metavar="TIME",
                        help="end after this time, such as 1h")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON line per event")
    options = parser.parse_args()
    try:
        with _stoppable():
            return watch(options.run_for, as_json=options.json)
    except SkippedError as exc:
        print(f"skipped: {exc}", file=sys.stderr)
        return 2 if required() else 0
    except (LaunchError, CoalmineError, StoppedError) as exc:
        print(f"cannot run: {exc}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
