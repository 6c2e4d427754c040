"""Plain scalars by the core schema of YAML 1.2.2, section 10.3.2, with two refusals added.

Numbers that do not fit are errors, and so are NaN and the infinities: no setting means them.
"""

import math
import re
from dataclasses import dataclass

Scalar = str | int | float | bool | None

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_YAML_1_1_TRUE = frozenset({"y", "yes", "on"})
_YAML_1_1_FALSE = frozenset({"n", "no", "off"})
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Doubtful:
    """An unquoted word that is text in YAML 1.2 and true or false in YAML 1.1 (`no`, `on` …).

    It is neither str nor bool, so that no field takes it unseen.
    """

    text: str

    @property
    def as_bool(self) -> bool:
        """What YAML 1.1 makes of it."""
        return self.text.lower() in _YAML_1_1_TRUE


def plain_scalar(text: str) -> Scalar | Doubtful:
    """The value of an unquoted scalar. Raises ValueError for numbers that cannot be meant."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text.lower() in _YAML_1_1_TRUE | _YAML_1_1_FALSE:
        return Doubtful(text)
    if _NOT_A_NUMBER.fullmatch(text):
        raise ValueError(f"{text} is not a number that can be configured")
    return _number(text)


def _number(text: str) -> str | int | float:
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            digits = text.lstrip("+-").removeprefix("0o").removeprefix("0x")
            if len(digits) > _MAX_DIGITS:
                raise ValueError(f"integer of {len(digits)} digits is out of range")
            return int(text, base)
    if not _FLOAT.fullmatch(text):
        return text
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("number is out of range")
    return number
