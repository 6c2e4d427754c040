"""Price books: dated, sourced prices as YAML data, refused as a whole when anything is wrong.

Every mistake is a located `Problem`; prices are decimal strings, never floats. Nothing here is
fetched: a book is a file. Record format: docs/design.md, "Price books".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation, localcontext
from importlib import resources
from pathlib import Path

from core.errors import CoalmineError, ConfigError
from selfcheck.canary.model import Signal
from selfcheck.cost.nodes import Cursor, read
from selfcheck.cost.rules.protocol import RULES, BillingRule, rule
from selfcheck.cost.tiers import EXACT, UNITS, Tier, Unit

STALE_DAYS = 180
BUILTIN = "builtin:"

_GRADES = {"V", "S", "S2", "U", "user"}
_REQUIRED = frozenset(
    {"id", "vendor", "meter", "unit", "rule", "region", "currency", "tiers", "source", "grade"}
)
_OPTIONAL = frozenset({"free_scope", "retention", "commitment", "effective", "alternatives"})


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """One meter of one vendor.

    free_scope: what the free tier is counted over, "" = not stated.
    effective: first and last day, None = not stated, never "always".
    alternatives: ids of entries that read the same price differently.
    """

    id: str
    vendor: str
    meter: str
    signal: Signal
    unit: Unit
    rule_kind: str
    settings: Mapping[str, str]
    region: str
    currency: str
    tiers: tuple[Tier, ...]
    free_scope: str
    page: str
    page_date: str
    seen_on: date
    grade: str
    effective: tuple[date | None, date | None]
    alternatives: tuple[str, ...]

    def units(self, quantity: Decimal) -> Decimal:
        """Billable units of this entry for a month's bytes or items."""
        with localcontext(EXACT):
            return rule(self.rule_kind).units(quantity, self.unit, self.settings)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The entries of one file. `name` is shown with every figure that used it."""

    name: str
    entries: tuple[PriceEntry, ...]

    def entry(self, signal: Signal, today: date) -> PriceEntry | None:
        """The entry in force for a signal; None = unpriced. Alternatives come after the first."""
        fitting = (one for one in self.entries if one.signal is signal and _covers(one, today))
        return next(fitting, None)


def load(path: Path, today: date) -> PriceBook:
    """The book in `path`. Raises ConfigError with every mistake, OSError when it is not there."""
    return parse(path.read_text(), path.name, today)


def shipped(name: str, today: date) -> PriceBook:
    """A book that comes with Coalmine: `google-cloud` or `self-hosted`."""
    text = resources.files("selfcheck.cost").joinpath(f"books/{name}.yaml").read_text()
    return parse(text, f"{name}.yaml", today)


def shipped_books() -> tuple[str, ...]:
    """Names of the books that come with Coalmine."""
    folder = resources.files("selfcheck.cost").joinpath("books")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def read_book(name: str, base: Path, today: date) -> PriceBook:
    """The book called `builtin:NAME`, or the file `name` below `base`.

    Raises ConfigError for a book with mistakes, CoalmineError for one that is not there.
    """
    if name.startswith(BUILTIN) and name.removeprefix(BUILTIN) not in shipped_books():
        raise CoalmineError(f"there is no shipped price book {name!r}")
    try:
        if name.startswith(BUILTIN):
            return shipped(name.removeprefix(BUILTIN), today)
        return load(base / name, today)
    except OSError as exc:
        raise CoalmineError(f"price book {name!r} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        # Of a name no file can have, or of bytes that are no UTF-8.
        raise CoalmineError(f"price book {name!r} cannot be read: {exc}") from exc


def parse(text: str, file: str, today: date) -> PriceBook:
    """The book in `text`. Raises ConfigError with every mistake found."""
    root = read(text, file)
    fields = root.mapping(frozenset({"price_book", "entries"}), frozenset())
    version = fields.get("price_book")
    if version is not None and version.integer() != 1:
        version.refuse("this Coalmine reads price_book: 1")
    listed = fields["entries"].sequence() if "entries" in fields else []
    made = [(cursor, _entry(cursor, today)) for cursor in listed]
    entries = [(cursor, entry) for cursor, entry in made if entry is not None]
    _refuse_overlaps(entries)
    if root.problems:
        raise ConfigError(root.problems)
    return PriceBook(file.removesuffix(".yaml"), tuple(entry for _, entry in entries))


def _entry(cursor: Cursor, today: date) -> PriceEntry | None:
    before = len(cursor.problems)
    fields = cursor.mapping(_REQUIRED, _OPTIONAL)
    if len(cursor.problems) > before:
        return None
    source = fields["source"].mapping(
        frozenset({"page", "seen_on"}), frozenset({"publisher", "page_date"})
    )
    seen_on = source["seen_on"].day() if "seen_on" in source else None
    if seen_on is not None and seen_on > today:
        source["seen_on"].refuse("lies in the future")
    text = {name: fields[name].text() for name in ("id", "vendor", "meter", "region", "currency")}
    signal = _choice(fields["meter"], {s.value for s in Signal}, text["meter"].split(".")[0])
    unit = _choice(fields["unit"], set(UNITS), fields["unit"].text())
    grade = _choice(fields["grade"], _GRADES, fields["grade"].text())
    kind, settings = _rule(fields["rule"], unit)
    tiers = _tiers(fields["tiers"])
    effective = _effective(fields.get("effective"))
    if len(cursor.problems) > before or seen_on is None:
        return None
    return PriceEntry(
        id=text["id"],
        vendor=text["vendor"],
        meter=text["meter"],
        signal=Signal(signal),
        unit=UNITS[unit],
        rule_kind=kind,
        settings=settings,
        region=text["region"],
        currency=text["currency"],
        tiers=tiers,
        free_scope=fields["free_scope"].text() if "free_scope" in fields else "",
        page=source["page"].text(),
        page_date=source["page_date"].text() if "page_date" in source else "",
        seen_on=seen_on,
        grade=grade,
        effective=effective,
        alternatives=tuple(one.text() for one in _list(fields.get("alternatives"))),
    )


def _list(cursor: Cursor | None) -> list[Cursor]:
    return cursor.sequence() if cursor is not None else []


def _choice(cursor: Cursor, known: set[str], given: str) -> str:
    if given not in known:
        cursor.refuse(f"{given!r} is not one of {', '.join(sorted(known))}")
    return given


def _rule(cursor: Cursor, unit: str) -> tuple[str, Mapping[str, str]]:
    kinds = cursor.peek("kind")
    if kinds not in RULES:
        cursor.refuse(f"unknown rule kind {kinds!r}: known: {', '.join(sorted(RULES))}")
        return "", {}
    known: type[BillingRule] = rule(kinds)
    fields = cursor.mapping(frozenset({"kind", *known.settings}), frozenset())
    for name, allowed in known.settings.items():
        if name in fields:
            _setting(fields[name], allowed)
    if unit in UNITS and UNITS[unit].counts not in known.counts:
        cursor.refuse(f"rule {kinds} does not bill in {unit}")
    return kinds, {name: fields[name].text() for name in known.settings if name in fields}


def _setting(cursor: Cursor, allowed: frozenset[str]) -> None:
    if allowed:
        _choice(cursor, set(allowed), cursor.text())
    elif (_decimal(cursor) or Decimal(1)) <= 0:
        cursor.refuse("must be more than 0")


def _decimal(cursor: Cursor) -> Decimal | None:
    if cursor.is_float():
        cursor.refuse("a number of money or units is a quoted decimal", 'write "0.50", not 0.50')
        return None
    try:
        value = Decimal(cursor.text())
    except InvalidOperation:
        cursor.refuse("expected a decimal number in quotes")
        return None
    if not value.is_finite() or value < 0:
        cursor.refuse("must be finite and not negative")
        return None
    return value


def _tiers(cursor: Cursor) -> tuple[Tier, ...]:
    listed = cursor.sequence()
    if not listed:
        cursor.refuse("needs at least one tier")
    tiers: list[Tier] = []
    last = Decimal(0)
    for index, one in enumerate(listed):
        fields = one.mapping(frozenset({"price"}), frozenset({"up_to"}))
        price = fields.get("price")
        amount = None if price is None or price.is_null() else _decimal(price)
        up_to = _decimal(fields["up_to"]) if "up_to" in fields else None
        if ("up_to" in fields) == (index == len(listed) - 1):
            one.refuse("the last tier is open, every other one has `up_to`")
        if up_to is not None and up_to <= last:
            one.refuse("tiers ascend without overlap")
        last = up_to if up_to is not None else last
        tiers.append(Tier(up_to, amount))
    return tuple(tiers)


def _effective(cursor: Cursor | None) -> tuple[date | None, date | None]:
    if cursor is None:
        return None, None
    fields = cursor.mapping(frozenset({"from", "to"}), frozenset())
    first, last = (
        None if name not in fields or fields[name].is_null() else fields[name].day()
        for name in ("from", "to")
    )
    if first is not None and last is not None and last < first:
        cursor.refuse("ends before it begins")
    return first, last


def _covers(entry: PriceEntry, day: date) -> bool:
    first, last = entry.effective
    return (first is None or first <= day) and (last is None or day <= last)


def _refuse_overlaps(entries: list[tuple[Cursor, PriceEntry]]) -> None:
    for index, (cursor, one) in enumerate(entries):
        for _, other in entries[:index]:
            if one.id == other.id:
                cursor.refuse(f"a second entry with the id {one.id}")
            elif _same_meter(one, other) and not _named(one, other):
                cursor.refuse(f"prices the same meter and days as {other.id}", "alternatives: [id]")


def _same_meter(one: PriceEntry, other: PriceEntry) -> bool:
    same = (one.vendor, one.meter, one.region) == (other.vendor, other.meter, other.region)
    starts = max(one.effective[0] or date.min, other.effective[0] or date.min)
    ends = min(one.effective[1] or date.max, other.effective[1] or date.max)
    return same and starts <= ends


def _named(one: PriceEntry, other: PriceEntry) -> bool:
    return one.id in other.alternatives or other.id in one.alternatives
