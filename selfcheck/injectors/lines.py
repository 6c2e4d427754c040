"""Lines that are appended to a file which others move, cut or remove meanwhile. Blocking calls.

An append is one write of one line at the end of the file, so that lines of several writers do not
mix. Before each the name is asked for again: a file that was moved away is left, and made anew.
"""

import fcntl
import os
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from selfcheck.canary.model import Sent

_STDOUT_FD = 1
# Nobody at the other end of a named pipe is an error at once, not a wait without end.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MODE = 0o640


class Lines(ABC):
    """Where lines go, one call at a time."""

    @abstractmethod
    def append(self, line: bytes) -> tuple[Sent, str]:
        """Write and flush `line`; what became of it, and why it is not accepted."""

    def close(self) -> None:
        """Release what was opened."""


class StandardOutput(Lines):
    """The process's own; it is never closed here."""

    def append(self, line: bytes) -> tuple[Sent, str]:
        """Write `line` whole."""
        try:
            _write(_STDOUT_FD, line)
        except OSError as exc:
            return Sent.REJECTED, f"cannot write to standard output: {exc.strerror}"
        return Sent.ACCEPTED, ""


@dataclass(slots=True)
class LineFile(Lines):
    """`path`, renamed to `path.1` … `path.<keep>` when a line would make it larger than allowed.

    fsync: whether a line counts once it is on the disk, not in the system's memory only.
    """

    path: Path
    max_bytes: int
    keep: int
    fsync: bool
    _fd: int | None = field(default=None, init=False)
    # A line was cut off by an error: the next one begins a line of its own.
    _torn: bool = field(default=False, init=False)

    def append(self, line: bytes) -> tuple[Sent, str]:
        """Write and flush `line` to the file that has the name now."""
        try:
            fd = self._ready(len(line))
            self._put(fd, b"\n" + line if self._torn else line)
        except OSError as exc:
            return Sent.REJECTED, f"cannot write {self.path}: {exc.strerror}"
        try:
            if self.fsync and stat.S_ISREG(os.fstat(fd).st_mode):
                os.fsync(fd)
        except OSError as exc:
            # Whoever reads the file can see the line: it is not on the disk, and not gone either.
            return Sent.MAYBE, f"cannot flush {self.path} to the disk: {exc.strerror}"
        return Sent.ACCEPTED, ""

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._torn = None, False

    def _put(self, fd: int, line: bytes) -> None:
        written = os.write(fd, line)
        self._torn = True
        _write(fd, line[written:])
        self._torn = False

    def _ready(self, size: int) -> int:
        """The open file, with room for `size` bytes. Raises OSError."""
        if self._fd is not None and not self._named(self._fd):
            self.close()
        fd = self._open()
        now = os.fstat(fd)
        if stat.S_ISREG(now.st_mode) and now.st_size > 0 and now.st_size + size > self.max_bytes:
            self._rotate(fd)
            self.close()
            fd = self._open()
        return fd

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, _FLAGS, _MODE)
        return self._fd

    def _named(self, fd: int) -> bool:
        """Whether the open file is still the one that the name leads to."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(fd))

    def _rotate(self, fd: int) -> None:
        # Routes may share a file, in several processes: who comes second finds it moved already.
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            if self._named(fd):
                for number in range(self.keep - 1, 0, -1):
                    if self._numbered(number).exists():
                        self._numbered(number).rename(self._numbered(number + 1))
                self.path.rename(self._numbered(1))
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _write(fd: int, line: bytes) -> None:
    left = memoryview(line)
    while left:
        left = left[os.write(fd, left) :]
