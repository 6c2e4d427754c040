"""A page for every kind of store and injector: what it declares, its options, and notes on it.

The contract suites hold each declaration against the servers that it names. Notes are written by
hand, one file a kind; a kind without them gets a page of what it declares.
"""

from collections.abc import Iterator
from pathlib import Path

from coalmine.docs.tables import HEAD, section, table
from selfcheck.access import AccessOptions
from selfcheck.backends.protocol import BACKENDS, AccessPath, Declaration, Dedupe
from selfcheck.canary.model import Sent
from selfcheck.injectors.protocol import INJECTORS

_SHARED = "And the keys of [Access](../config.md#access)."


def backends_md() -> str:
    """Every store at one look: how it is read, what that was proven against, what stays unseen."""
    rows = []
    for kind in sorted(BACKENDS.entries):
        said = BACKENDS.load(kind).declaration
        paths = ", ".join(f"`{path.name}`" for path in said.paths)
        unseen = "; ".join(f"{what}: {why}" for what, why in _unseen(said)) or "nothing known"
        signals = ", ".join(sorted(said.signals))
        rows.append((f"[{kind}](backends/{kind}.md)", signals, paths, _proof(said), unseen))
    head = ("store", "signals", "access paths", "proved against", "cannot be observed")
    return "\n".join([HEAD, "# Backends\n", *table(head, rows), ""])


def injectors_md() -> str:
    """Every way of sending at one look."""
    rows = []
    for kind in sorted(INJECTORS.entries):
        sender = INJECTORS.load(kind)
        stamped = ", ".join(sorted(sender.signals - sender.unstamped)) or "none"
        rows.append((
            f"[{kind}](injectors/{kind}.md)", ", ".join(sorted(sender.signals)), stamped,
            sender.says[Sent.ACCEPTED], ", ".join(sender.proved),
        ))  # fmt: skip
    head = ("injector", "signals", "stamps that arrive", "accepted means", "proved against")
    return "\n".join([HEAD, "# Injectors\n", *table(head, rows), ""])


def backend_pages(notes: Path) -> dict[str, str]:
    """A page a store, with the notes of its file below `notes`."""
    return {
        f"backends/{kind}.md": "\n".join(_backend(kind, notes)) for kind in sorted(BACKENDS.entries)
    }


def injector_pages(notes: Path) -> dict[str, str]:
    """A page an injector, with the notes of its file below `notes`."""
    return {
        f"injectors/{kind}.md": "\n".join(_injector(kind, notes))
        for kind in sorted(INJECTORS.entries)
    }


def _backend(kind: str, notes: Path) -> Iterator[str]:
    adapter = BACKENDS.load(kind)
    said = adapter.declaration
    yield from (HEAD, f"# Backend `{kind}`\n")
    yield from _notes(notes, kind)
    yield "## What it declares\n"
    yield from table(("what", "declared"), _facts(said))
    yield ""
    yield from table(
        ("access path", "floor", "canaries a read", "signals", "what it is for", "fields compared"),
        [_path(path) for path in said.paths],
    )
    yield ""
    yield from _impossible(said)
    yield from _options(adapter.options_model)


def _facts(said: Declaration) -> list[tuple[str, str]]:
    hot = "no other side" if said.hot_window_s is None else f"{said.hot_window_s / 3600:g} h"
    return [
        ("signals", ", ".join(sorted(said.signals))),
        ("proved against", _proof(said)),
        ("precision of stored timestamps", _precision(said.precision_ns)),
        ("two records of one id", f"{said.dedupe}: {said.dedupe_note}"),
        ("rows of one page", str(said.row_limit)),
        ("how absence looks", said.absent),
        ("age at which long-term storage answers", hot),
        ("read from", said.source),
    ]


def _proof(said: Declaration) -> str:
    return f"{'a fake' if said.fake else 'real'}: {', '.join(said.proved)}"


def _unseen(said: Declaration) -> list[tuple[str, str]]:
    """What this store makes impossible, each with its reason; copies where it collapses them."""
    copies = {} if said.dedupe is Dedupe.KEEPS else {"duplicates": said.dedupe_note}
    return sorted({**copies, **said.impossible}.items())


def _impossible(said: Declaration) -> Iterator[str]:
    if unseen := _unseen(said):
        yield "## What cannot be observed\n"
        yield from table(("what", "because"), unseen)
        yield ""


def _injector(kind: str, notes: Path) -> Iterator[str]:
    sender = INJECTORS.load(kind)
    yield from (HEAD, f"# Injector `{kind}`\n")
    yield from _notes(notes, kind)
    yield "## What it declares\n"
    words = [(f"`{sent}` means", sender.says[sent]) for sent in Sent if sent in sender.says]
    unstamped = ", ".join(sorted(sender.unstamped)) or "none"
    yield from table(("what", "declared"), [
        ("signals", ", ".join(sorted(sender.signals))),
        ("signals that others stamp", unstamped),
        ("proved against", ", ".join(sender.proved)),
        *words,
        ("read from", sender.source),
    ])  # fmt: skip
    yield ""
    yield from _options(sender.options_model)


def _options(model: type) -> list[str]:
    return section("Options", _SHARED if issubclass(model, AccessOptions) else "", [model])


def _notes(folder: Path, kind: str) -> Iterator[str]:
    """The notes without their own title."""
    path = folder / f"{kind}.md"
    if path.exists():
        lines = path.read_text().splitlines()
        body = lines[1:] if lines and lines[0].startswith("# ") else lines
        yield from (*"\n".join(body).strip().splitlines(), "")


def _path(path: AccessPath) -> tuple[str, ...]:
    many = "all that are pending" if path.batched else "one"
    use = "evidence"
    if path.cached:
        use = "judges the store's cache"
    elif path.counts_only:
        use = "counts only: judges this way of asking"
    fields = ", ".join(f"`{name}`" for name in sorted(path.shows)) or "none"
    signals = ", ".join(sorted(path.signals))
    return f"`{path.name}`", f"{path.floor_s:g} s", many, signals, use, fields


def _precision(precision_ns: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if precision_ns % size == 0:
            return f"{precision_ns // size} {unit}"
    return f"{precision_ns} ns"
