"""How commands find a ReadModel: the running instance first, its files second."""

import os
from pathlib import Path
from typing import Any, Protocol, cast

from coalmine.config.parsed import Config
from coalmine.output import print_note
from core.clock import SystemClock
from core.errors import ConfigError, StoreError
from core.secrets import Secret
from scheduler.readmodel import ReadModel

# What a reader needs of a config.
_WHERE = ("coalmine", "namespace", "data_dir", "database", "api")


class Reached(ReadModel, Protocol):
    """A ReadModel that holds a connection or open files; `source` says which: live or files."""

    source: str

    def canary(self, canary_id: str) -> dict[str, Any] | None:
        """The life of one canary as plain data, None when nothing is kept of it."""
        ...

    def close(self) -> None:
        """Give them back."""
        ...


def reach(config_path: Path, url: str, token_file: Path | None) -> Reached:
    """The instance at `url`; else the one that `config_path` describes, or its files.

    A config with mistakes still tells where its service is. Raises ConfigError when not even
    that can be read, StoreError when nothing answers.
    """
    from tui.client import ApiReadModel

    token = Secret.from_file(token_file) if token_file else None
    if url:
        return ApiReadModel(url, token)
    config = _readable(config_path)
    live = ApiReadModel(f"http://{config.top.api.listen}", token or config.top.api.token)
    try:
        live.board()
    except StoreError:
        from coalmine.wiring.files import file_read_model

        live.close()
        return file_read_model(config, SystemClock())
    return live


def _readable(path: Path) -> Config:
    """The config, or as much of it as is right: its service may well run on an earlier text."""
    from coalmine.config.load import load_config

    try:
        return load_config(path)
    except ConfigError as exc:
        try:
            config = _in_part(path)
        except (ConfigError, OSError):
            print_note("coalmine: the config does not tell where its service is:"
                       " ask the running service with --url http://127.0.0.1:9470")  # fmt: skip
            raise exc from None
        for problem in exc.problems:
            print_note(f"config: {problem}")
        print_note("coalmine: the config has problems; asking with the parts that are right")
        return config


def _in_part(path: Path) -> Config:
    """Where the service listens and keeps its data, and every right entry of the sections."""
    from coalmine.config.load import content_hash
    from coalmine.config.located import Report
    from coalmine.config.model import Top
    from coalmine.config.sections import read_sections
    from coalmine.config.source import decode
    from coalmine.config.yaml import read_yaml

    written = path.read_bytes()
    root = read_yaml(decode(written, str(path)), str(path))
    raw = cast("dict[str, Any]", root.plain())  # read_yaml refuses every other root
    report = Report(str(path), root, os.environ)
    top = report.validate(Top, (), {key: raw[key] for key in _WHERE if key in raw})
    if top is None:
        raise ConfigError(report.problems)
    parts = read_sections(report, raw)
    return Config(
        places={},
        path=path,
        files=(path,),
        content_hash=content_hash(written),
        warnings=(),
        top=top,
        data_dir=path.parent / top.data_dir,
        judging=parts.judging,
        backends=tuple(parts.kinds["backends"].values()),
        hops=tuple(parts.kinds["hops"].values()),
        receivers=(),
        checks=tuple(parts.checks.values()),
        routes=tuple(parts.routes.values()),
        joins=tuple(parts.joins.values()),
        sources=tuple(parts.sources.values()),
        pages=(),
    )
