"""Options models and other declarations as tables of Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from core.options import Duration, Options, SecretField, Size, secret_fields
from core.secrets import Secret
from selfcheck.access import AccessOptions

HEAD = "<!-- Made by `coalmine docs build`: change the declarations, not this page. -->\n"
_MARKED = {
    get_args(marked)[1]: name
    for marked, name in ((Duration, "duration"), (Size, "size"), (SecretField, "secret"))
}
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_UNITS_S = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_UNITS_B = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1))


def section(title: str, note: str, models: Sequence[type[Options]], mark: str = "##") -> list[str]:
    """A heading, a note, and one row a key of `models`."""
    rows = [row for model in models for row in _rows(model, "")]
    keys = table(("key", "type", "default", "meaning"), rows) if rows else ["No keys."]
    return [f"{mark} {title}\n", *([f"{note}\n"] if note else []), *keys, ""]


def kinds(seam: str, entries: Iterable[str], load: Any) -> list[str]:  # of any registry
    """A section for the options of each registered kind."""
    lines: list[str] = []
    for kind in sorted(entries):
        model = load(kind).options_model
        note = "And the keys of [Access](#access)." if issubclass(model, AccessOptions) else ""
        lines += section(f"{seam} `{kind}`", note, [model], "###")
    return lines


def _rows(model: type[BaseModel], above: str) -> Iterator[tuple[str, ...]]:
    """One row a key; keys of nested mappings are written with dots, of list entries with `[]`."""
    secrets = secret_fields(model)
    shared = AccessOptions.model_fields if model is not AccessOptions else {}
    inherited = shared if issubclass(model, AccessOptions) else {}
    for name, info in model.model_fields.items():
        if name in inherited:
            continue
        key = f"{above}{info.alias or name}"
        written = f"`{key}_file` or `{key}`" if name in secrets else f"`{key}`"
        kind = _type(info.annotation, info.metadata)
        yield written, kind, _default(info, kind), info.description or ""
        for inner, listed in dict.fromkeys(_models(info.annotation)):
            yield from _rows(inner, f"{key}[]." if listed else f"{key}.")


def _models(annotation: Any, listed: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """Models within a type, each with whether it stands in a list; a map's short form counts."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, listed
        return
    within = get_origin(annotation) is tuple
    found = [pair for arg in get_args(annotation) for pair in _models(arg, listed or within)]
    single = {model for model, in_list in found if not in_list}
    # `Expect | list of Expect`: one row is enough, and the map is the shorter form.
    yield from (pair for pair in found if not pair[1] or pair[0] not in single)


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """The type of a key in words."""
    marked = next((_MARKED[each] for each in metadata if _is_mark(each)), None)
    if marked:
        return marked
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in inner if each is not NoneType))
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in inner)
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    return "mapping" if origin is dict else _named(annotation)


def _named(annotation: Any) -> str:
    if annotation is Secret:
        return "secret"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{each.value}`" for each in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return "path" if annotation is Path else _PLAIN.get(annotation, "number")


def _is_mark(marker: object) -> bool:
    return any(marker is each for each in _MARKED)


def _default(info: FieldInfo, kind: str) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or value in ("", (), {}) or isinstance(value, BaseModel):
        return ""
    if kind == "duration":
        return f"`{_in_units(value, _UNITS_S)}`"
    if kind == "size":
        return f"`{_in_units(value, _UNITS_B)}`"
    shown = str(value).lower() if isinstance(value, bool) else str(getattr(value, "value", value))
    return f"`{shown}`"


def _in_units(value: float, units: Sequence[tuple[str, int]]) -> str:
    """`value` in the largest unit that divides it."""
    for unit, size in units:
        if value % size == 0:
            return f"{int(value // size)}{unit}"
    return f"{value:g}{units[-1][0]}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
