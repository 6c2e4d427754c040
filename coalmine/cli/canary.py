"""`coalmine canary ID`: the life of one canary, with every read and what each came to."""

import argparse
from contextlib import closing
from typing import TYPE_CHECKING, Any

from coalmine.cli import add_reach_options, help_line
from coalmine.exits import Exit
from coalmine.output import print_json, print_note, print_result

if TYPE_CHECKING:
    from coalmine.cli import Commands

# Any: JSON, of this instance or of another.
Life = dict[str, Any]
_LABEL = 9


def add(commands: "Commands") -> None:
    """Add the command of this module."""
    parser = commands.add_parser("canary", help=help_line("canary"))
    add_reach_options(parser)
    parser.add_argument("canary_id", metavar="ID",
                        help="the id in the record itself (attribute canary.id), in a page or a"
                             " result, such as cm-1f0c93ab-1795230764-12-0123456789abcdef"
                        )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="all of it as JSON on stdout")
    parser.set_defaults(run=canary)


def canary(args: argparse.Namespace) -> int:
    """Print what is kept of a canary; 2 when nothing is, 3 for what cannot be an id."""
    from coalmine.reach import reach
    from scheduler.life import is_canary_id

    if not is_canary_id(args.canary_id):
        print_note(f"coalmine canary: {args.canary_id}: not the id of a canary, which looks like"
                   " cm-1f0c93ab-1795230764-12-0123456789abcdef")  # fmt: skip
        return Exit.USAGE
    with closing(reach(args.config, args.url, args.token_file)) as model:
        life, source = model.canary(args.canary_id), model.source
    if life is None:
        print_note(f"coalmine canary: {args.canary_id}: no such canary: another instance sent it,"
                   " or it is old and counted in the daily totals only")  # fmt: skip
    elif args.json:
        print_json(life)
    else:
        for line in lines(life):
            print_result(line)
    print_note(f"read from: {source}")
    return Exit.NOT_PROVEN if life is None else Exit.OK


def lines(life: Life) -> list[str]:
    """A life in the order in which it was lived, a line an event."""
    out = [
        _line("canary", life["canary_id"]),
        _line("route", f"{life['route']} · {life['signal']} · epoch {life['epoch']}"
                       f" · number {life['seq']} · under {life['sent_under']}"),
        _line("trace", f"{life['trace_id']} · span {life['span_id']}"),
        _line("made", f"{life['made']} (its own stamp)"),
        _line("sent", f"{life['sent']}, its row being durable before"),
    ]  # fmt: skip
    if life["pruned"]:
        out.append(_line("pruned", "its outcome is in the daily totals; below what was kept of it"))
        out.append(_line("seen", f"last at {life['seen']}"))
    else:
        out += [*_receipt(life), *_looks(life), *_outcome(life)]
    return [*out, *map(_recheck, life["rechecks"])]


def _line(label: str, text: str) -> str:
    return f"{label.ljust(_LABEL)}{text}"


def _receipt(life: Life) -> list[str]:
    receipt = life["receipt"]
    if receipt is None:
        return [_line("receipt", "none recorded: maybe sent")]
    tries = f"{receipt['tries']} tries, the first {receipt['first_try']}"
    told = [
        receipt["sent"] if receipt["reason"] == "ok" else f"{receipt['sent']}({receipt['reason']})",
        f"after {receipt['elapsed_s']:.3f} s",
        "1 try" if receipt["tries"] == 1 else tries,
        f"{receipt['body_bytes']} B",
        *(["connected, never answered"] if receipt["silent"] else []),
        *([receipt["detail"]] if receipt["detail"] else []),
    ]
    return [_line("receipt", " · ".join(told))]


def _looks(life: Life) -> list[str]:
    out = []
    for look in life["looks"]:
        found = "seen" if look["seen"] else "not there"
        told = found if look["complete"] else f"could not be read: {look['reason']}"
        detail = f" · {look['detail']}" if look["detail"] else ""
        out.append(_line("look", f"+{look['at_s']:.2f} s  {look['path']}: {told}{detail}"))
    return out or [_line("look", "none recorded")]


def _outcome(life: Life) -> list[str]:
    why = "" if life["reason"] == "ok" else f"({life['reason']})"
    parts = [f"{life['outcome']}{why}", f"deadline {life['deadline_s']:.1f} s"]
    if life["judged"] is not None:
        parts.append(f"judged {life['judged']}")
    out = [_line("outcome", " · ".join(parts))]
    if life["seen"] is not None:
        delay = "" if life["delay_s"] is None else f", {life['delay_s']:.2f} s after it was sent"
        out.append(_line("seen", f"{life['seen']} by {life['path']}{delay}"))
    if life["copies"] is not None:
        out.append(_line("copies", str(life["copies"])))
    if life["empty_read"] is not None:
        out.append(_line("absent", f"{life['empty_read']} by {life['empty_path']}"))
    out += [_line("hop", f"{hop} at {at}") for hop, at in life["hop_stamps"].items()]
    out += [_line("diff", change) for change in life["diff"].splitlines()]
    return out


def _recheck(one: Life) -> str:
    state = one["state"]
    if state == "planned":
        return _line("recheck", f"{one['age']}: due {one['due']}")
    told = [state if one["reason"] in {"ok", state} else f"{state}({one['reason']})"]
    told.append(f"at {one['judged']}" if one["judged"] else f"due since {one['due']}")
    told += [f"by {one['path']}"] if one["path"] else []
    told += [f"not shown by {one['empty_path']}"] if one["empty_path"] else []
    told += [f"not readable by {path}" for path in one["failed_paths"]]
    told += [f"{one['tries']} reads"] if one["tries"] > 1 else []
    told += [f"last seen {one['last_seen']}"] if state in {"lost", "pending", "deferred"} else []
    told += [one["diff"]] if one["diff"] else []
    return _line("recheck", f"{one['age']}: {' · '.join(told)}")
