"""An answer is held against what is expected of it."""

import json
import random
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.kinds import Parts
from core.reason import Reason
from core.result import Result
from core.verdict import Verdict
from probes.http import HttpOptions, HttpProbe
from probes.protocol import RunContext
from tests.fakes.http_server import hang, reply, serving
from tests.support.network import client

CONTEXT = RunContext("shop", 5.0, "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")


def parts(outbound, folder: Path = Path()) -> Parts:
    return Parts(outbound, SystemClock(), random.Random(1), folder, folder, "0a1b2c3d", "test")


async def run(answer, deadline_s: float = 5.0, **options) -> Result:
    async with serving(answer) as server, client() as outbound:
        given = HttpOptions.model_validate({"url": server.url(), **options})
        probe = HttpProbe.build(given, parts(outbound))
        return await probe.run(RunContext("shop", deadline_s, CONTEXT.traceparent))


async def test_without_expectations_any_2xx_is_ok() -> None:
    good, bad = await run(reply(204, b"")), await run(reply(404))
    assert good.verdict is Verdict.OK
    assert (bad.verdict, bad.reason, bad.facts["status_code"]) == (
        Verdict.FAIL,
        Reason.STATUS,
        404,
    )


@pytest.mark.parametrize(
    ("expect", "holds"),
    [
        ({"status": 200}, True),
        ({"status": [201, "3xx"]}, False),
        ({"body_contains": "Wel"}, True),
        ({"body_contains": "Hello"}, False),
        ({"body_matches": "^W.*e$"}, True),
        ({"body_matches": "^x"}, False),
        ({"header": {"x-a": "on"}}, True),
        ({"header": {"X-A": "two"}}, False),
        ({"header": {"X-B": "one"}}, False),
    ],
)
async def test_conditions_on_status_header_and_body(expect, holds: bool) -> None:
    result = await run(reply(x_a="one"), expect=expect)
    assert (result.verdict is Verdict.OK) is holds


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        ({"path": "$.a.b", "equals": 1}, True),
        ({"path": "$.a.b", "equals": True}, False),
        ({"path": "$.a.b", "above": 0, "below": 2}, True),
        ({"path": "$.a.b", "above": 1}, False),
        ({"path": "$.a.c"}, False),
        ({"path": "$.list[*]", "count": 3}, True),
        ({"path": "$.name", "contains": "oal"}, True),
    ],
)
async def test_conditions_on_json(value, holds: bool) -> None:
    body = json.dumps({"a": {"b": 1}, "list": [1, 2, 3], "name": "coal"}).encode()
    result = await run(reply(body=body), expect={"json": [value]})
    assert (result.verdict is Verdict.OK) is holds
    assert result.reason is (Reason.OK if holds else Reason.ASSERTION)


async def test_input_28_a_type_mismatch_or_a_broken_body_fails_the_assertion() -> None:
    for body in (b'{"a": "text"}', b"<html>", b"[" * 100_000):
        result = await run(reply(body=body), expect={"json": [{"path": "$.a", "above": 1}]})
        assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.ASSERTION)


async def test_the_worst_broken_condition_decides_and_degraded_stays_degraded() -> None:
    weak = {"body_contains": "absent", "severity": "degraded"}
    assert (await run(reply(), expect=[weak])).verdict is Verdict.DEGRADED
    both = await run(reply(), expect=[weak, {"status": 500}])
    assert both.verdict is Verdict.FAIL


async def test_a_late_answer_is_degraded() -> None:
    result = await run(reply(), degraded_after="0.001ms")
    assert (result.verdict, result.reason) == (Verdict.DEGRADED, Reason.SLOW)


async def test_its_own_deadline_is_a_failure_that_names_the_phase() -> None:
    result = await run(hang, deadline_s=0.2)
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.TIMEOUT)
    assert result.facts["phase_in_progress"] == "first_byte"
    assert "phase_first_byte_seconds" not in result.facts


async def test_what_the_guard_denies_is_blind() -> None:
    async with client({"shop.example": "10.0.0.1"}) as outbound:
        given = HttpOptions.model_validate({"url": "http://shop.example/"})
        result = await HttpProbe.build(given, parts(outbound)).run(CONTEXT)
    assert (result.verdict, result.reason) == (Verdict.BLIND, Reason.EGRESS)


async def test_the_trace_goes_along_and_the_token_comes_from_its_file(tmp_path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    async with serving(reply()) as server, client() as outbound:
        given = HttpOptions.model_validate(
            {"url": server.url(), "bearer_file": "token", "method": "post", "body": "hi"},
            context={"base_dir": tmp_path},
        )
        result = await HttpProbe.build(given, parts(outbound, tmp_path)).run(CONTEXT)
        head = server.heads[0]
    assert result.verdict is Verdict.OK
    assert head.startswith("POST / ")
    assert f"traceparent: {CONTEXT.traceparent}" in head
    assert "Authorization: Bearer s3cret" in head
    assert "s3cret" not in repr(given) + repr(result)


async def test_every_fact_is_declared() -> None:
    result = await run(reply())
    assert set(result.facts) <= {spec.name for spec in HttpProbe.facts}


async def test_input_27_a_catastrophic_expression_takes_linear_time() -> None:
    body = b"a" * 500_000
    result = await run(reply(body=body), expect={"body_matches": "^(a+)+$x"})
    assert result.reason is Reason.ASSERTION
    assert float(result.facts["phase_assert_seconds"]) < 5
