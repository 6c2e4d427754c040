"""How commands find a ReadModel: the running instance first, its files second."""

from pathlib import Path
from typing import Protocol

from core.clock import SystemClock
from core.errors import StoreError
from core.secrets import Secret
from scheduler.readmodel import ReadModel


class Reached(ReadModel, Protocol):
    """A ReadModel that holds a connection or open files."""

    def close(self) -> None:
        """Give them back."""
        ...


def reach(config_path: Path, url: str, token_file: Path | None) -> Reached:
    """The instance at `url`; else the one that `config_path` describes, or its files.

    Raises ConfigError for a config that cannot be used, StoreError when nothing can be read.
    """
    from tui.client import ApiReadModel

    token = Secret.from_file(token_file) if token_file else None
    if url:
        return ApiReadModel(url, token)
    from coalmine.config.load import load_config

    config = load_config(config_path)
    live = ApiReadModel(f"http://{config.top.api.listen}", token or config.top.api.token)
    try:
        live.board()
    except StoreError:
        from coalmine.wiring.files import file_read_model

        live.close()
        return file_read_model(config, SystemClock())
    return live
