"""Samples that somebody else stamps are known by their values, on every store of PromQL."""

from selfcheck.canary.compare import difference, same_record
from tests.selfcheck.backends.series import (
    fresh_route,
    held_canary,
    held_question,
    scraped,
    until,
)


async def test_a_scraped_value_is_found_with_the_stamp_of_its_first_scrape(promql_case):
    backend, signal = promql_case.backend(), "metrics"
    first = held_canary(fresh_route(), 1)
    second = held_canary(first.key.route, 2, age_s=40)
    scrapes = [(first, 3217), (first, 8217), (second, 3217), (second, 8217)]
    await promql_case.write(*(scraped(canary, after_ms) for canary, after_ms in scrapes))
    precision = backend.declaration.precision_ns
    for path in backend.declaration.paths_for(signal):
        reading = await until(backend, path, held_question(first, second), 2)
        assert [s.canary_id for s in reading.sightings] == [first.canary_id, second.canary_id]
        for canary, sighting in zip((first, second), reading.sightings, strict=True):
            expected = scraped(canary, 3217).stamp_ns // precision * precision
            assert abs(sighting.stamp_ns - expected) < precision
            assert same_record(canary, sighting, precision, stamped=False)
            assert difference(canary, [sighting]) == ""
            assert sighting.copies in {1, None}


async def test_a_value_of_an_earlier_start_is_not_that_of_this_one(promql_case):
    backend, route = promql_case.backend(), fresh_route()
    before, now = held_canary(route, 1, epoch=7), held_canary(route, 1, epoch=8)
    await promql_case.write(scraped(before, 1500))
    declared = backend.declaration
    for path in declared.paths_for("metrics"):
        await until(backend, path, held_question(before), 1)
        reading = await backend.read(held_question(now), path, 5.0)
        assert (reading.complete, reading.sightings) == (True, ())


async def test_a_count_of_a_scraped_value_shows_one_and_of_none_shows_none(promql_case):
    backend, route = promql_case.backend(), fresh_route()
    there, never = held_canary(route, 1), held_canary(route, 2)
    await promql_case.write(scraped(there, 1500), scraped(there, 6500))
    declared = backend.declaration
    (path,) = [one for one in declared.judged_only("metrics") if one.counts_only]
    (sighting,) = (await until(backend, path, held_question(there), 1)).sightings
    assert (sighting.canary_id, sighting.stamp_ns, sighting.value) == (there.canary_id, None, None)
    reading = await backend.read(held_question(never), path, 5.0)
    assert (reading.complete, reading.sightings) == (True, ())
