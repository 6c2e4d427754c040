"""From bytes to text: what a config file may be made of before it is YAML at all."""

import codecs
import re

from core.errors import ConfigError, Problem

MAX_BYTES = 4 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Tabs are legal YAML in places that no reader can tell apart from the places where they are not.
_FORBIDDEN = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


def decode(raw: bytes, file: str) -> str:
    """The text of a config: UTF-8, a byte order mark and CRLF accepted.

    Raises ConfigError with the byte offset of the first thing that is not text.
    """
    if len(raw) > MAX_BYTES:
        raise _error(file, raw, 0, f"the file has {len(raw)} bytes, the limit is {MAX_BYTES}")
    if raw.startswith(_UTF16):
        raise _error(file, raw, 0, "UTF-16 at byte offset 0", "save the file as UTF-8")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        what = f"invalid UTF-8 at byte offset {exc.start}"
        raise _error(file, raw, exc.start, what, "save the file as UTF-8") from None
    if found := _FORBIDDEN.search(text):
        offset = len(text[: found.start()].encode())
        char = found.group()
        name, remedy = (
            ("tab", 'indent with spaces; inside text write "\\t"')
            if char == "\t"
            else (f"control character U+{ord(char):04X}", "remove it")
        )
        raise _error(file, raw, offset, f"{name} at byte offset {offset}", remedy)
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _error(file: str, raw: bytes, offset: int, message: str, remedy: str = "") -> ConfigError:
    before = raw[:offset]
    line = before.count(b"\n") + 1
    column = offset - (before.rfind(b"\n") + 1) + 1
    return ConfigError([Problem(file, line, column, "", message, remedy)])
