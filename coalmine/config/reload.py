"""When to read the config again, and which changes a running service may take.

A refused file changes nothing: the old config stays live until a right one is found.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from coalmine.config.load import content_hash, load_config
from coalmine.config.parsed import Config
from core.clock import Clock
from core.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Loaded:
    """A new config that may take the place of the old one."""

    config: Config


@dataclass(frozen=True, slots=True)
class Refused:
    """A new content that must not: the old config stays live."""

    problems: tuple[Problem, ...]


def refusals(old: Config, new: Config) -> tuple[Problem, ...]:
    """Why a running service cannot go from `old` to `new`; empty when it can."""
    problems = [
        _problem(new, key, "cannot change while Coalmine runs", "restart needed")
        for key, before, after in (
            ("namespace", old.top.namespace, new.top.namespace),
            ("instance", old.top.instance, new.top.instance),
            ("data_dir", str(old.data_dir), str(new.data_dir)),
            ("database.url", old.database_url, new.database_url),
            ("api", old.top.api.listen, new.top.api.listen),
            ("export", old.top.export, new.top.export),
            ("egress", old.top.egress, new.top.egress),
            ("ledger", old.top.ledger, new.top.ledger),
        )
        if before != after
    ]
    had = bool(old.checks or old.routes)
    if had and not (new.checks or new.routes) and not new.top.allow_empty:
        problems.append(_problem(new, "checks", "the reload would leave nothing to watch"))
    return tuple(problems)


def _problem(config: Config, key: str, message: str, remedy: str = "") -> Problem:
    line, column = config.places.get(key.partition(".")[0], (1, 1))
    return Problem(str(config.path), line, column, key, message, remedy)


@dataclass(slots=True)
class ConfigWatch:
    """Tells when the file asks for a reload: after `request()` (SIGHUP) or a changed content.

    A content that was refused is not tried again until it changes or is asked for. `poll` reads
    at most once in `every_s`, unless a reload was requested.
    """

    live: Config
    clock: Clock
    every_s: float = 2.0
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _requested: bool = False
    _looked_s: float = float("-inf")
    _tried: str = ""

    def request(self) -> None:
        """Ask for a reload at the next `poll`, whether or not the content changed."""
        self._requested = True

    def settled(self) -> bool:
        """Whether the file says what is live, so that nothing is refused any more."""
        return self._content() == self.live.content_hash

    def poll(self) -> Loaded | Refused | None:
        """What a reload came to; None when nothing asked for one. `live` moves on `accept`."""
        now_s = self.clock.monotonic()
        if not self._requested and now_s - self._looked_s < self.every_s:
            return None
        self._looked_s = now_s
        found = self._content()
        if not self._requested and found in {self.live.content_hash, self._tried}:
            return None
        self._requested, self._tried = False, found
        return self._reload()

    def accept(self, config: Config) -> None:
        """The plan of `config` is in force."""
        self.live, self._tried = config, ""

    def _reload(self) -> Loaded | Refused:
        try:
            config = load_config(self.live.path, self.env)
        except ConfigError as exc:
            return Refused(exc.problems)
        problems = refusals(self.live, config)
        return Refused(problems) if problems else Loaded(config)

    def _content(self) -> str:
        try:
            return content_hash(self.live.path.read_bytes())
        except OSError as exc:
            # A vanished file is one changed content: told once, not at every look.
            return f"unreadable: {exc.errno}"
