"""A price book with a mistake is refused as a whole, and each mistake has its place."""

from datetime import date
from decimal import Decimal

import pytest

from core.errors import ConfigError
from selfcheck.canary.model import Signal
from selfcheck.cost.book import load, parse, shipped
from selfcheck.cost.rules.protocol import RULES, rule
from selfcheck.cost.tiers import UNITS

TODAY = date(2026, 11, 21)
GOOD = """\
price_book: 1
entries:
  - id: a/1
    vendor: v
    meter: logs.ingest
    unit: GB
    rule: {kind: bytes_sum, which_bytes: wire, period: month, rounding: none}
    region: us
    currency: USD
    tiers: [{up_to: "10", price: "0"}, {price: "0.40"}]
    source: {page: "p", seen_on: 2026-11-20}
    grade: V
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "b.yaml", TODAY)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_book_is_read_with_exact_prices():
    (entry,) = parse(GOOD, "b.yaml", TODAY).entries
    assert entry.tiers[1].price == Decimal("0.40")
    assert entry.signal is Signal.LOGS
    assert entry.seen_on == date(2026, 11, 20)


@pytest.mark.parametrize("name", ["google-cloud", "self-hosted"])
def test_every_shipped_entry_has_a_source_a_date_and_a_grade(name):
    book = shipped(name, TODAY)
    assert book.name == name
    assert all(entry.page and entry.seen_on and entry.grade for entry in book.entries)


def test_the_shipped_vendor_book_holds_first_hand_prices_only():
    assert {entry.grade for entry in shipped("google-cloud", TODAY).entries} == {"V"}


def test_a_book_can_be_loaded_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert load(path, TODAY).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'price: "0.40"',
            "price: 0.40",
            "b.yaml:10:48: entries[0].tiers[1].price: a number of money",
        ),
        ('price: "0.40"', 'price: "-1"', "must be finite and not negative"),
        ('price: "0.40"', 'price: "NaN"', "must be finite and not negative"),
        ('price: "0.40"', 'price: "cheap"', "expected a decimal number"),
        ('up_to: "10", ', "", "the last tier is open, every other one has `up_to`"),
        ('{price: "0.40"}', '{up_to: "20", price: "0.40"}', "the last tier is open"),
        (
            '{price: "0.40"}',
            '{up_to: "5", price: "1"}, {price: "2"}',
            "tiers ascend without overlap",
        ),
        ('[{up_to: "10", price: "0"}, {price: "0.40"}]', "[]", "needs at least one tier"),
        ("    currency: USD\n", "", "b.yaml:3:5: entries[0]: currency is missing"),
        ("    grade: V\n", "    grade: A\n", "'A' is not one of"),
        ("    grade: V\n", "    grade: V\n    grade: S\n", "is given twice"),
        ("    vendor: v\n", "    vendro: v\n", "did you mean vendor?"),
        ("seen_on: 2026-11-20", "seen_on: 2026-11-22", "lies in the future"),
        ("seen_on: 2026-11-20", "seen_on: lately", "expected a date"),
        (", seen_on: 2026-11-20", "", "seen_on is missing"),
        ("unit: GB", "unit: Gb", "'Gb' is not one of"),
        ("unit: GB", "unit: GB-month", "rule bytes_sum does not bill in GB-month"),
        ("kind: bytes_sum", "kind: bytes_max", "unknown rule kind 'bytes_max'"),
        ("rounding: none", "rounding: up", "'up' is not one of"),
        ("meter: logs.ingest", "meter: profiles.ingest", "'profiles' is not one of"),
        ("price_book: 1", "price_book: 2", "this Coalmine reads price_book: 1"),
        ("price_book: 1", "price_book: [", "b.yaml:"),
        (
            "    grade: V\n",
            "    grade: V\n    effective: {from: 2026-02-01, to: 2026-01-01}\n",
            "ends before it begins",
        ),
    ],
)
def test_a_mistake_is_refused_at_its_place(old, new, told):
    assert old in GOOD
    assert any(told in problem for problem in problems(GOOD.replace(old, new, 1)))


def test_all_mistakes_are_told_at_once():
    text = GOOD.replace("grade: V", "grade: A").replace("unit: GB", "unit: Gb")
    assert len(problems(text)) == 2


def test_an_empty_file_is_refused():
    assert problems("") == ["b.yaml:1:1: the file is empty"]


SECOND = GOOD.split("entries:\n")[1].replace("a/1", "a/2")


def test_two_prices_of_one_meter_and_day_are_refused():
    assert "prices the same meter and days as a/1" in problems(GOOD + SECOND)[0]


def test_two_prices_are_fine_as_alternatives_or_on_other_days():
    assert len(parse(GOOD + SECOND + "    alternatives: [a/1]\n", "b.yaml", TODAY).entries) == 2
    ended = GOOD + "    effective: {from: null, to: 2026-10-31}\n"
    begun = SECOND + "    effective: {from: 2026-11-01, to: null}\n"
    book = parse(ended + begun, "b.yaml", TODAY)
    assert book.entry(Signal.LOGS, TODAY).id == "a/2"
    assert book.entry(Signal.LOGS, date(2026, 10, 31)).id == "a/1"


@pytest.mark.parametrize("kind", sorted(RULES))
def test_every_rule_turns_a_quantity_into_units_of_what_it_bills_in(kind):
    known = rule(kind)
    settings = {name: min(values) if values else "2" for name, values in known.settings.items()}
    units = [unit for unit in UNITS.values() if unit.counts in known.counts]
    assert units
    for unit in units:
        one, two = (known.units(Decimal(unit.size * n), unit, settings) for n in (30, 60))
        assert 0 < one < two


def test_a_vendor_that_floors_bills_whole_units_only():
    entry = parse(GOOD.replace("rounding: none", "rounding: floor"), "b.yaml", TODAY).entries[0]
    assert entry.units(Decimal(100_900_000_000)) == 100


def test_storage_pays_for_each_byte_as_long_as_it_is_kept():
    entry = shipped("self-hosted", TODAY).entry(Signal.LOGS, TODAY)
    assert entry.units(Decimal(800 * 10**9)) == 100
