"""A canary as an object: a key and a document that both follow from it. Pure.

The key holds the stamp, so that a listing of a route is in the order of time and can be cut to the
span that is asked for, however many older objects lie beside it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from selfcheck.backends.http import ReadError, integer, member, number, parse_json, strings
from selfcheck.backends.spans import part
from selfcheck.canary.model import Canary

CONTENT_TYPE = "application/json"
# Of the fields of a record the document holds these.
FIELDS = ("trace_id", "span_id")
_STAMP_DIGITS = 19
_STAMPED = re.compile(r"(?:^|/)(\d{19})-[^/]+$")


@dataclass(frozen=True, slots=True)
class Stored:
    """What the document of an object says of its canary."""

    stamp_ns: int
    body: str
    value: float
    attributes: Mapping[str, str]
    fields: Mapping[str, str]


def folder_of(canary: Canary) -> str:
    """Where the objects of a route lie: service, instance and route, with a slash at the end."""
    parts = (canary.service_name, canary.service_instance, canary.signal, canary.key.route)
    return "".join(f"{quote(part, safe='')}/" for part in parts)


def key_of(canary: Canary) -> str:
    """The object's name: nothing in it needs care in a URL but the percent sign."""
    return f"{folder_of(canary)}{stamp_text(canary.stamp_ns)}-{quote(canary.canary_id, safe='')}"


def stamp_text(stamp_ns: int) -> str:
    """Unix nanoseconds at a fixed width, so that the order of texts is that of times."""
    return f"{stamp_ns:0{_STAMP_DIGITS}d}"


def stamp_in(key: str) -> int | None:
    """The stamp that an object is named by, in Unix nanoseconds; None for another name."""
    found = _STAMPED.search(key)
    return None if found is None else int(found[1])


def encode(canary: Canary) -> bytes:
    """The document: a JSON object with everything that a canary carries."""
    return json.dumps(
        {
            "id": canary.canary_id,
            "signal": canary.signal,
            "stamp_ns": str(canary.stamp_ns),
            "service": canary.service_name,
            "instance": canary.service_instance,
            "trace_id": canary.trace_id.hex(),
            "span_id": canary.span_id.hex(),
            "body": canary.body,
            "value": canary.value,
            "attributes": dict(canary.attributes),
        },
        ensure_ascii=False,
    ).encode()


def decode(body: bytes) -> Stored | None:
    """What a stored document says; None when it is none of ours any more."""
    try:
        told = parse_json(body)
        text = member(told, "body")
        stored = Stored(
            integer(member(told, "stamp_ns")),
            text if isinstance(text, str) else "",
            number(member(told, "value")),
            strings(member(told, "attributes")),
            {name: str(part(told, name) or "") for name in FIELDS},
        )
    except ReadError:
        return None
    return stored if isinstance(text, str) else None
