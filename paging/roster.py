"""The receivers of the paging loop, the present ones and those that are retiring.

A receiver's id is `name#fingerprint`: a re-keyed receiver is another one, because what was
triggered under a key can only be resolved under it. What is stored is the id, never the secret.
"""

from collections.abc import Collection, Mapping

from paging.config import ReceiverFactory
from paging.receivers.protocol import Receiver, ReceiverParts


def display_name(receiver_id: str) -> str:
    """The configured name in a receiver id."""
    return receiver_id.partition("#")[0]


class Roster:
    """Builds, finds, retires and closes receivers; used inside the paging loop only."""

    def __init__(self, parts: ReceiverParts) -> None:
        """`parts` are given to every factory."""
        self._parts = parts
        self._by_id: dict[str, Receiver] = {}
        self._ids: dict[str, str] = {}

    def build(self, factories: Mapping[str, ReceiverFactory]) -> dict[str, Receiver]:
        """New instances by name; nothing changes yet. Raises what a factory raises."""
        return {name: factory(self._parts) for name, factory in factories.items()}

    def adopt(self, built: Mapping[str, Receiver]) -> list[Receiver]:
        """Make `built` the present receivers; returns instances that are now unneeded."""
        spare: list[Receiver] = []
        ids: dict[str, str] = {}
        for name, receiver in built.items():
            ids[name] = f"{name}#{receiver.fingerprint()[:12]}"
            if ids[name] in self._by_id:
                spare.append(self._by_id[ids[name]])
            self._by_id[ids[name]] = receiver
        self._ids = ids
        return spare

    def retire(self, in_use: Collection[str]) -> list[Receiver]:
        """Drop and return receivers that are neither present nor `in_use` (ids)."""
        present = set(self._ids.values())
        gone = [rid for rid in self._by_id if rid not in present and rid not in in_use]
        return [self._by_id.pop(rid) for rid in gone]

    def retiring(self) -> tuple[str, ...]:
        """Ids that are kept only until their incidents resolve."""
        return tuple(sorted(set(self._by_id) - set(self._ids.values())))

    def find(self, receiver_id: str) -> Receiver | None:
        """The receiver of that id; None when it is gone for good."""
        return self._by_id.get(receiver_id)

    def lanes(self, name: str) -> tuple[tuple[str, str], ...]:
        """(receiver id, target) pairs of the present receiver `name`; none when unknown."""
        receiver_id = self._ids.get(name)
        if receiver_id is None:
            return ()
        return tuple((receiver_id, target) for target in self._by_id[receiver_id].targets)

    async def close(self) -> None:
        """Close every receiver."""
        while self._by_id:
            await self._by_id.popitem()[1].close()
