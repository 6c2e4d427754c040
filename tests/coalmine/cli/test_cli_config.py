"""The command line: exit codes, streams, and a start that imports no heavy library."""

import json
import subprocess
import sys

import pytest

from coalmine.cli import COMMANDS, main
from coalmine.config.schema import config_schema
from tests.support.config_kinds import CHECK, HEAD, register, write


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    register(monkeypatch)


def test_a_right_config_is_0_and_says_so_on_stdout(tmp_path, capsys):
    path = write(tmp_path, HEAD + CHECK)
    assert main(["check-config", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{path}: ok\n"
    assert err.startswith("warning: ")


def test_a_wrong_config_is_3_with_one_line_per_problem_on_stderr(tmp_path, capsys):
    path = write(tmp_path, HEAD + CHECK.replace("30s", "30") + "exports: 1\n")
    assert main(["check-config", str(path)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[0:2] for line in err.splitlines()] == [
        [f"{path}:4:62", "checks[0].every"],
        [f"{path}:5:1", "exports"],
    ]


def test_json_is_a_list_on_stdout(tmp_path, capsys):
    path = write(tmp_path, HEAD + CHECK.replace("30s", "30"))
    assert main(["check-config", str(path), "--json"]) == 3
    out, err = capsys.readouterr()
    assert err == ""
    assert [(each["level"], each["line"], each["key"]) for each in json.loads(out)] == [
        ("error", 4, "checks[0].every")
    ]


def test_strict_refuses_a_file_with_warnings(tmp_path):
    path = write(tmp_path, HEAD + CHECK)
    assert main(["check-config", "--strict", str(path)]) == 3


def test_the_config_is_found_by_option_variable_and_place(tmp_path, monkeypatch, capsys):
    path = write(tmp_path, HEAD + CHECK)
    monkeypatch.delenv("COALMINE_CONFIG", raising=False)
    assert main(["check-config", "-c", str(path)]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["check-config"]) == 0
    monkeypatch.setenv("COALMINE_CONFIG", str(tmp_path / "none.yaml"))
    assert main(["check-config"]) == 3
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["no-such"], ["check-config", "--no-such"], ["config"]])
def test_a_usage_error_is_3(argv, capsys):
    assert main(argv) == 3
    assert "usage" in capsys.readouterr().err


def test_help_is_0_and_names_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_a_crash_of_ours_is_2(monkeypatch, capsys):
    def crash(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr("coalmine.config.load.load_config", crash)
    assert main(["check-config", "x"]) == 2
    assert "boom" in capsys.readouterr().err


def test_help_imports_no_heavy_library():
    code = (
        "import sys; from coalmine.cli import main; main(['--help']);"
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'pydantic', 'ruamel', 'pycurl',"
        "'sqlmodel', 'sqlalchemy', 'textual', 'playwright', 'httpx', 'asyncio', 'apscheduler'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_schema_tells_each_kind_its_own_keys(monkeypatch):
    from paging.receivers.protocol import RECEIVERS
    from probes.protocol import PROBES
    from selfcheck.backends.protocol import BACKENDS
    from selfcheck.hops.protocol import HOP_READERS
    from selfcheck.injectors.protocol import INJECTORS

    for registry in (PROBES, BACKENDS, HOP_READERS, INJECTORS, RECEIVERS):
        for kind in set(registry.entries) - {"fake"}:
            monkeypatch.delitem(registry.entries, kind)
    schema = config_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    [fake] = schema["properties"]["checks"]["items"]["oneOf"]
    assert fake["properties"]["probe"] == {"const": "fake"}
    assert {"name", "every", "url", "token", "token_file"} <= set(fake["properties"])
    assert set(fake["required"]) == {"name", "probe", "url"}
    [receiver] = schema["properties"]["receivers"]["additionalProperties"]["oneOf"]
    assert receiver["allOf"] == [{"oneOf": [{"required": ["url"]}, {"required": ["url_file"]}]}]


def test_every_reference_of_the_schema_leads_somewhere(monkeypatch, capsys):
    from probes.protocol import PROBES

    monkeypatch.setattr("coalmine.config.schema.KIND_REGISTRIES", {})
    for kind in set(PROBES.entries) - {"fake"}:
        monkeypatch.delitem(PROBES.entries, kind)
    schema = config_schema()
    text = json.dumps(schema)
    refs = {part.split('"')[0] for part in text.split('"$ref": "#/$defs/')[1:]}
    assert refs
    assert refs <= set(schema["$defs"])
