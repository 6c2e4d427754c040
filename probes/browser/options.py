"""What may be written under `probe: browser`, and where Chromium is found."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from core.options import Options
from probes.http.options import checked_url

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PLAYWRIGHT = "chromium-*/chrome-linux*/chrome"


class BrowserOptions(Options):
    """A journey through pages, in a browser of its own."""

    journey: Annotated[Path, Field(description="Python file with `async def journey(page, step)`.")]
    base_url: Annotated[
        str, Field(description="What `page.goto('/x')` is relative to; its origin is allowed.")
    ] = ""
    executable: Annotated[Path | None, Field(description="Chromium, when not on PATH.")] = None
    sandbox: Annotated[
        Literal["auto", "required", "off"],
        Field(description="Chromium's own sandbox; auto: on, except for root."),
    ] = "auto"

    @field_validator("base_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value) if value else value


def find_chromium(option: Path | None, env: Mapping[str, str]) -> Path | None:
    """Chromium by option, `CHROMIUM`, PATH or Playwright's own folder; None when there is none."""
    named = option or (Path(env["CHROMIUM"]) if env.get("CHROMIUM") else None)
    if named is not None:
        return named if os.access(named, os.X_OK) else None
    for name in _NAMES:
        found = shutil.which(name, path=env.get("PATH"))
        if found:
            return Path(found)
    browsers = Path(env.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright")
    return max(browsers.glob(_PLAYWRIGHT), default=None)
