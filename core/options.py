"""Base of all options models: what may be written in the config under a kind.

A field of type `Secret` named `token` is written as `token_file: path` or `token: "env:NAME"`.
Durations and sizes carry units. Unknown keys are errors.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from core.errors import CoalmineError
from core.secrets import Secret

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"(\d+)\s?(B|kB|MB|GB|KiB|MiB|GiB)", re.ASCII)
_MAX_DURATION_S = 366 * 86400.0


def parse_duration(value: object) -> float:
    """Seconds of `10s`, `1h30m`, `500ms`. Raises ValueError without a unit or above 366 d."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError("expected a duration with a unit, such as 10s, 500ms, 5m or 1h30m")
    seconds = sum(float(n) * _UNITS_S[unit] for n, unit in _DURATION_PART.findall(value))
    if not 0 < seconds <= _MAX_DURATION_S:
        raise ValueError("a duration must lie between 1ms and 366d")
    return seconds


def duration_text(seconds: float) -> str:
    """`seconds` as it would be written in a config, such as `99d`, `1h30m` or `500ms`."""
    left, written = round(seconds * 1000), ""
    for unit, size in sorted(_UNITS_S.items(), key=lambda one: -one[1]):
        count, left = divmod(left, round(size * 1000))
        written += f"{count}{unit}" if count and unit != "w" else ""
        left += count * round(size * 1000) if unit == "w" else 0
    return written or "0s"


def parse_size(value: object) -> int:
    """Bytes of `512KiB`, `2GiB`, `1MB`. Raises ValueError without a unit."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a size with a unit, such as 512KiB, 1MB or 2GiB")
    return int(match[1]) * _SIZES[match[2]]


def _duration(value: object, info: ValidationInfo) -> float:
    # Defaults and code pass seconds; only what was written in a file must carry a unit.
    if isinstance(value, float) and not (info.context or {}).get("from_file"):
        return value
    return parse_duration(value)


def _size(value: object, info: ValidationInfo) -> int:
    if type(value) is int and not (info.context or {}).get("from_file"):
        return value
    return parse_size(value)


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["10s"]}),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"type": "string", "pattern": f"^{_SIZE.pattern}$", "examples": ["2GiB"]}),
]


class _SecretSchema:
    """Teaches pydantic about `Secret` without making `core.secrets` know pydantic."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _h: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(Secret)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, _h: GetJsonSchemaHandler
    ) -> dict[str, Any]:  # pydantic's own type for a JSON Schema
        return {"type": "string", "pattern": "^env:", "description": "env:NAME, or use …_file"}


SecretField = Annotated[Secret, _SecretSchema]


def _is_secret(annotation: object, metadata: list[Any]) -> bool:
    if annotation is Secret or _SecretSchema in metadata:
        return True
    return any(_is_secret(arg, []) for arg in get_args(annotation))


def _secret(name: str, given: Mapping[str, object], context: Mapping[str, Any]) -> Secret:
    written = given.get(f"{name}_file", given.get(name))
    if isinstance(written, Secret):
        return written
    if not isinstance(written, str):
        raise ValueError(f"{name}: expected text")  # noqa: TRY004  pydantic collects ValueError
    if f"{name}_file" in given:
        secret = Secret.from_file(Path(context.get("base_dir", ".")) / written)
    elif written.startswith("env:"):
        secret = Secret.from_env(written[4:], context.get("env", os.environ))
    else:
        context.get("warnings", []).append(f"{name} is written inline: use {name}_file or env:")
        return Secret.inline(written)
    try:
        secret.reveal()
    except CoalmineError as exc:
        raise ValueError(str(exc)) from exc
    return secret


class Options(BaseModel):
    """Base of every options model: strict, frozen, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _resolve_secrets(cls, data: object, info: ValidationInfo) -> object:
        """Turn `x_file: path` and `x: "env:NAME"` into one `Secret` field `x`."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for name in secret_fields(cls):
            if name in data and f"{name}_file" in data:
                raise ValueError(f"{name} and {name}_file are both given: keep one")
            if name in data or f"{name}_file" in data:
                data[name] = _secret(name, data, info.context or {})
                data.pop(f"{name}_file", None)
        return data


def secret_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """Names of the fields of `model` that hold a `Secret`."""
    return tuple(
        name
        for name, info in model.model_fields.items()
        if _is_secret(info.annotation, list(info.metadata))
    )
