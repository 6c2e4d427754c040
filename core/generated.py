"""Files that are made from declarations: built by code, committed, and compared in CI."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Generated:
    """One folder of such files. build: the text of every file by name, made anew."""

    folder: Path
    build: Callable[[], Mapping[str, str]]

    def write(self, folder: Path | None = None) -> list[str]:
        """Write every file to `folder` (none: its own); returns their names. Raises OSError."""
        target = folder or self.folder
        built = self.build()
        for name, text in built.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(text)
        return sorted(built)

    def differences(self, folder: Path | None = None) -> list[str]:
        """Names of files in `folder` that are missing or differ from what would be built now."""
        target = folder or self.folder
        return sorted(
            name
            for name, text in self.build().items()
            if not (target / name).exists() or (target / name).read_text() != text
        )
