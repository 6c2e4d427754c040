"""The row filter: `sev:crit route:gw text`. Every word must match; words are not cased."""

from collections.abc import Mapping
from dataclasses import dataclass

_ALIASES = {"severity": "sev", "check": "route", "subject": "route", "where": "hop"}


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter. `text` is what was typed; `faults` leaves out what is well."""

    text: str = ""
    faults: bool = False

    @property
    def active(self) -> bool:
        """Whether rows may be left out."""
        return bool(self.text.strip()) or self.faults

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether a row with these fields passes; a word without `field:` is sought in all."""
        return all(_matches(word, fields) for word in self.text.lower().split())


def _matches(word: str, fields: Mapping[str, str]) -> bool:
    name, colon, wanted = word.partition(":")
    name = _ALIASES.get(name, name)
    if colon and name in fields:
        return wanted in fields[name].lower()
    return any(word in value.lower() for value in fields.values())
