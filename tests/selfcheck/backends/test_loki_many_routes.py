"""Loki between the canaries of many routes: a backlog of one is found among those of all."""

import json
import time

import pytest

from core.outbound.protocol import Request, Response
from deploy.stack.launch import TENANT
from selfcheck.backends.loki import BY_ID, SEARCH
from selfcheck.canary.model import Canary, Signal
from tests.contracts.backends.case import Ground
from tests.contracts.backends.cases.loki import CASES
from tests.support.canaries import canary_of, question_of
from tests.support.parts import real_parts

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(120)]

SECOND_NS = 10**9
ROUTES, BACKLOG = 100, 360


@pytest.fixture
async def case(tmp_path, start_server):
    async with (
        real_parts(tmp_path) as parts,
        CASES["loki-push"].open(Ground(parts, tmp_path, start_server)) as opened,
    ):
        yield opened


async def pushed(case, canaries: list[Canary]) -> None:
    """All of them as one stream, as Loki has them of one installation."""
    values = [
        [
            str(one.stamp_ns),
            one.body,
            {name.replace(".", "_"): value for name, value in one.attributes.items()},
        ]
        for one in canaries
    ]
    first = canaries[0]
    stream = {"service_name": first.service_name, "service_instance_id": first.service_instance}
    body = json.dumps({"streams": [{"stream": stream, "values": values}]}).encode()
    headers = (("Content-Type", "application/json"), ("X-Scope-OrgID", TENANT))
    url = f"{case.model().url}/loki/api/v1/push"
    answer = await case.parts.outbound.fetch(Request("POST", url, 20.0, headers=headers, body=body))
    assert isinstance(answer, Response), answer
    assert answer.status == 204, answer.body


async def test_mode_09_a_backlog_of_one_route_is_found_among_those_of_a_hundred(case):
    """36,000 lines lie in the hour that is asked about, 360 of them are this route's."""
    name, start = f"many-{time.time_ns()}", time.time_ns() - 3600 * SECOND_NS
    routes = [
        [
            canary_of(Signal.LOGS, n, f"{name}-{number}", start + n * 10 * SECOND_NS + number)
            for n in range(BACKLOG)
        ]
        for number in range(ROUTES)
    ]
    for n in range(0, BACKLOG, 12):
        await pushed(case, [route[m] for m in range(n, n + 12) for route in routes])
    wanted = routes[7]
    for path in (BY_ID, SEARCH):
        reading = await case.backend().read(question_of(*wanted), path, 10.0)
        assert reading.complete, (path.name, reading.detail)
        found = [sighting.canary_id for sighting in reading.sightings]
        assert sorted(found) == sorted(canary.canary_id for canary in wanted), path.name
        assert reading.body_bytes < 1 << 20


async def test_lines_of_one_stamp_are_found_wherever_a_page_ends(case):
    """Three lines a stamp and pages of four: most pages end between lines that share theirs."""
    route, now = f"same-{time.time_ns()}", time.time_ns() - 60 * SECOND_NS
    same = [canary_of(Signal.LOGS, n, route, now + n // 3 * SECOND_NS) for n in range(30)]
    await pushed(case, same)
    for path in (BY_ID, SEARCH):
        reading = await case.backend(row_limit=4).read(question_of(*same), path, 10.0)
        assert reading.complete, reading.detail
        assert {one.canary_id for one in reading.sightings} == {c.canary_id for c in same}
