"""Where text goes: results to stdout, everything else to stderr; control characters made visible.

JSON brings its own escapes, so `print_json` masks nothing.
"""

import json
import sys

from core.text import safe_text

_LINE_LIMIT = 4096


def print_result(text: str) -> None:
    """One line of result on stdout."""
    sys.stdout.write(safe_text(text, _LINE_LIMIT) + "\n")


def print_note(text: str) -> None:
    """One line for the reader at the terminal, on stderr."""
    sys.stderr.write(safe_text(text, _LINE_LIMIT) + "\n")


def print_json(value: object) -> None:
    """`value` as indented JSON on stdout. Raises TypeError or ValueError on what JSON lacks."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")
