"""What the SDK logs while it works for one injector: kept as a hint, and never printed for it.

The SDK's loggers are the process's, and our own telemetry uses them too. So records are told apart
by the thread that logs: those of an injector's threads are kept here, all others go their way.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

_ROOT = "opentelemetry"
_KEPT = 8

_owners: "WeakKeyDictionary[threading.Thread, Ears]" = WeakKeyDictionary()
_listening: "set[Ears]" = set()
_lock = threading.Lock()


class Ears:
    """The last lines that the threads of one injector logged."""

    def __init__(self) -> None:
        """Hears nothing before `open`."""
        self._lines: deque[str] = deque(maxlen=_KEPT)

    def open(self) -> None:
        """Begin to hear; nothing when it has begun."""
        logger = logging.getLogger(_ROOT)
        with _lock:
            _listening.add(self)
            if _SWITCH not in logger.handlers:
                logger.addHandler(_SWITCH)
                logger.propagate = False

    def close(self) -> None:
        """Hear no more; the last one leaves the loggers as they were."""
        logger = logging.getLogger(_ROOT)
        with _lock:
            _listening.discard(self)
            if not _listening:
                logger.removeHandler(_SWITCH)
                logger.propagate = True

    def claim(self) -> None:
        """Hear the present thread from now on: one that works for this injector alone."""
        _owners[threading.current_thread()] = self

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hear the present thread meanwhile."""
        thread = threading.current_thread()
        before = _owners.get(thread)
        _owners[thread] = self
        try:
            yield
        finally:
            if before is None:
                del _owners[thread]
            else:
                _owners[thread] = before

    def hear(self, line: str) -> None:
        """Keep a line."""
        if line not in self._lines:
            self._lines.append(line)

    def told(self) -> str:
        """The lines since the last call, oldest first."""
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        return "; ".join(lines)


class _Switch(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        owner = _owners.get(threading.current_thread())
        if owner is not None:
            trouble = record.exc_info[1] if record.exc_info else None
            owner.hear(f"{record.getMessage()} {trouble or ''}".rstrip())
            return
        parent = logging.getLogger(_ROOT).parent
        if parent is not None:
            parent.handle(record)


_SWITCH = _Switch()
