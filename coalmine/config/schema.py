"""The config as a JSON Schema (draft 2020-12), made from the same models that judge it.

An editor that knows it completes keys per kind; what only the whole file can tell (references,
times that must fit) is left to `coalmine check-config`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from coalmine.config.model import (
    CheckHead,
    InjectHead,
    JoinOptions,
    KindHead,
    PageRule,
    RouteHead,
    SourceOptions,
    Top,
)
from coalmine.config.sections import KIND_HEADS, KIND_REGISTRIES
from core.kinds import Registry
from core.options import Options, secret_fields
from probes.protocol import PROBES
from selfcheck.canary.judging import JudgingRules
from selfcheck.injectors.protocol import INJECTORS

Schema = dict[str, Any]  # pydantic's own type for a JSON Schema


class _WithSecretFiles(GenerateJsonSchema):
    """Adds `x_file` beside every secret field `x`, exactly one of them required if `x` is."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json = super().model_schema(schema)
        for name in secret_fields(schema["cls"]):
            written = f"{name}_file"
            json["properties"][written] = {
                "type": "string",
                "description": f"Path of the file that holds {name}, from the config's folder.",
            }
            if name in json.get("required", ()):
                json["required"] = [each for each in json["required"] if each != name]
                choice = {"oneOf": [{"required": [name]}, {"required": [written]}]}
                json.setdefault("allOf", []).append(choice)
        return json


def config_schema() -> Schema:
    """The schema of the whole file."""
    parts = _Parts()
    top = parts.of(Top)
    properties = top["properties"]
    for section, registry in KIND_REGISTRIES.items():
        entry = parts.choice(KIND_HEADS.get(section, KindHead), "kind", registry)
        properties[section] = {"type": "object", "additionalProperties": entry}
    properties["checks"] = _list_of(parts.choice(CheckHead, "probe", PROBES))
    properties["routes"] = _list_of(_route(parts))
    properties["joins"] = _list_of(parts.of(JoinOptions))
    properties["sources"] = _list_of(parts.of(SourceOptions))
    properties["pages"] = _list_of(parts.of(PageRule))
    properties["judging"] = parts.of(JudgingRules)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Coalmine's config",
        **top,
        "$defs": parts.defs,
    }


def _route(parts: "_Parts") -> Schema:
    route = parts.of(RouteHead)
    route["properties"]["inject"] = parts.choice(InjectHead, "kind", INJECTORS)
    route["properties"]["judging"] = parts.of(JudgingRules)
    return route


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


class _Parts:
    """Schemas of single models, their nested models gathered in `defs`."""

    def __init__(self) -> None:
        self.defs: Schema = {}

    def of(self, model: type[Options]) -> Schema:
        """The schema of `model`, written out so that it can be changed."""
        refs, found = models_json_schema(
            [(model, "validation")],
            schema_generator=_WithSecretFiles,
            ref_template=f"#/$defs/{model.__module__}.{{model}}",
        )
        own = str(refs[(model, "validation")]["$ref"]).rpartition(".")[2]
        nested = found.get("$defs", {})
        schema: Schema = nested.pop(own)
        self.defs |= {f"{model.__module__}.{name}": each for name, each in nested.items()}
        return schema

    def choice(self, head: type[Options], key: str, registry: Registry[Any]) -> Schema:
        """One entry: the keys of `head` and, by the value of `key`, the options of that kind."""
        kinds = sorted(registry.entries)
        return {
            "type": "object",
            "required": [key],
            "properties": {key: {"enum": kinds}},
            "oneOf": [self._kind(head, key, kind, registry) for kind in kinds],
        }

    def _kind(self, head: type[Options], key: str, kind: str, registry: Registry[Any]) -> Schema:
        models = [self.of(head), self.of(registry.load(kind).options_model)]
        properties = _merged(each.get("properties", {}) for each in models)
        required = {name for each in models for name in each.get("required", ())}
        return {
            "type": "object",
            "properties": {**properties, key: {"const": kind}},
            "required": sorted(required),
            "allOf": [rule for each in models for rule in each.get("allOf", ())],
            "additionalProperties": False,
        }


def _merged(parts: Iterable[Mapping[str, Any]]) -> Schema:
    merged: Schema = {}
    for part in parts:
        merged |= part
    return merged
