"""A strict reader of one YAML document: every node knows its line and column.

ruamel.yaml scans and parses; nodes are built here from its events, because depth, aliases, tags
and duplicate keys must be judged before anything is expanded. All mistakes that leave the
structure readable are collected; a syntax error ends the reading.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from coalmine.config.scalars import Doubtful, Scalar, plain_scalar
from core.errors import ConfigError, Problem

MAX_DEPTH = 64
MAX_NODES = 1_000_000

Step = str | int
Path = tuple[Step, ...]


@dataclass(slots=True)
class Node:
    """One value with its place; for an entry of a mapping `key_line` and `key_column` too."""

    line: int
    column: int
    value: "Scalar | Doubtful | list[Node] | dict[str, Node]"
    key_line: int = 0
    key_column: int = 0
    size: int = 1
    height: int = 1
    open: bool = False

    def child(self, step: Step) -> "Node | None":
        """The node one step below; None when there is none."""
        if isinstance(self.value, dict) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int):
            return self.value[step] if 0 <= step < len(self.value) else None
        return None

    def plain(self) -> object:
        """The value as dicts, lists and scalars; unquoted `no`, `on` … stay `Doubtful`."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def show(path: Path) -> str:
    """A key path as people write it: `checks[2].every`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def read_yaml(text: str, file: str) -> Node:
    """The mapping that `text` holds. Raises ConfigError with every mistake found."""
    reader = _Reader(file)
    try:
        root = reader.document(iter(YAML(typ="safe", pure=True).parse(text)))
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = " ".join(part for part in (exc.context, exc.problem) if part)
        problem = Problem(file, line, column, "", f"not valid YAML: {what}")
        raise ConfigError([*reader.problems, problem]) from None
    except (YAMLError, ValueError, OverflowError) as exc:
        # An escape such as "\\UFFFFFFFF" names no character; the scanner does not say where.
        problem = Problem(file, *reader.place, "", f"not valid YAML after this place: {exc}")
        raise ConfigError([*reader.problems, problem]) from None
    if reader.problems:
        raise ConfigError(reader.problems)
    return root


class _Reader:
    """Builds the nodes of one document."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node] = {}
        self._path: list[Step] = []
        self._nodes = 0
        self.place = (1, 1)

    def document(self, events: Iterator[Event]) -> Node:
        """The only document of the stream, which must be a mapping with entries."""
        next(events)
        start = next(events)
        if not isinstance(start, DocumentStartEvent):
            self._stop(start, "the file is empty", "see `coalmine config schema` for the keys")
        root = self._node(next(events), events, depth=1)
        if root.value is None:
            self._stop(start, "the file is empty", "see `coalmine config schema` for the keys")
        if not isinstance(root.value, dict):
            self._stop(start, "expected a mapping at the top, such as `coalmine: 1`")
        next(events)
        if isinstance(second := next(events), DocumentStartEvent):
            self._stop(second, "a second document begins here", "keep one document per file")
        return root

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        self.place = _place(event)
        if depth > MAX_DEPTH:
            self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        node = Node(*_place(event), value=None, open=True)
        if isinstance(event, NodeEvent) and event.anchor:
            self._anchors[event.anchor] = node
        if tag := getattr(event, "tag", None):
            self._note(event, f"the tag {tag} is refused", "write the plain value")
        if isinstance(event, MappingStartEvent):
            node.value = self._mapping(node, events, depth)
        elif isinstance(event, SequenceStartEvent):
            node.value = self._sequence(node, events, depth)
        elif isinstance(event, ScalarEvent):
            node.value = self._scalar(event)
        node.open = False
        self._count(event, 1)
        return node

    def _alias(self, event: AliasEvent, depth: int) -> Node:
        target = self._anchors.get(event.anchor)
        if target is None:
            self._stop(event, f"the alias *{event.anchor} has no anchor")
        if target.open:
            self._stop(event, f"the alias *{event.anchor} contains itself")
        if depth + target.height - 1 > MAX_DEPTH:
            self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        self._count(event, target.size)
        return Node(*_place(event), target.value, size=target.size, height=target.height)

    def _mapping(self, node: Node, events: Iterator[Event], depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            key = self._key(event)
            self._path.append(key)
            if key in entries:
                first = entries[key].key_line
                self._note(event, f"duplicate key: first in line {first}, again here", "keep one")
            child = self._node(next(events), events, depth + 1)
            child.key_line, child.key_column = _place(event)
            entries.setdefault(key, child)
            _grow(node, child)
            self._path.pop()
        return entries

    def _sequence(self, node: Node, events: Iterator[Event], depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            self._path.append(len(items))
            items.append(self._node(event, events, depth + 1))
            _grow(node, items[-1])
            self._path.pop()
        return items

    def _key(self, event: Event) -> str:
        if not isinstance(event, ScalarEvent):
            self._stop(event, "a key must be text")
        if event.tag:
            self._note(event, f"the tag {event.tag} is refused", "write the plain key")
        return self._text(event)

    def _text(self, event: ScalarEvent) -> str:
        """Pairs of surrogates are how JSON escapes one character (RFC 8259, section 7)."""
        units = str(event.value).encode("utf-16", "surrogatepass")
        try:
            return units.decode("utf-16")
        except UnicodeDecodeError:
            self._note(event, "half of a surrogate pair is no character", "write the character")
            return units.decode("utf-16", "replace")

    def _scalar(self, event: ScalarEvent) -> Scalar | Doubtful:
        text = self._text(event)
        if not event.implicit[0]:
            return text
        try:
            return plain_scalar(text)
        except ValueError as exc:
            self._note(event, str(exc))
            return None

    def _count(self, event: Event, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(event, f"more than {MAX_NODES} values once aliases are expanded")

    def _note(self, event: Event, message: str, remedy: str = "") -> None:
        key = show(tuple(self._path))
        self.problems.append(Problem(self.file, *_place(event), key, message, remedy))

    def _stop(self, event: Event, message: str, remedy: str = "") -> NoReturn:
        self._note(event, message, remedy)
        raise ConfigError(self.problems)


def _grow(parent: Node, child: Node) -> None:
    parent.size += child.size
    parent.height = max(parent.height, child.height + 1)


def _place(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1
