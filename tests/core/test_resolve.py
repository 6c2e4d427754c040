"""Look-ups are shared, bounded and judged."""

import asyncio
import socket
import threading

from core.reason import Reason
from core.resolve import Resolver, Unresolved
from tests.support.network import names

BROKEN = socket.gaierror(socket.EAI_AGAIN, "temporary failure")


async def test_literals_and_localhost_ask_nobody() -> None:
    def ask(host: str, family: int) -> list[str]:
        raise AssertionError(host)

    resolver = Resolver(ask=ask)
    assert [str(a) for a in await resolver.resolve("127.1")] == ["127.0.0.1"]
    assert [str(a) for a in await resolver.resolve("localhost")] == ["127.0.0.1", "::1"]
    await resolver.close()


async def test_look_ups_of_one_name_are_collapsed() -> None:
    asked: list[str] = []
    go = threading.Event()

    def ask(host: str, family: int) -> list[str]:
        asked.append(host)
        go.wait(5)
        return ["192.0.2.1"]

    resolver = Resolver(ask=ask)
    waiting = [asyncio.ensure_future(resolver.resolve("shop.example")) for _ in range(20)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    go.set()
    found = await asyncio.gather(*waiting)
    assert {str(addresses[0]) for addresses in found} == {"192.0.2.1"}
    assert asked == ["shop.example"]
    await resolver.close()


async def test_the_second_family_is_asked_only_without_an_address_of_the_first() -> None:
    asked: list[int] = []

    def ask(host: str, family: int) -> list[str]:
        asked.append(family)
        if family == socket.AF_INET and host == "six.example":
            raise socket.gaierror(socket.EAI_NODATA, "no address")
        return ["192.0.2.1" if family == socket.AF_INET else "2001:db8::1"]

    resolver = Resolver(ask=ask)
    assert str((await resolver.resolve("four.example"))[0]) == "192.0.2.1"
    assert str((await resolver.resolve("six.example"))[0]) == "2001:db8::1"
    assert asked == [socket.AF_INET, socket.AF_INET, socket.AF_INET6]
    await resolver.close()


async def test_fault_036_a_name_that_does_not_exist_is_the_targets_doing() -> None:
    resolver = Resolver(ask=names({}))
    found = await resolver.resolve("gone.example")
    assert found == Unresolved(Reason.DNS, "gone.example does not exist", ours=False)
    await resolver.close()


async def test_fault_036_a_resolver_failure_is_ours_unless_a_control_name_resolves() -> None:
    table = {"shop.example": BROKEN, "control.example": "192.0.2.9"}
    for control, reason, ours in (
        ("", Reason.RESOLVER, True),
        ("control.example", Reason.DNS, False),
        ("shop.example", Reason.RESOLVER, True),
    ):
        resolver = Resolver(ask=names(table), control=control)
        found = await resolver.resolve("shop.example")
        assert isinstance(found, Unresolved)
        assert (found.reason, found.ours) == (reason, ours)
        await resolver.close()


async def test_fault_036_a_slow_look_up_ends_at_its_limit_and_is_ours() -> None:
    go = threading.Event()

    def ask(host: str, family: int) -> list[str]:
        go.wait(10)
        return ["192.0.2.1"]

    resolver = Resolver(ask=ask, limit_s=0.05)
    found = await resolver.resolve("slow.example")
    go.set()
    assert isinstance(found, Unresolved)
    assert found.ours
    await resolver.close()
