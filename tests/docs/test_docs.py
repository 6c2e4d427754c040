"""The documentation is true: its configs load, its commands parse, its links and headings exist."""

import argparse
import json
import re
import shlex
from datetime import date
from pathlib import Path

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from coalmine import cli, docs
from coalmine.cli import generated
from coalmine.config.load import load_config
from coalmine.config.model import (
    ApiOptions,
    CheckHead,
    InjectHead,
    KindHead,
    PageRule,
    RouteHead,
    SourceOptions,
    Top,
)
from coalmine.docs import tables
from coalmine.exits import Exit
from core.generated import Generated
from core.kinds import Registry
from dashboards import build
from paging.receivers.protocol import RECEIVERS
from probes.protocol import PROBES
from scheduler.export.catalogue import METRICS, fact_specs
from selfcheck.backends.protocol import BACKENDS
from selfcheck.canary.judging import JudgingRules
from selfcheck.cost.book import parse
from selfcheck.hops.protocol import HOP_READERS
from selfcheck.injectors.protocol import INJECTORS
from tests.support.tree import ROOT, repository_files

PAGES = [
    name
    for name in repository_files()
    if name.endswith(".md") and (name.startswith("docs/") or name.count("/") == 0)
]
BLOCK = re.compile(r"^```(\S*) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECRETS = {
    "routing_key": "0" * 32,
    "secret": "whsec_" + "A" * 32,
    "url": "http://127.0.0.1:9/hook",
}
"""What a secret of that name must look like; any other text will do for the rest."""
HEADS = (Top, JudgingRules, CheckHead, RouteHead, InjectHead, KindHead, PageRule, SourceOptions)
REGISTRIES: tuple[Registry, ...] = (PROBES, BACKENDS, HOP_READERS, INJECTORS, RECEIVERS)
CITED = re.compile(r'docs/design\.md, "([^"]+)"')


def blocks(language: str, tag: str = "") -> list:
    found = [
        pytest.param(match[3], id=f"{name}:{number}")
        for name in PAGES
        for number, match in enumerate(BLOCK.finditer((ROOT / name).read_text()), 1)
        if (match[1], match[2]) == (language, tag)
    ]
    assert found, f"no page holds a block of {language} {tag}"
    return found


def commands() -> list:
    lines = (line for block in blocks("sh") for line in block.values[0].splitlines())
    return list(dict.fromkeys(line for line in lines if line.startswith("coalmine ")))


def give_secrets(folder: Path, text: str) -> None:
    for name, written in re.findall(r"(\w+)_file: ([\w./-]+)", text):
        path = folder / written
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(SECRETS.get(name, "a-secret-of-sorts"))


@pytest.mark.parametrize("text", blocks("yaml", "config"))
def test_every_config_shown_is_right_and_without_a_warning(text, tmp_path):
    give_secrets(tmp_path, text)
    path = tmp_path / "coalmine.yaml"
    path.write_text(text)
    config = load_config(path, {})
    assert config.warnings == ()
    assert config.pages


@pytest.mark.parametrize("text", blocks("yaml", "config"))
def test_every_receiver_shown_can_be_built(text, tmp_path):
    """The rest of what is wrong with a receiver is told when it is made."""
    give_secrets(tmp_path, text)
    path = tmp_path / "coalmine.yaml"
    path.write_text(text)
    for one in load_config(path, {}).receivers:
        assert isinstance(one.options, RECEIVERS.load(one.kind).options_model)
        routing_key = getattr(one.options, "routing_key", None)
        assert routing_key is None or len(routing_key.reveal()) == 32


@pytest.mark.parametrize("text", blocks("yaml", "book"))
def test_every_price_book_shown_is_right(text):
    book = parse(text, "shown.yaml", date(2026, 11, 21))
    assert book.entries


@pytest.mark.parametrize("text", blocks("yaml", "prometheus"))
def test_prometheus_is_pointed_at_what_coalmine_serves(text):
    shown = YAML(typ="safe").load(text)
    targets = shown["scrape_configs"][0]["static_configs"][0]["targets"]
    assert targets == [ApiOptions().listen]
    assert set(shown["rule_files"]) <= set(build.files())


def test_every_yaml_block_of_the_how_tos_says_what_it_is():
    for name in PAGES:
        if name.startswith("docs/how-to/"):
            tags = {m[2] for m in BLOCK.finditer((ROOT / name).read_text()) if m[1] == "yaml"}
            assert tags <= {"config", "book", "prometheus"}, name


@pytest.mark.parametrize("line", commands(), ids=str)
def test_every_command_shown_is_taken_by_the_real_parser(line):
    words = shlex.split(line, comments=True)[1:]
    parsed = cli.build_parser(words).parse_args(words)
    assert isinstance(parsed, argparse.Namespace)
    assert callable(parsed.run)


def test_a_command_with_an_unknown_option_would_be_noticed():
    with pytest.raises(SystemExit):
        cli.build_parser(["verify"]).parse_args(["verify", "--no-such-option"])


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text()), target


def headings(text: str) -> list[str]:
    return [line.lstrip("#").strip() for line in text.splitlines() if re.match(r"#+ ", line)]


def anchors(text: str) -> set[str]:
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings(text))
    return {heading.replace(" ", "-") for heading in plain}


def cited() -> set[str]:
    """Headings of the design that code and configuration name, line breaks undone."""
    found: set[str] = set()
    for name in repository_files():
        if name.endswith((".py", ".toml")) and name != "tests/docs/test_docs.py":
            flat = re.sub(r"\s*\n\s*(?:#\s*)?", " ", (ROOT / name).read_text())
            found |= set(CITED.findall(flat))
    return found


def test_every_heading_of_the_design_that_the_code_cites_exists_and_says_something():
    text = (ROOT / "docs/design.md").read_text()
    assert cited(), "no citation was found: the search is broken"
    assert cited() - set(headings(text)) == set()
    for heading in cited():
        body = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
        own = re.split(r"^#+ ", body, flags=re.MULTILINE)[0]
        assert len(own.split()) >= 40, f"{heading}: too little is said"


def test_the_generated_pages_are_current():
    assert docs.GENERATED.differences() == []


def test_a_page_that_fell_behind_is_noticed_and_mended(tmp_path, capsys):
    assert docs.GENERATED.differences(tmp_path) == sorted(docs.files())
    assert cli.main(["docs", "build", "--to", str(tmp_path)]) == Exit.OK
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in docs.files()]
    (tmp_path / "metrics.md").write_text("old")
    assert docs.GENERATED.differences(tmp_path) == ["metrics.md"]


@pytest.mark.parametrize("command", ["docs", "dashboards"])
def test_check_tells_by_its_exit_code_and_by_name_what_differs(
    command, monkeypatch, tmp_path, capsys
):
    files = generated._files_of(command)
    monkeypatch.setattr(generated, "_files_of", lambda _: Generated(tmp_path, files.build))
    assert cli.main([command, "check", "--json"]) == Exit.FAIL
    told = capsys.readouterr()
    assert f"coalmine {command} build" in told.err
    assert json.loads(told.out) == sorted(files.build())
    files.write(tmp_path)
    assert cli.main([command, "check"]) == Exit.OK


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda each: each.seam)
def test_every_kind_has_a_section_with_all_its_keys(registry: Registry):
    text = docs.config_md()
    for kind in registry.entries:
        assert f"### {registry.seam.capitalize()} `{kind}`" in text
        for name, info in registry.load(kind).options_model.model_fields.items():
            assert re.search(rf"`{info.alias or name}`", text), f"{kind}: {name}"


def options_models() -> set[type[BaseModel]]:
    roots: list[type[BaseModel]] = [*HEADS]
    for registry in REGISTRIES:
        roots += [registry.load(kind).options_model for kind in registry.entries]
    found: set[type[BaseModel]] = set()
    while roots:
        model = roots.pop()
        if model not in found:
            found.add(model)
            for info in model.model_fields.values():
                roots += [inner for inner, _ in tables._models(info.annotation)]
    return found


def test_every_key_says_what_it_means():
    silent = [
        f"{model.__name__}.{name}"
        for model in options_models()
        for name, info in model.model_fields.items()
        if not info.description
    ]
    assert silent == []


def test_every_metric_and_every_fact_is_listed():
    text = docs.metrics_md()
    assert [m.name for m in METRICS if f"`{m.name}`" not in text] == []
    assert [f.name for f in fact_specs() if f"`{f.name}`" not in text] == []


def test_every_backend_tells_its_access_paths():
    pages = docs.files()
    for kind in BACKENDS.entries:
        page, said = pages[f"backends/{kind}.md"], BACKENDS.load(kind).declaration
        assert all(f"`{path.name}`" in page for path in said.paths)
        assert said.absent in page
        assert said.source in page
        assert f"[{kind}](backends/{kind}.md)" in pages["backends.md"]


@pytest.mark.parametrize("registry", [BACKENDS, INJECTORS], ids=lambda each: each.seam)
def test_every_kind_is_explained_by_hand_too_and_says_what_proved_it(registry: Registry):
    notes = {path.stem for path in (ROOT / "docs" / f"{registry.seam}s").glob("*.md")}
    assert notes <= set(registry.entries)
    for kind in registry.entries:
        cls = registry.load(kind)
        assert (cls.declaration if registry is BACKENDS else cls).proved, kind
