"""The config file key by key, and every metric."""

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
from coalmine.docs.tables import HEAD, kinds, section, table
from probes.protocol import PROBES
from scheduler.export.catalogue import METRICS, fact_specs
from selfcheck.access import AccessOptions
from selfcheck.canary.judging import JudgingRules
from selfcheck.injectors.protocol import INJECTORS

_ACCESS = "Keys of every backend and injector: credentials for reading and writing are separate."


def config_md() -> str:
    """Every key of the config file: type, default, meaning."""
    parts = [HEAD, "# Config reference\n"]
    parts.append(
        "Durations (`10s`, `1h30m`) and sizes (`2GiB`) carry their unit. A secret `x` is written as"
        ' `x_file: path` or `x: "env:NAME"`. Paths are relative to the file.\n'
    )
    parts += section("Top", "", [Top])
    parts += section("`judging:`", "At the top and per route.", [JudgingRules])
    parts += section("`checks:`", "Beside these keys, those of the probe.", [CheckHead])
    parts += kinds("Probe", PROBES.entries, PROBES.load)
    parts += section("`routes:`", "", [RouteHead])
    parts += section("`routes: inject:`", "And the injector's own keys.", [InjectHead])
    parts += kinds("Injector", INJECTORS.entries, INJECTORS.load)
    for name, registry in KIND_REGISTRIES.items():
        head = KIND_HEADS.get(name, KindHead)
        parts += section(f"`{name}:`", "A name each, with its kind's keys.", [head])
        parts += kinds(registry.seam.capitalize(), registry.entries, registry.load)
    parts += section("Access", _ACCESS, [AccessOptions], "###")
    parts += section("`joins:`", "Links that people follow, judged like a check.", [JoinOptions])
    parts += section("`sources:`", "", [SourceOptions])
    parts += section("`pages:`", "The first entry that matches tells its receivers.", [PageRule])
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
        HEAD, "# Metrics\n", intro, *table(("name", "type", "labels", "meaning"), rows),
        "\n## Facts of probes\n", about_facts,
        *table(("fact", "unit", "blackbox_exporter", "meaning"), facts), "",
    ])  # fmt: skip
