"""Secrets: read from a file or the environment, never printed, re-read when the file changes."""

from collections.abc import Mapping
from pathlib import Path

from core.errors import CoalmineError

_MASK = "***"


class Secret:
    """A value that prints as `***`. `reveal()` is called at the moment of use, and only there."""

    __slots__ = ("_env", "_inline", "_path", "_source")

    def __init__(
        self,
        source: str,
        inline: str = "",
        path: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Use the class methods instead."""
        self._source, self._inline, self._path, self._env = source, inline, path, env

    @classmethod
    def inline(cls, value: str) -> "Secret":
        """A value written out: for tests and for the demo."""
        return cls("inline", inline=value)

    @classmethod
    def from_file(cls, path: Path) -> "Secret":
        """The content of `path` without its trailing newline; read at each use."""
        return cls(f"file {path.name}", path=path)

    @classmethod
    def from_env(cls, name: str, env: Mapping[str, str]) -> "Secret":
        """The value of `name` in `env`; read at each use."""
        return cls(f"env {name}", inline=name, env=env)

    @property
    def source(self) -> str:
        """Where it comes from, safe to print."""
        return self._source

    def reveal(self) -> str:
        """The secret itself. Raises CoalmineError when it is missing or empty."""
        if self._path is not None:
            try:
                value = self._path.read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as exc:
                raise CoalmineError(f"secret {self._source}: {exc.strerror}") from exc
            except UnicodeDecodeError:
                # Not chained: the error holds the bytes, and they may be the secret.
                raise CoalmineError(f"secret {self._source} is not text") from None
        elif self._env is not None:
            value = self._env.get(self._inline, "")
        else:
            value = self._inline
        if not value:
            raise CoalmineError(f"secret {self._source} is missing or empty")
        return value

    def __repr__(self) -> str:
        """Never the value."""
        return _MASK

    __str__ = __repr__
