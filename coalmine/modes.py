"""The page of canary failure modes: what goes wrong, what is done about it, and the tests of it.

A test belongs to a mode by its name, `test_mode_NN_what_it_promises`, wherever it stands.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from selfcheck.backends.protocol import BACKENDS, Dedupe

TESTS = Path(__file__).parents[1] / "tests"
_PREFIX = "test_mode_"
_HEAD = "<!-- Made by `coalmine docs build` from the names of tests and coalmine/modes.py. -->\n"
_INTRO = """\
What goes wrong with canaries, with the stores that they are read from, and with ourselves. Each
sentence in the last column is the name of a test; `make test` runs them all, and is red when one
fails or a mode has none. What a store makes impossible to observe is declared by its adapter, and
listed below.
"""


@dataclass(frozen=True, slots=True)
class Mode:
    """One way in which a canary can mislead. must: what has to follow, in one line."""

    number: int
    happens: str
    must: str


@dataclass(frozen=True, slots=True)
class Proof:
    """One test of a mode; file: below the folder of the tests."""

    number: int
    name: str
    file: str

    @property
    def sentence(self) -> str:
        """The test's name as a sentence."""
        words = self.name.removeprefix(f"{_PREFIX}{self.number:02d}_").replace("_", " ")
        return words[:1].upper() + words[1:]


MODES: Mapping[str, tuple[Mode, ...]] = {
    "Identity and ledger": (
        Mode(1, "restart with canaries in flight", "all of them are judged after it"),
        Mode(2, "restart during an outage", "no verdict changes; what was not sent is missed"),
        Mode(3, "two replicas on one tenant", "neither answers for the other"),
        Mode(4, "pause and resume", "only sending stops; history and learned delays stay"),
        Mode(5, "crash around commit, send, answer, record", "maybe sent, never lost"),
        Mode(6, "a write fails or is skipped", "rejected or skipped; nothing is lost"),
        Mode(7, "ledger or disk full", "a hard bound, told and counted: unknown(ledger_full)"),
    ),
    "Read path": (
        Mode(8, "query API down for an hour", "blind, none lost, all judged 5 min after"),
        Mode(9, "backlog beyond the row limit", "paged to its end, none lost"),
        Mode(10, "200, but truncated, partial or warned", "no complete read: unknown"),
        Mode(11, "429 on reads", "Retry-After honoured in both forms; deadlines widen"),
        Mode(12, "data shows late", "the deadline is learned from the route's own delays"),
        Mode(13, "an old answer from a cache", "that path is stale; the canary is judged uncached"),
        Mode(14, "a frontend aligns start, end or step", "wider ranges are asked, stamps decide"),
        Mode(15, "a cutoff hides fresh data", "the path's floor: only what is above it counts"),
        Mode(16, "old samples are told again", "stamp and value decide: no further ok"),
        Mode(17, "a range without its first or last point", "exactly those are missing"),
        Mode(18, "one path ignores what another shows", "a verdict for each access path"),
        Mode(19, "tails that die or replay", "polling is the only evidence"),
    ),
    "Write path": (
        Mode(20, "200, but refused or discarded", "the answer is parsed; rejected or lost"),
        Mode(21, "4xx and limits", "the same pace, and history stays"),
        Mode(22, "a retried write had succeeded", "copies up to the tries are no incident"),
        Mode(23, "one stuck write", "the others leave on time"),
        Mode(24, "a collector batches", "a delay and no loss"),
        Mode(25, "loss that no counter shows", "fail, and the disagreement is named"),
        Mode(26, "sampling or a filter", "policy_drop with proof; undeclared: fail(policy)"),
    ),
    "Meaning of results": (
        Mode(27, "one lost and one doubled", "both are told, they do not cancel"),
        Mode(28, "a late canary", "late once, never lost and then doubled"),
        Mode(29, "a lost canary is looked for again", "counted once"),
        Mode(30, "late arrivals", "part of the distribution and of the deadline"),
        Mode(31, "nothing was checked", "blind, exit code 2"),
        Mode(32, "counters that appear with the first event", "all are at zero from the start"),
        Mode(33, "alert rules and NaN, a dead tester", "rules fire on total silence"),
        Mode(34, "an incident that comes back", "no random window feeds an alert"),
        Mode(35, "tester or system?", "our own faults are blind with their reason"),
        Mode(36, "the store deduplicates", "not observable, never none"),
        Mode(37, "clock steps and skew, suspends, new boots",
             "deadlines only widen, none lost; skew told as skew"),
        Mode(38, "stamps cut, numbers as floats", "equality at the declared precision"),
    ),
    "Operations": (
        Mode(39, "cardinality", "no id in a label: at most 5 series a metrics route"),
        Mode(40, "many routes", "200 in one process, each within its budget"),
        Mode(41, "credentials and TLS", "one for each direction, read anew; 401 is unknown(auth)"),
        Mode(42, "canaries cost and pollute", "own names; caps slow them down, then blind(cap)"),
        Mode(43, "parameters change in flight", "each row keeps those it was sent under"),
    ),
}  # fmt: skip


def proofs(tests: Path = TESTS) -> tuple[Proof, ...]:
    """Every test of a mode below `tests`, by number, file and place in it.

    Raises FileNotFoundError where there are no tests, as in an installed package.
    """
    if not tests.is_dir():
        raise FileNotFoundError(f"{tests}: the page of failure modes is made from the tests")
    found = [
        proof
        for file in sorted(tests.rglob("test_*.py"))
        for proof in _proofs_in(file, file.relative_to(tests).as_posix())
    ]
    return tuple(sorted(found, key=lambda one: (one.number, one.file)))


def _proofs_in(file: Path, told: str) -> Iterator[Proof]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            number = node.name.removeprefix(_PREFIX)[:2]
            if node.name.startswith(_PREFIX) and number.isdigit():
                yield Proof(int(number), node.name, told)


def modes_md(tests: Path = TESTS) -> str:
    """The page. Raises LookupError for a mode without a test."""
    found = proofs(tests)
    lines = [
        _HEAD,
        "# Canary failure modes\n",
        _INTRO,
    ]
    for title, modes in MODES.items():
        lines += [f"## {title}\n", "| # | what happens | what follows | proven by |"]
        lines += ["| --- | --- | --- | --- |"]
        lines += [_row(mode, found) for mode in modes]
        lines.append("")
    return "\n".join([*lines, *_declared()])


def _row(mode: Mode, found: tuple[Proof, ...]) -> str:
    own = [proof for proof in found if proof.number == mode.number]
    if not own:
        raise LookupError(f"no test is named {_PREFIX}{mode.number:02d}_…: {mode.happens}")
    told = "<br>".join(f"{proof.sentence} ({proof.file})" for proof in own)
    return f"| {mode.number} | {mode.happens} | {mode.must} | {told} |"


def _declared() -> list[str]:
    """What stores make impossible, as their adapters say."""
    lines = ["## Declared: not observable\n", "| backend | what | why |", "| --- | --- | --- |"]
    for kind in sorted(BACKENDS.entries):
        said = BACKENDS.load(kind).declaration
        told = dict(said.impossible)
        if said.dedupe is not Dedupe.KEEPS:
            told.setdefault("duplicates", said.dedupe_note)
        lines += [f"| {kind} | {what} | {why} |" for what, why in sorted(told.items())]
    return [*lines, ""]
