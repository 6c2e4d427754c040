"""The file injector: a line is there when it is called accepted, whatever others do to the file."""

import asyncio
import errno
import json
import os
import re
import resource
import threading
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import CoalmineError
from core.reason import Reason
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors.file import FileInjector, FileOptions, render
from selfcheck.injectors.lines import LineFile, Lines
from tests.support.canaries import canary_of
from tests.support.parts import real_parts

LINE = re.compile(r"(?P<stamp>\S+)\.(?P<ns>\d{9})Z INFO (?P<pairs>.*) \| (?P<body>.*)\n")


@asynccontextmanager
async def injecting(folder, path="canary.log", **options):
    async with real_parts(folder) as parts:
        chosen = FileOptions.model_validate({"path": str(path), **options})
        injector = FileInjector.build(chosen, parts, None)
        try:
            yield injector
        finally:
            await injector.close()


async def sent(injector, *seqs, deadline_s=5.0):
    return [await injector.send(canary_of(Signal.LOGS, seq), deadline_s) for seq in seqs]


def ids_in(*paths):
    lines = [line for path in paths for line in path.read_text().splitlines()]
    return [json.loads(line)["attributes"]["coalmine.seq"] for line in lines]


def seqs(*numbers):
    return [str(number) for number in numbers]


async def test_an_accepted_line_is_in_the_file(tmp_path):
    async with injecting(tmp_path) as injector:
        canary = canary_of(Signal.LOGS)
        receipt = await injector.send(canary, 5.0)
        written = (tmp_path / "canary.log").read_bytes()
    assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.ACCEPTED, Reason.OK, 1)
    assert receipt.body_bytes == len(written)
    assert json.loads(written) == {
        "timestamp": str(canary.stamp_ns),
        "severity": "INFO",
        "body": canary.body,
        "trace_id": canary.trace_id.hex(),
        "span_id": canary.span_id.hex(),
        "attributes": canary.attributes,
        "resource": {
            "service.name": canary.service_name,
            "service.instance.id": canary.service_instance,
        },
    }


@given(st.text(max_size=40), st.integers(min_value=0, max_value=2**62))
def test_a_line_is_one_line_and_gives_back_what_was_sent(service, stamp_ns):
    canary = canary_of(Signal.LOGS, stamp_ns=stamp_ns, service=service)
    line = render(canary, "json")
    found = json.loads(line)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert (int(found["timestamp"]), found["body"]) == (stamp_ns, canary.body)
    assert found["resource"]["service.name"] == service


@given(st.text(max_size=40), st.integers(min_value=0, max_value=2**62))
def test_a_line_of_text_is_one_line_and_gives_back_what_was_sent(service, stamp_ns):
    canary = canary_of(Signal.LOGS, stamp_ns=stamp_ns, service=service)
    line = render(canary, "text").decode()
    match = LINE.fullmatch(line)
    assert match is not None
    assert line.count("\n") == 1
    second = int(datetime.fromisoformat(f"{match['stamp']}+00:00").timestamp())
    assert second * 10**9 + int(match["ns"]) == stamp_ns
    assert match["body"] == canary.body
    pairs = match["pairs"]
    wanted = {"trace_id": canary.trace_id.hex(), **canary.attributes}
    assert all(f" {name}={value}" in pairs for name, value in wanted.items())
    shown = pairs.removeprefix("service.name=")
    decoder = json.JSONDecoder()
    named = decoder.raw_decode(shown)[0] if shown[0] == '"' else shown.partition(" ")[0]
    assert named == service


async def test_a_file_that_was_moved_is_left_and_made_anew(tmp_path):
    path, moved = tmp_path / "canary.log", tmp_path / "moved.log"
    async with injecting(tmp_path) as injector:
        await sent(injector, 1)
        path.rename(moved)
        (receipt,) = await sent(injector, 2)
    assert receipt.sent is Sent.ACCEPTED
    assert (ids_in(moved), ids_in(path)) == (seqs(1), seqs(2))


async def test_a_file_that_was_removed_is_made_anew(tmp_path):
    async with injecting(tmp_path) as injector:
        await sent(injector, 1)
        (tmp_path / "canary.log").unlink()
        await sent(injector, 2)
    assert ids_in(tmp_path / "canary.log") == seqs(2)


async def test_a_file_that_was_cut_goes_on_at_its_new_end_without_a_hole(tmp_path):
    path = tmp_path / "canary.log"
    async with injecting(tmp_path) as injector:
        await sent(injector, 1, 2, 3)
        os.truncate(path, 0)
        await sent(injector, 4)
    assert b"\0" not in path.read_bytes()
    assert ids_in(path) == seqs(4)


async def test_a_file_that_somebody_else_has_begun_is_continued(tmp_path):
    path = tmp_path / "canary.log"
    path.write_bytes(render(canary_of(Signal.LOGS, 8), "json"))
    async with injecting(tmp_path) as injector:
        await sent(injector, 9)
    assert ids_in(path) == seqs(8, 9)


async def test_a_full_file_is_renamed_and_no_line_is_lost_or_cut(tmp_path):
    path = tmp_path / "canary.log"
    async with injecting(tmp_path, max_bytes=4096, keep=100) as injector:
        receipts = await sent(injector, *range(1, 101))
    assert {one.sent for one in receipts} == {Sent.ACCEPTED}
    older = sorted(tmp_path.glob("canary.log.*"), key=lambda each: -int(each.suffix[1:]))
    assert len(older) > 5
    assert all(each.stat().st_size <= 4096 for each in (*older, path))
    assert ids_in(*older, path) == seqs(*range(1, 101))


async def test_only_so_many_renamed_files_are_kept_and_they_are_the_newest(tmp_path):
    async with injecting(tmp_path, max_bytes=4096, keep=2) as injector:
        await sent(injector, *range(1, 101))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["canary.log", "canary.log.1", "canary.log.2"]
    kept = [tmp_path / name for name in ("canary.log.2", "canary.log.1", "canary.log")]
    found = [int(seq) for seq in ids_in(*kept)]
    assert found == list(range(found[0], 101))


async def test_two_routes_share_a_file_and_its_renaming(tmp_path):
    async with (
        injecting(tmp_path, max_bytes=4096, keep=100) as one,
        injecting(tmp_path, max_bytes=4096, keep=100) as two,
    ):
        await asyncio.gather(sent(one, *range(1, 101)), sent(two, *range(101, 201)))
    found = ids_in(*tmp_path.glob("canary.log*"))
    assert sorted(found, key=int) == seqs(*range(1, 201))


async def test_a_full_disk_is_a_rejection_with_its_reason(tmp_path):
    async with injecting(tmp_path, "/dev/full") as injector:
        (receipt,) = await sent(injector, 1)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
    assert "No space left on device" in receipt.detail
    assert receipt.silent is False


async def test_mode_06_a_folder_that_is_gone_rejects_for_as_long_as_it_is(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    async with injecting(tmp_path, "logs/canary.log") as injector:
        folder.rmdir()
        refused = await sent(injector, *range(1, 61))
        folder.mkdir()
        (after,) = await sent(injector, 61)
    assert {(one.sent, one.reason) for one in refused} == {(Sent.REJECTED, Reason.INJECT)}
    assert "No such file or directory" in refused[0].detail
    assert after.sent is Sent.ACCEPTED


async def test_no_permission_is_a_rejection_with_its_reason(tmp_path, monkeypatch):
    """The system's answer is put in its place: it never refuses an administrator."""

    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    async with injecting(tmp_path) as injector:
        monkeypatch.setattr(os, "open", refuse)
        (receipt,) = await sent(injector, 1)
        monkeypatch.undo()
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
    assert "Permission denied" in receipt.detail


@contextmanager
def largest_file(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_line_that_was_cut_off_is_rejected_and_spoils_no_other(tmp_path):
    path = tmp_path / "canary.log"
    async with injecting(tmp_path) as injector:
        await sent(injector, 1)
        with largest_file(path.stat().st_size + 10):
            (cut, again) = await sent(injector, 2, 3)
        (after,) = await sent(injector, 4)
    assert (cut.sent, again.sent, after.sent) == (Sent.REJECTED, Sent.REJECTED, Sent.ACCEPTED)
    assert "File too large" in cut.detail
    lines = path.read_text().splitlines()
    assert [len(line) for line in lines[1:2]] == [10]
    assert [json.loads(lines[at])["attributes"]["coalmine.seq"] for at in (0, 2)] == seqs(1, 4)
    assert len(lines) == 3


async def test_a_line_that_is_not_on_the_disk_may_have_been_read_all_the_same(
    tmp_path, monkeypatch
):
    def fail(_fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with injecting(tmp_path, fsync=True) as injector:
        (fine,) = await sent(injector, 1)
        monkeypatch.setattr(os, "fsync", fail)
        (unsure,) = await sent(injector, 2)
        monkeypatch.undo()
    assert fine.sent is Sent.ACCEPTED
    assert (unsure.sent, unsure.reason) == (Sent.MAYBE, Reason.MAYBE_SENT)
    assert "Input/output error" in unsure.detail
    assert ids_in(tmp_path / "canary.log") == seqs(1, 2)


async def test_a_named_pipe_without_a_reader_is_refused_at_once_and_one_with_a_reader_is_fed(
    tmp_path,
):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with injecting(tmp_path, "pipe") as injector:
        (refused,) = await sent(injector, 1)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        (taken,) = await sent(injector, 2)
        line = os.read(reader, 65536)
        os.close(reader)
    assert (refused.sent, taken.sent) == (Sent.REJECTED, Sent.ACCEPTED)
    assert json.loads(line)["attributes"]["coalmine.seq"] == "2"


class Hanging(Lines):
    """A disk that does not come back until it is let go."""

    def __init__(self):
        self.free, self.lines = threading.Event(), []

    def append(self, line):
        self.free.wait(20)
        self.lines.append(line)
        return Sent.ACCEPTED, ""


async def test_mode_23_a_disk_that_hangs_is_unknown_and_the_lines_behind_it_are_never_written(
    tmp_path,
):
    async with injecting(tmp_path) as well, injecting(tmp_path, "hung.log") as injector:
        hung = Hanging()
        object.__setattr__(injector, "lines", hung)
        first, second = await sent(injector, 1, 2, deadline_s=0.2)
        (beside,) = await sent(well, 9)
        hung.free.set()
        (third,) = await sent(injector, 3)
    assert (first.sent, first.reason, first.silent) == (Sent.MAYBE, Reason.MAYBE_SENT, True)
    assert (second.sent, second.silent) == (Sent.REJECTED, False)
    assert (beside.sent, third.sent) == (Sent.ACCEPTED, Sent.ACCEPTED)
    assert [json.loads(line)["attributes"]["coalmine.seq"] for line in hung.lines] == seqs(1, 3)


async def test_no_time_is_no_try(tmp_path):
    async with injecting(tmp_path) as injector:
        (receipt,) = await sent(injector, 1, deadline_s=0.0)
    assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.MAYBE, Reason.HARNESS, 0)
    assert not (tmp_path / "canary.log").exists()


async def test_standard_output_gets_the_line_and_stays_open(tmp_path, capfd):
    async with injecting(tmp_path, "-") as injector:
        receipts = await sent(injector, 1, 2)
    print("afterwards", flush=True)
    first, second, rest = capfd.readouterr().out.splitlines()
    assert {one.sent for one in receipts} == {Sent.ACCEPTED}
    assert [json.loads(one)["attributes"]["coalmine.seq"] for one in (first, second)] == seqs(1, 2)
    assert rest == "afterwards"


async def test_what_cannot_be_written_to_is_an_error_when_it_is_built(tmp_path):
    rule = WriteRule("http://127.0.0.1:1", {}, frozenset({200}), empty_body=True)
    async with real_parts(tmp_path) as parts:
        for path, given, words in (
            ("none/canary.log", None, "no folder"),
            (".", None, "is a folder"),
            ("canary.log", rule, "not to a backend"),
        ):
            with pytest.raises(CoalmineError, match=words):
                FileInjector.build(FileOptions(path=path), parts, given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "written",
    [
        {"path": "-", "format": "text"},
        {"path": ""},
        {"path": "a", "keep": 0},
        {"path": "a", "max_bytes": "1kB"},
        {"path": "a", "format": "xml"},
    ],
)
def test_options_that_make_no_sense_are_refused(written):
    with pytest.raises(ValidationError):
        FileOptions.model_validate(written)


def test_a_line_larger_than_the_limit_gets_a_file_of_its_own(tmp_path):
    file = LineFile(tmp_path / "a", 10, 3, fsync=False)
    for line in (b"x" * 20 + b"\n", b"y" * 20 + b"\n"):
        assert file.append(line) == (Sent.ACCEPTED, "")
    file.close()
    assert (tmp_path / "a").read_bytes() == b"y" * 20 + b"\n"
    assert (tmp_path / "a.1").read_bytes() == b"x" * 20 + b"\n"
