"""A visitor's way through the shop, as a browser check runs it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

URL = "{shop}"


async def journey(
    page: Any,  # a Playwright page: this file is run where Playwright is, and nowhere else
    step: Callable[[str], AbstractAsyncContextManager[None]],
) -> None:
    """Open the shop, order a lamp."""
    async with step("open"):
        await page.goto(URL)
    async with step("order"):
        await page.click("#order")
        await page.wait_for_selector("text=taken")
