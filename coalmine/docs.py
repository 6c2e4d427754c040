"""Reference pages made from declarations: options models, metric catalogue, backends.

Built here, committed under docs/generated, and compared in CI, so that they cannot fall behind.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

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
from coalmine.config.sections import KIND_REGISTRIES
from core.generated import Generated
from core.options import Duration, Options, SecretField, Size, secret_fields
from core.secrets import Secret
from probes.protocol import PROBES
from scheduler.export.catalogue import METRICS, fact_specs
from selfcheck.access import AccessOptions
from selfcheck.backends.protocol import BACKENDS, AccessPath
from selfcheck.canary.judging import JudgingRules
from selfcheck.injectors.protocol import INJECTORS

_HEAD = "<!-- Made by `coalmine docs build`: change the declarations, not this page. -->\n"
_ACCESS = "Keys of every backend and injector: credentials for reading and writing are separate."
_MARKED = {
    get_args(marked)[1]: name
    for marked, name in ((Duration, "duration"), (Size, "size"), (SecretField, "secret"))
}
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_UNITS_S = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_UNITS_B = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1))


def config_md() -> str:
    """Every key of the config file: type, default, meaning."""
    parts = [_HEAD, "# Config reference\n"]
    parts.append(
        "Durations (`10s`, `1h30m`) and sizes (`2GiB`) carry their unit. A secret `x` is written as"
        ' `x_file: path` or `x: "env:NAME"`. Paths are relative to the file.\n'
    )
    parts += _section("Top", "", [Top])
    parts += _section("`judging:`", "At the top and per route.", [JudgingRules])
    parts += _section("`checks:`", "Beside these keys, those of the probe.", [CheckHead])
    parts += _kinds("Probe", PROBES.entries, PROBES.load)
    parts += _section("`routes:`", "", [RouteHead])
    parts += _section("`routes: inject:`", "And the injector's own keys.", [InjectHead])
    parts += _kinds("Injector", INJECTORS.entries, INJECTORS.load)
    for section, registry in KIND_REGISTRIES.items():
        parts += _section(f"`{section}:`", "A name each, with its kind's keys.", [KindHead])
        parts += _kinds(registry.seam.capitalize(), registry.entries, registry.load)
    parts += _section("Access", _ACCESS, [AccessOptions], "###")
    parts += _section("`joins:`", "Links that people follow, judged like a check.", [JoinOptions])
    parts += _section("`sources:`", "", [SourceOptions])
    parts += _section("`pages:`", "The first entry that matches tells its receivers.", [PageRule])
    return "\n".join(parts)


def metrics_md() -> str:
    """Every exported metric, and the facts of probes with blackbox_exporter's names."""
    rows = [(f"`{m.name}`", m.type, ", ".join(m.labels), m.help) for m in METRICS]
    facts = [
        (f"`{f.name}`", f.unit, f"`{f.alias}`" if f.alias else "", f.help) for f in fact_specs()
    ]
    intro = (
        "Served on `/metrics` and sent by OTLP. What is not known has no sample: missing is not"
        " zero.\n"
    )
    about_facts = (
        "What a probe found out, by its own name. Numbers are exported as `coalmine_probe_NAME`"
        " with the label `check`, while the result is fresh; texts stay with the result. The third"
        " column is blackbox_exporter's name for the same thing.\n"
    )
    return "\n".join([
        _HEAD, "# Metrics\n", intro, *_table(("name", "type", "labels", "meaning"), rows),
        "\n## Facts of probes\n", about_facts,
        *_table(("fact", "unit", "blackbox_exporter", "meaning"), facts), "",
    ])  # fmt: skip


def backends_md() -> str:
    """What each backend declares of its store; the contract suite holds it against real ones."""
    parts = [_HEAD, "# Backends\n"]
    for kind in sorted(BACKENDS.entries):
        said = BACKENDS.load(kind).declaration
        parts.append(f"## {kind}\n")
        parts += _table(("what", "declared"), [
            ("signals", ", ".join(sorted(said.signals))),
            ("precision of stored timestamps", _precision(said.precision_ns)),
            ("two records of one id", f"{said.dedupe}: {said.dedupe_note}"),
            ("rows of one page", str(said.row_limit)),
            ("how absence looks", said.absent),
            ("read from", said.source),
        ])  # fmt: skip
        parts.append("")
        paths = [_path_row(path) for path in said.paths]
        parts += _table(("access path", "floor", "canaries a read", "signals"), paths)
        parts.append("")
    return "\n".join(parts)


def files() -> dict[str, str]:
    """Every generated page by file name."""
    return {"backends.md": backends_md(), "config.md": config_md(), "metrics.md": metrics_md()}


GENERATED = Generated(Path(__file__).parents[1] / "docs" / "generated", files)


def _section(title: str, note: str, models: Sequence[type[Options]], mark: str = "##") -> list[str]:
    rows = [row for model in models for row in _rows(model, "")]
    table = _table(("key", "type", "default", "meaning"), rows) if rows else ["No keys."]
    return [f"{mark} {title}\n", *([f"{note}\n"] if note else []), *table, ""]


def _kinds(seam: str, entries: Iterable[str], load: Any) -> list[str]:  # of any registry
    lines: list[str] = []
    for kind in sorted(entries):
        model = load(kind).options_model
        note = "And the keys of [Access](#access)." if issubclass(model, AccessOptions) else ""
        lines += _section(f"{seam} `{kind}`", note, [model], "###")
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


def _precision(precision_ns: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if precision_ns % size == 0:
            return f"{precision_ns // size} {unit}"
    return f"{precision_ns} ns"


def _path_row(path: AccessPath) -> tuple[str, ...]:
    many = "all that are pending" if path.batched else "one"
    return f"`{path.name}`", f"{path.floor_s:g} s", many, ", ".join(sorted(path.signals))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
