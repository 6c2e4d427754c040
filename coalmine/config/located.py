"""Pydantic's errors told in the words and at the places of the file."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from coalmine.config.scalars import Doubtful
from coalmine.config.yaml import Node, Path, show
from core.errors import Problem
from core.options import Options, secret_fields
from core.secrets import Secret

M = TypeVar("M", bound=Options)


class Report:
    """Collects the mistakes of one file, each at the node that holds it."""

    def __init__(self, file: str, root: Node, env: Mapping[str, str]) -> None:
        self.file = file
        self.root = root
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._env = env

    def problem(self, path: Path, message: str, remedy: str = "", *, at_key: bool = False) -> None:
        """An error; `at_key` points to the key of the entry, otherwise to its value."""
        self.problems.append(self._located(path, message, remedy, at_key=at_key))

    def warning(self, path: Path, message: str, remedy: str = "") -> None:
        """A remark that does not refuse the file."""
        self.warnings.append(self._located(path, message, remedy, at_key=False))

    def validate(
        self, model: type[M], path: Path, given: dict[str, Any], known: Iterable[str] = ()
    ) -> M | None:
        """`given`, which stands at `path`, as `model`; None when it is wrong, which is reported.

        known: keys that belong to somebody else in the same mapping: offered as nearest match.
        """
        remarks: list[str] = []
        context = {
            "base_dir": FilePath(self.file).parent,
            "env": self._env,
            "warnings": remarks,
            "from_file": True,
        }
        value, errors = _try(model, given, context)
        if errors and _settle_doubtful(given, errors):
            remarks.clear()
            value, errors = _try(model, given, context)
        if errors:
            told = _by_path(model, given, errors)
            if _set_secrets_aside(model, given, errors):
                told = _by_path(model, given, _try(model, given, context)[1]) | told
            self._tell(model, path, told, tuple(known))
        for remark in remarks:
            self.warning(path, remark)
        return value

    def place(self, path: Path, *, at_key: bool = False) -> tuple[int, int]:
        """Line and column of the deepest node of `path` that exists, counted from 1."""
        node = self.root
        for step in path:
            child = node.child(step)
            if child is None:
                return node.line, node.column
            node = child
        if at_key and node.key_line:
            return node.key_line, node.key_column
        return node.line, node.column

    def _located(self, path: Path, message: str, remedy: str, *, at_key: bool) -> Problem:
        line, column = self.place(path, at_key=at_key)
        return Problem(self.file, line, column, show(path), message, remedy)

    def _tell(
        self,
        model: type[Options],
        path: Path,
        told: Mapping[Path, list[ErrorDetails]],
        known: tuple[str, ...],
    ) -> None:
        for inner, group in told.items():
            if _other_branch(inner, group, told):
                continue
            message, remedy = _wording(model, inner, group, known)
            extra = group[0]["type"] == "extra_forbidden"
            self.problem(path + inner, message, remedy, at_key=extra)


def _try(
    model: type[M], given: dict[str, Any], context: dict[str, Any]
) -> tuple[M | None, list[ErrorDetails]]:
    try:
        return model.model_validate(given, context=context), []
    except ValidationError as exc:
        return None, exc.errors(include_url=False)


def _by_path(
    model: type[Options], given: dict[str, Any], errors: list[ErrorDetails]
) -> dict[Path, list[ErrorDetails]]:
    told: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        told.setdefault(_written_path(model, given, error), []).append(error)
    return told


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy that names the known word closest to `word`; empty when none is close."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def _written_path(model: type[Options], given: object, error: ErrorDetails) -> Path:
    """The path in the file; pydantic's own steps, such as union branches, are left out."""
    path, here = _descend(given, error)
    if error["type"] == "missing":
        return (*path, error["loc"][-1])
    if error["type"] == "value_error":
        # Secrets are judged before the fields, so pydantic cannot say which one was wrong.
        secrets = _written_secrets(model, path, here)
        return (*path, *secrets) if len(secrets) == 1 else path
    return path


def _written_secrets(model: type[Options], path: Path, here: object) -> list[str]:
    """Keys of the mapping `here`, which stands at `path` below `model`, that name a secret."""
    if not isinstance(here, dict):
        return []
    names = [name for each in _models_at(model, path) for name in secret_fields(each)]
    forms = dict.fromkeys(form for name in names for form in (name, f"{name}_file"))
    return [key for key in forms if key in here and not isinstance(here[key], Secret)]


def _set_secrets_aside(
    model: type[Options], given: dict[str, Any], errors: list[ErrorDetails]
) -> bool:
    """Stand-ins for the secrets of mappings that were refused whole, so that the rest is judged.

    Returns whether there were any.
    """
    found = False
    for error in errors:
        path, here = _descend(given, error)
        if error["type"] == "value_error":
            for key in _written_secrets(model, path, here):
                here[key.removesuffix("_file")] = Secret.inline("stand-in")
                found = True
                if key.endswith("_file"):
                    here.pop(key)
    return found


def _descend(given: Any, error: ErrorDetails) -> tuple[Path, Any]:  # raw YAML
    path: list[str | int] = []
    for step in error["loc"]:
        found = _step(given, step)
        if found is not None:
            path.append(found)
            given = given[found]
    return tuple(path), given


def _step(here: object, step: str | int) -> str | int | None:
    if isinstance(here, dict):
        if step in here:
            return step
        return f"{step}_file" if f"{step}_file" in here else None
    if isinstance(here, list) and isinstance(step, int) and 0 <= step < len(here):
        return step
    return None


def _other_branch(path: Path, group: list[ErrorDetails], told: Iterable[Path]) -> bool:
    """Whether these errors only say that the value is not of a union's other, unmeant type."""
    if not all(error["type"].endswith("_type") for error in group):
        return False
    return any(len(other) > len(path) and other[: len(path)] == path for other in told)


def _wording(
    model: type[Options], path: Path, group: list[ErrorDetails], known: tuple[str, ...]
) -> tuple[str, str]:
    error = group[0]
    if error["type"] == "extra_forbidden":
        words = {*fields_at(model, path[:-1]), *(known if len(path) == 1 else ())}
        return "unknown key", nearest(str(path[-1]), words) or f"known: {', '.join(sorted(words))}"
    if error["type"] == "missing":
        secret = path[-1] in secret_fields(model) if len(path) == 1 else False
        return "missing key", f'write {path[-1]}_file: or {path[-1]}: "env:NAME"' if secret else ""
    given = error["input"]
    if isinstance(given, Doubtful):
        what = f"the unquoted word {given.text} is true or false to some YAML readers"
        return what, f'as text write "{given.text}"'
    messages = dict.fromkeys(_message(each) for each in group)
    quote = isinstance(given, int | float) and error["type"] == "string_type"
    return " or ".join(messages), f'as text write "{given}"' if quote else ""


def _message(error: ErrorDetails) -> str:
    if error["type"] == "string_pattern_mismatch" and "https?://" in error["ctx"]["pattern"]:
        return "expected a URL that begins with http:// or https://"
    text = error["msg"].removeprefix("Value error, ")
    if text.startswith("Input should be "):
        text = "expected " + text.removeprefix("Input should be ").removeprefix("a valid ")
        text = text.replace("tuple", "list").replace("dictionary", "mapping")
    return text


def fields_at(model: type[BaseModel], path: Path) -> set[str]:
    """The keys that may be written at `path` below `model`, `…_file` forms of secrets included."""
    return {name for each in _models_at(model, path) for name in written_keys(each)}


def _models_at(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    models = [model]
    for step in path:
        if isinstance(step, str):
            models = [
                inner
                for each in models
                if step in each.model_fields
                for inner in _models_in(each.model_fields[step].annotation)
            ]
    return models


def written_keys(model: type[BaseModel]) -> set[str]:
    """The keys of one model as they are written."""
    names = {info.alias or name for name, info in model.model_fields.items()}
    return names | {f"{name}_file" for name in secret_fields(model)}


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for arg in get_args(annotation) for inner in _models_in(arg)]


def _settle_doubtful(given: dict[str, Any], errors: list[ErrorDetails]) -> bool:
    """Replace `no`, `on` … in place where the field is boolean or a choice of words.

    Returns whether anything was replaced: then validation is worth another try.
    """
    settled = False
    for error in errors:
        word = error["input"]
        if not isinstance(word, Doubtful):
            continue
        if error["type"] in {"bool_type", "bool_parsing"}:
            settled |= _replace(given, error["loc"], word.as_bool)
        elif error["type"] in {"literal_error", "enum"}:
            settled |= _replace(given, error["loc"], word.text)
    return settled


def _replace(given: Any, loc: tuple[str | int, ...], value: object) -> bool:  # raw YAML
    holder, last = None, None
    for step in loc:
        found = _step(given, step)
        if found is not None:
            holder, last, given = given, found, given[found]
    if holder is None or not isinstance(given, Doubtful):
        return False
    holder[last] = value
    return True
