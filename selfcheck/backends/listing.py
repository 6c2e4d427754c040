"""A page of ListObjectsV2, from its XML. Pure.

Source: docs.aws.amazon.com, Amazon S3 API, "ListObjectsV2", 2026-11. A document type declaration is
refused, so that no entity is ever expanded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote
from xml.parsers import expat

from core.reason import Reason
from selfcheck.backends.http import ReadError

_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a listing. etag: without its quotes, "" where the store tells none."""

    key: str
    modified_ns: int
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """`following`: the token of the next page, "" on the last one."""

    objects: Sequence[Listed]
    following: str


@dataclass(slots=True)
class _Tree:
    """Texts by path below the root, with one entry per `Contents`."""

    root: str = ""
    path: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    contents: list[dict[str, str]] = field(default_factory=list)

    def start(self, name: str, _attributes: object) -> None:
        if len(self.path) >= _DEPTH:
            raise ReadError(Reason.BACKEND_PROTOCOL, "a listing nested too deep")
        self.root = self.root or name
        self.path.append(name)
        if self.path[1:] == ["Contents"]:
            self.contents.append({})

    def end(self, _name: str) -> None:
        self.path.pop()

    def text(self, piece: str) -> None:
        if len(self.path) == 2:
            name, into = self.path[1], self.fields
        elif len(self.path) == 3 and self.path[1] == "Contents":
            name, into = self.path[2], self.contents[-1]
        else:
            return
        into[name] = into.get(name, "") + piece


def parse_page(body: bytes) -> Page:
    """A complete page. Raises ReadError for what is none."""
    tree = _Tree()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.text
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as exc:
        raise ReadError(Reason.BACKEND_PROTOCOL, f"not usable XML: {exc}"[:200]) from exc
    if tree.root != "ListBucketResult":
        raise ReadError(Reason.BACKEND_PROTOCOL, "not a page of a listing")
    return _page(tree)


def _page(tree: _Tree) -> Page:
    truncated = tree.fields.get("IsTruncated", "")
    following = tree.fields.get("NextContinuationToken", "")
    if truncated not in {"true", "false"} or (truncated == "true") is not bool(following):
        raise ReadError(Reason.BACKEND_PROTOCOL, "a listing that does not say where it ends")
    encoded = tree.fields.get("EncodingType") == "url"
    found = []
    for one in tree.contents:
        key, modified = one.get("Key", ""), one.get("LastModified", "")
        etag = one.get("ETag", "").strip('"')
        found.append(Listed(unquote(key) if encoded else key, _moment_ns(modified), etag))
    return Page(found, following)


def _moment_ns(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ReadError(Reason.BACKEND_PROTOCOL, "an object without its time") from exc
    if moment.tzinfo is None:
        raise ReadError(Reason.BACKEND_PROTOCOL, "an object's time without its zone")
    return int(moment.timestamp()) * 10**9


def _refuse(*_declared: object) -> None:
    raise ReadError(Reason.BACKEND_PROTOCOL, "a listing that declares entities")
