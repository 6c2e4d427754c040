"""YAML with positions: every value knows its file, line and key, and where to report a mistake."""

import difflib
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from core.errors import ConfigError, Problem

_FLOAT, _NULL, _INT = (f"tag:yaml.org,2002:{name}" for name in ("float", "null", "int"))


@dataclass(frozen=True, slots=True)
class Cursor:
    """A node, the path to it, and the list that its problems go to."""

    node: Any  # ruamel's nodes are not typed
    file: str
    key: str
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, message: str, remedy: str = "") -> None:
        """Note a mistake at this place."""
        mark = self.node.start_mark
        self.problems.append(
            Problem(self.file, mark.line + 1, mark.column + 1, self.key, message, remedy)
        )

    def mapping(self, required: frozenset[str], optional: frozenset[str]) -> dict[str, "Cursor"]:
        """The values by key; missing, unknown and duplicate keys are noted and left out."""
        if not isinstance(self.node, MappingNode):
            self.refuse("expected a map of keys")
            return {}
        found: dict[str, Cursor] = {}
        for key_node, value in self.node.value:
            name = str(key_node.value)
            below = Cursor(value, self.file, f"{self.key}.{name}".lstrip("."), self.problems)
            if name in found:
                below.refuse("is given twice")
            elif name not in required | optional:
                near = difflib.get_close_matches(name, sorted(required | optional), n=1)
                below.refuse("unknown key", f"did you mean {near[0]}?" if near else "")
            else:
                found[name] = below
        for name in sorted(required - found.keys()):
            self.refuse(f"{name} is missing")
        return found

    def sequence(self) -> list["Cursor"]:
        """The members of a list; none when it is no list, which is noted."""
        if not isinstance(self.node, SequenceNode):
            self.refuse("expected a list")
            return []
        return [
            Cursor(value, self.file, f"{self.key}[{index}]", self.problems)
            for index, value in enumerate(self.node.value)
        ]

    def peek(self, name: str) -> str:
        """The text under `name`, "" when there is none."""
        pairs = self.node.value if isinstance(self.node, MappingNode) else ()
        values = (value for key, value in pairs if key.value == name)
        found = next(values, None)
        return str(found.value) if isinstance(found, ScalarNode) else ""

    def text(self) -> str:
        """The scalar as written; "" when it is none, which is noted."""
        if not isinstance(self.node, ScalarNode) or not str(self.node.value):
            self.refuse("expected text")
            return ""
        return str(self.node.value)

    def integer(self) -> int | None:
        """The whole number; None when it is none, which is noted."""
        if not isinstance(self.node, ScalarNode) or self._tag() != _INT:
            self.refuse("expected a whole number")
            return None
        return int(self.node.value)

    def day(self) -> date | None:
        """The date; None when it is none, which is noted."""
        try:
            return date.fromisoformat(self.text())
        except ValueError:
            self.refuse("expected a date such as 2026-11-21")
            return None

    def is_float(self) -> bool:
        """Whether it is an unquoted number with a point, which cannot hold money exactly."""
        return isinstance(self.node, ScalarNode) and self._tag() == _FLOAT

    def is_null(self) -> bool:
        """Whether it is written as null."""
        return isinstance(self.node, ScalarNode) and self._tag() == _NULL

    def _tag(self) -> str:
        return str(self.node.tag)


def read(text: str, file: str) -> Cursor:
    """The root of one YAML 1.2 document. Raises ConfigError when it is none."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        told = str(getattr(exc, "problem", None) or exc)
        raise ConfigError([Problem(file, line, column, "", told)]) from exc
    if node is None:
        raise ConfigError([Problem(file, 1, 1, "", "the file is empty")])
    return Cursor(node, file, "")
