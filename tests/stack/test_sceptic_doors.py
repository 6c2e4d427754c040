"""A sceptic before a real Loki: a door that harms some canaries, or answers some who ask.

Each route has a door of its own to the same store, so that all is broken at once; most canaries
still arrive everywhere, and nowhere may that be enough to be called ok.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from coalmine.demo.ports import free_port
from coalmine.demo.receiver import PageReceiver
from deploy.stack.launch import TENANT, Stack
from tests.fakes.door import Door
from tests.stack.rig import JUDGING, Watch, watched
from tests.support.servers import stack_of

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]

Answer = tuple[int, bytes, str]
_SEQ = re.compile(rb"cm-[0-9a-f]{8}-\d+-(\d+)-[0-9a-f]{16}")
_EMPTY = b'{"status":"success","data":{"resultType":"streams","result":[],"stats":{}}}'
_JSON = "application/json"


class TrickDoor(Door):
    """A door that plays one trick while `on`; the trick is told the number of the canary or read.

    It answers in place of the store, gives a body to be sent on, or None to leave all as it is.
    """

    def __init__(
        self,
        write: Callable[[int, bytes], Answer | bytes | None] = lambda _seq, _body: None,
        read: Callable[[int], Answer | None] = lambda _number: None,
        shown: Callable[[Answer], Answer] = lambda answer: answer,
    ) -> None:
        super().__init__()
        self._write, self._read, self._shown = write, read, shown
        self.on, self._reads = False, 0

    def answer(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if not self.on:
            return super().answer(method, path, body, headers)
        if urlsplit(path).path.endswith("/v1/logs"):
            found = _SEQ.search(body)
            said = self._write(int(found.group(1)) if found else 0, body)
        else:
            self._reads += 1
            said = self._read(self._reads)
        if isinstance(said, tuple):
            return said
        return self._shown(super().answer(method, path, said or body, headers))


def hung_up(seq: int, _body: bytes) -> None:
    """Every second canary is taken from the wire, and neither kept nor answered."""
    if seq % 2 == 0:
        raise OSError("hung up")


def other_words(seq: int, body: bytes) -> bytes | None:
    return body.replace(b"Coalmine canary", b"Coalmine Canary") if seq % 6 == 0 else None


def only_what_is_there(answer: Answer) -> Answer:
    """A search for what is not there takes too long, as behind many a query frontend."""
    status, text, kind = answer
    if status == 200 and not json.loads(text)["data"]["result"]:
        return 504, b"upstream timed out", "text/plain"
    return status, text, kind


def tricks() -> dict[str, TrickDoor]:
    """A door for each route, by its name."""
    return {
        "altered": TrickDoor(other_words),
        "hung-up": TrickDoor(hung_up),
        "absent-fails": TrickDoor(
            lambda seq, _: (204, b"", "") if seq % 2 == 0 else None, shown=only_what_is_there
        ),
        "empty-replica": TrickDoor(
            read=lambda number: (200, _EMPTY, _JSON) if number % 2 else None
        ),
        "healthy": TrickDoor(),
    }


@pytest.fixture(scope="module")
def loki(tmp_path_factory) -> Iterator[Stack]:
    with stack_of(tmp_path_factory.mktemp("doors"), "loki") as stack:
        yield stack


@pytest.fixture
def doors(loki) -> Iterator[dict[str, TrickDoor]]:
    doors = tricks()
    for door in doors.values():
        door.read_from = door.write_to = loki["loki"].url()
    yield doors
    for door in doors.values():
        door.close()


def document(doors: Mapping[str, Door], pager: PageReceiver, folder: Path) -> dict[str, Any]:
    """A service with one route a door, each with a backend of its own."""
    return {
        "coalmine": 1,
        "namespace": "doors",
        "data_dir": str(folder / "data"),
        "api": {"listen": f"127.0.0.1:{free_port()}", "token_file": str(folder / "token")},
        "backends": {
            f"by-{name}": {"kind": "loki", "url": door.url, "tenant": TENANT}
            for name, door in doors.items()
        },
        "routes": [
            {
                "name": name,
                "signal": "logs",
                "every": "1s",
                "inject": {"kind": "otlp_http", "to": f"by-{name}"},
                "read": f"by-{name}",
            }
            for name in doors
        ],
        "receivers": {
            "pager": {
                "kind": "webhook",
                "url": pager.url,
                "secret_file": str(folder / "webhook-secret"),
            }
        },
        "pages": [{"to": "pager", "allow_single": True}],
        "judging": dict(JUDGING),
        "paging": {"group_wait": "2s", "blind_after": "4s"},
    }


def not_ok(watch: Watch, name: str) -> None:
    watch.until(f"{name} is not ok", lambda: watch.route(name)["verdict"] != "ok")


def test_most_of_them_being_ok_is_not_ok(doors, tmp_path):
    pager = PageReceiver(refuses=False)
    try:
        with watched(document(doors, pager, tmp_path), tmp_path, pager) as watch:
            watch.until_all_ok()
            since = watch.now()
            for door in doors.values():
                door.on = True
            watch.until_verdict("hung-up", "blind", "maybe_sent")
            not_ok(watch, "absent-fails")
            watch.until_verdict("altered", "degraded", "altered")
            replica = watch.until_verdict("empty-replica", "degraded")
            # First or once more: the turns of its reads say which is denied earlier.
            assert re.search("do(es|id) not show", replica["detail"])
            watch.always_ok(since, "healthy")
            lost = {name: watch.route(name)["outcomes"]["lost"] for name in doors}
            assert not {name for name in lost if lost[name]} - {"absent-fails"}, watch.told()
    finally:
        pager.close()
