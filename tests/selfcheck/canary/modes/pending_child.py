"""A service that commits and sends canaries of one route, and then waits to be killed.

`python -m tests.selfcheck.canary.modes.pending_child FOLDER COUNT` prints `pending COUNT` once all
are durable and sent.
"""

import asyncio
import sys
from pathlib import Path

from scheduler.store import open_stores
from tests.fakes.route import CONTEXT, RouteRig
from tests.support.clock import VirtualClock


async def main(folder: Path, count: int) -> None:
    """Send `count` canaries, then do nothing for ever."""
    clock = VirtualClock()
    stores = open_stores(folder, clock)
    rig = RouteRig(clock=clock, ledger=stores.ledger, epoch=await stores.ledger.begin())
    await asyncio.gather(*(rig.cycle.inject(CONTEXT) for _ in range(count)))
    sys.stdout.write(f"pending {len(rig.store.sent)}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
