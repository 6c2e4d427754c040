"""Every case of the conformance suite, as parameters of its tests."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping

import pytest

from selfcheck.backends.protocol import BACKENDS
from tests.contracts.backends import cases
from tests.contracts.backends.case import Opening


def _openings() -> Mapping[str, Opening]:
    found: dict[str, Opening] = {}
    for module in pkgutil.iter_modules(cases.__path__):
        found |= importlib.import_module(f"{cases.__name__}.{module.name}").CASES
    missing = set(BACKENDS.entries) - {opening.kind for opening in found.values()}
    if missing:
        raise LookupError(f"no case below {cases.__name__} for {', '.join(sorted(missing))}")
    return found


OPENINGS = _openings()


def parameters(names: Iterable[str] = OPENINGS) -> list[object]:
    """Cases by name, each with the marks of what it needs."""
    return [
        pytest.param(name, marks=[pytest.mark.stack] if OPENINGS[name].servers else [])
        for name in sorted(names)
    ]


def one_for_each(told: Callable[[Opening], str]) -> list[object]:
    """One case for each thing told of them, for rows that its further servers would only repeat.

    One that needs no server comes first.
    """
    chosen: dict[str, str] = {}
    for name in sorted(OPENINGS, key=lambda name: (bool(OPENINGS[name].servers), name)):
        chosen.setdefault(told(OPENINGS[name]), name)
    return parameters(chosen.values())
