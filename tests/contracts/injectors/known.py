"""Every dialect by its name, found in the files of `dialects/`."""

import importlib
import pkgutil
from collections.abc import Mapping

from selfcheck.canary.model import Signal
from tests.contracts.injectors import dialects
from tests.contracts.injectors.dialect import Dialect


def _dialects() -> Mapping[str, Dialect]:
    found: dict[str, Dialect] = {}
    for module in pkgutil.iter_modules(dialects.__path__):
        found |= importlib.import_module(f"{dialects.__name__}.{module.name}").DIALECTS
    return found


DIALECTS = _dialects()


def speaking(*signals: Signal) -> list[str]:
    """Names of the dialects for any of `signals`."""
    return sorted(name for name, one in DIALECTS.items() if not set(one.yes).isdisjoint(signals))
