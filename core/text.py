"""Outside text made safe to show, log and send: control characters visible, length bounded."""

import unicodedata


def safe_text(text: str, limit: int = 1024) -> str:
    """`text` with control characters made visible, cut at `limit` characters with `…`."""
    shown = "".join(_visible(char) for char in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _visible(char: str) -> str:
    if char in "\n\t":
        return " "
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    # Bidirectional overrides and lone surrogates can make a line read as something else.
    return "�" if unicodedata.category(char) in {"Cc", "Cf", "Cs"} else char
