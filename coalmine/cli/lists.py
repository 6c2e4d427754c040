"""`coalmine checks · routes · incidents · cost`: parts of the board as plain tables."""

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from coalmine.cli import add_reach_options, help_line
from coalmine.cli.status import detail_of, told_until, trouble_lines
from coalmine.exits import Exit
from coalmine.output import print_json, print_note, print_result
from core.text import safe_text
from scheduler.readmodel import (
    Board,
    CheckRow,
    CostRow,
    IncidentRow,
    PathRow,
    RecheckRow,
    RouteRow,
    VolumeRow,
)
from selfcheck.canary.model import Outcome

if TYPE_CHECKING:
    from coalmine.cli import Commands

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
_CELL = 100


def add(commands: "Commands") -> None:
    """Add the commands of this module."""
    for name in TABLES:
        parser = commands.add_parser(name, help=help_line(name))
        add_reach_options(parser)
        parser.add_argument("--json", action="store_true", help="the rows as JSON on stdout")
        parser.set_defaults(run=show, part=name)


def show(args: argparse.Namespace) -> int:
    """Print the rows; 2 while a trouble line stands, as then not all of it can be told."""
    from coalmine.reach import reach
    from scheduler.api.app import board_json

    with closing(reach(args.config, args.url, args.token_file)) as model:
        board = model.board()
    field, table = TABLES[args.part]
    head, rows = table(board)
    if args.json:
        print_json(json.loads(board_json(board))[field])
    else:
        for line in aligned([head, *rows]) if rows else ():
            print_result(line)
    if not rows:
        print_note(f"no {args.part} to show")
    for line in trouble_lines(board):
        print_note(line)
    print_note(f"read from: {board.source}")
    return Exit.NOT_PROVEN if board.troubles else Exit.OK


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines with columns of equal width; the last column is not padded."""
    shown = [tuple(safe_text(cell, _CELL) for cell in row) for row in rows]
    widths = [max(len(row[n]) for row in shown) for n in range(len(shown[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in shown]  # fmt: skip


def _checks(board: Board) -> Table:
    head = ("VERDICT", "CHECK", "KIND", "LAST", "DUE", "SKIPPED", "MISSED", "DETAIL")

    def row(one: CheckRow) -> tuple[str, ...]:
        account = [str(one.account.get(name, 0)) for name in ("due", "skipped", "missed")]
        return (one.verdict.value, one.name, one.kind, _seconds(one.last_s), *account,
                detail_of(one))  # fmt: skip

    return head, [row(one) for one in board.checks]


def _routes(board: Board) -> Table:
    head = ("VERDICT", "ROUTE", "SIGNAL", "SENT", "OK", "LATE", "LOST", "REJECTED", "PENDING",
            "OTHER", "P50", "P99", "DEADLINE", "SINCE", "DETAIL")  # fmt: skip

    def row(one: RouteRow) -> tuple[str, ...]:
        columns = (Outcome.OK, Outcome.LATE, Outcome.LOST, Outcome.REJECTED, Outcome.PENDING)
        counted = {name: one.outcomes.get(name.value, 0) for name in columns}
        other = one.sent - sum(counted.values())
        return (one.verdict.value, one.name, one.signal, str(one.sent),
                *(str(n) for n in counted.values()), str(other), _seconds(one.delay_p50_s),
                _seconds(one.delay_p99_s), _seconds(one.deadline_s), "",
                one.finding or one.detail)  # fmt: skip

    def path(one: PathRow) -> tuple[str, ...]:
        """What one access path shows of it: its own verdict, delays, and since when."""
        empty = ("",) * 2
        return (one.verdict.value, f"  by {one.name}", *empty, str(one.ok), "", str(one.lost),
                "", "", str(one.blind), _seconds(one.delay_p50_s), _seconds(one.delay_p99_s), "",
                f"{one.since:%Y-%m-%dT%H:%M:%SZ}" if one.since else "-",
                f"of its newest answers, {one.reason}")  # fmt: skip

    def again(one: RecheckRow) -> tuple[str, ...]:
        """What later looks at the store found."""
        known = {name: one.states.get(name, 0) for name in ("ok", "late", "lost", "pending")}
        other = one.due - sum(known.values())
        return ("", f"  after {one.age}", "", str(one.due), str(known["ok"]), str(known["late"]),
                str(known["lost"]), "", str(known["pending"]), str(other), "", "", "", "-",
                "looked for again")  # fmt: skip

    def own(one: VolumeRow) -> tuple[str, ...]:
        """What the route itself uses up."""
        told = f"{one.bytes_today} bytes of canaries and {one.reads_today} reads today (UTC)"
        return ("", f"  at {one.backend}", *("",) * 11, "-", told)

    rows: list[tuple[str, ...]] = []
    for one in board.routes:
        rows += [row(one), *map(path, one.paths), *(again(r) for r in one.rechecks if r.due)]
        rows += [own(one.volume)] if one.volume is not None else []
    return head, rows


def _incidents(board: Board) -> Table:
    head = ("SEVERITY", "SINCE", "SUBJECT", "HOP", "EPISODE", "ACKED", "MUTED", "KEY", "TITLE")

    def row(one: IncidentRow) -> tuple[str, ...]:
        since = f"{one.since:%Y-%m-%dT%H:%M:%SZ}"
        return (one.severity, since, one.subject, one.hop or "-", str(one.episode),
                told_until(one.acked_by, one.acked_until) if one.acked_by else "-",
                told_until(one.muted_by, one.muted_until) if one.muted_by else "-",
                one.key, one.title)  # fmt: skip

    return head, [row(one) for one in board.incidents]


def _costs(board: Board) -> Table:
    head = ("METER", "BOOK", "GRADE", "MEASURED AT", "PER GB", "HOUR", "TO DATE", "NEXT MONTH",
            "CURRENCY", "NOTE")  # fmt: skip

    def row(one: CostRow) -> tuple[str, ...]:
        month = f"{one.low} – {one.likely} – {one.high}" if one.likely is not None else "unpriced"
        figures = [figure or "-" for figure in (one.per_gb, one.hour, one.to_date)]
        return (one.meter, one.book, one.grade or "-", one.point or "-", *figures, month,
                one.currency or "-", one.note)  # fmt: skip

    return head, [row(one) for one in board.costs]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}s"


TABLES: dict[str, tuple[str, Callable[[Board], Table]]] = {
    "checks": ("checks", _checks),
    "routes": ("routes", _routes),
    "incidents": ("incidents", _incidents),
    "cost": ("costs", _costs),
}
