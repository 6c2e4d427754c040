"""gRPC itself: one receiver, one channel, connected to an address that we resolved and judged.

The library's own words do not say whether a connection ever stood, and that decides between
"rejected" and "maybe sent". So a connection is made in steps of ours: the port is tried first,
then the channel must become ready, and only then does a request leave.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

import grpc  # type: ignore[import-untyped]  # ships no types
import grpc.aio  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from core.egress import Address
from core.outbound.protocol import Tls
from core.reason import Reason
from selfcheck.canary.model import Sent
from selfcheck.injectors.address import Guarded, not_connected
from selfcheck.injectors.otlp_grpc.call import Failed, Message, judged_failure
from selfcheck.injectors.posting import ANSWER_CAP
from selfcheck.injectors.tries import Attempt, unsent

_STATUS_KEY, _RETRY_KEY = "grpc-status-details-bin", "google.rpc.retryinfo-bin"
_READY = grpc.ChannelConnectivity.READY
_SETTLED = frozenset(
    {_READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}
)
# How gRPC's core begins its own words for a stream or a connection that broke.
_BROKEN = "Stream removed"
_NEVER_CONNECTED = "failed to connect to all addresses"


class _Step(StrEnum):
    """How far a try has come."""

    RESOLVE = "look-up of the name"
    CONNECT = "connect"
    GREET = "handshake"
    ANSWER = "answer"


@dataclass(slots=True)
class _Way:
    """The step a try is at, so that a time-out can tell it."""

    step: _Step = _Step.RESOLVE


class _Link:
    """One channel and how many calls are on it; one that is left by all is closed when retired.

    A channel that is closed under a call would cancel it, as if its deadline had passed.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Retired until it is adopted: a channel that never becomes ready is closed at once."""
        self.channel, self.retired, self._users = channel, True, 0

    async def __aenter__(self) -> Self:
        self._users += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._users -= 1
        await self.tidy()

    @property
    def ready(self) -> bool:
        """Whether a connection of HTTP/2 stands, as far as is known now."""
        return self.channel.get_state() is _READY

    async def settled(self) -> None:
        """Wait until a connection stands, or the first attempt at one has failed."""
        state = self.channel.get_state(try_to_connect=True)
        while state not in _SETTLED:
            await self.channel.wait_for_state_change(state)
            state = self.channel.get_state(try_to_connect=True)

    async def tidy(self) -> None:
        """Close what nobody uses and nobody will."""
        if self.retired and self._users == 0:
            await self.channel.close()


class GrpcReceiver:
    """The receiver at one origin. Belongs to the event loop of its first `export`."""

    def __init__(self, guarded: Guarded, tls: Tls) -> None:
        """Nothing is connected until the first `export`. Closes the resolver with itself."""
        self._guarded, self._tls = guarded, tls
        self._shared: _Link | None = None

    async def export(self, message: Message, left_s: float) -> bytes | Attempt:
        """The bytes of an OK answer within `left_s`, else what the try came to."""
        way = _Way()
        deadline = asyncio.timeout(left_s)
        try:
            async with deadline:
                return await self._exported(message, way)
        except TimeoutError:
            if not deadline.expired():
                raise
            return _timed_out(way.step, left_s)

    async def close(self) -> None:
        """End the connection; calls that are on it end by their own deadlines."""
        await self._adopt(None)
        await self._guarded.resolver.close()

    async def _exported(self, message: Message, way: _Way) -> bytes | Attempt:
        link = self._shared
        if link is not None and link.ready:
            async with link:
                return await self._exchange(link, message, way)
        fresh = await self._dialled(way)
        if isinstance(fresh, Attempt):
            return fresh
        async with fresh:
            await fresh.settled()
            if fresh.ready:
                await self._adopt(fresh)
            return await self._exchange(fresh, message, way)

    async def _adopt(self, link: _Link | None) -> None:
        """Have later calls use `link`; the one before is left to those that are on it."""
        old, self._shared = self._shared, link
        if link is not None:
            link.retired = False
        if old is not None:
            old.retired = True
            await old.tidy()

    async def _dialled(self, way: _Way) -> _Link | Attempt:
        """A new channel to an address that was judged and accepts connections."""
        address = await self._guarded.address()
        if isinstance(address, Attempt):
            return address
        way.step = _Step.CONNECT
        trouble = await self._port_tried(address)
        if trouble is not None:
            return trouble
        way.step = _Step.GREET
        try:
            return _Link(await self._channel_to(address))
        except OSError as exc:
            return unsent(Reason.TLS, f"certificates: {exc}", ours=True)

    async def _port_tried(self, address: Address) -> Attempt | None:
        """None when the port accepts: only a connect of our own says why it does not."""
        origin = self._guarded.origin
        try:
            with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(probe, (str(address), origin.port))
        except OSError as exc:
            return not_connected(exc, origin.authority)
        return None

    async def _channel_to(self, address: Address) -> grpc.aio.Channel:
        """A channel under the origin's name. Raises OSError for a certificate."""
        origin = self._guarded.origin
        host = f"[{address}]" if address.version == 6 else str(address)
        target = f"ipv{address.version}:{host}:{origin.port}"
        options = [
            ("grpc.default_authority", origin.authority),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            # A pool shared with other channels would share their waits after failures.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", ANSWER_CAP),
        ]
        if not origin.secure:
            return grpc.aio.insecure_channel(target, options)
        options.append(("grpc.ssl_target_name_override", origin.host))
        credentials = await asyncio.to_thread(credentials_of, self._tls)
        return grpc.aio.secure_channel(target, credentials, options)

    async def _exchange(self, link: _Link, message: Message, way: _Way) -> bytes | Attempt:
        """One call; on a channel that is not ready it fails at once, and says why."""
        way.step = _Step.ANSWER
        compression = grpc.Compression.Gzip if message.gzip else None
        send = link.channel.unary_unary(message.method)
        try:
            # No time-out of gRPC's own: the one deadline is ours, so that DEADLINE_EXCEEDED is a
            # word of the receiver's.
            return bytes(
                await send(message.body, metadata=message.metadata, compression=compression)
            )
        except grpc.aio.AioRpcError as exc:
            details = exc.details() or ""
            if details.startswith(_NEVER_CONNECTED):
                # The port took us, and no connection of HTTP/2 came of it: nothing can have left.
                secure = self._guarded.origin.secure
                return unsent(Reason.TLS if secure else Reason.PROTOCOL, details, ours=False)
            own_word = link.ready and not details.startswith(_BROKEN)
            if not own_word and link is self._shared:
                await self._adopt(None)
            wait_s = wait_of(dict(exc.trailing_metadata() or ()))
            return judged_failure(Failed(exc.code().name, details, own_word, wait_s))


def credentials_of(tls: Tls) -> grpc.ChannelCredentials:
    """Certificates as they are in their files now. Raises OSError.

    Without `ca_file` the system's bundle is trusted, as over HTTP, and gRPC's own only where the
    system has none.
    """
    system = ssl.get_default_verify_paths().cafile
    roots = tls.ca_file or (None if system is None else Path(system))
    return grpc.ssl_channel_credentials(
        root_certificates=None if roots is None else roots.read_bytes(),
        private_key=None if tls.key_file is None else tls.key_file.read_bytes(),
        certificate_chain=None if tls.cert_file is None else tls.cert_file.read_bytes(),
    )


def wait_of(trailers: Mapping[str, bytes]) -> float | None:
    """Seconds of a RetryInfo in the trailers of a status; None without one, or one of 0 s.

    It comes in the details of the status (what the Collector sends) or as a trailer of its own.
    """
    info = RetryInfo()
    try:
        if _RETRY_KEY in trailers:
            info.ParseFromString(trailers[_RETRY_KEY])
        elif _STATUS_KEY in trailers:
            packed = Status.FromString(trailers[_STATUS_KEY]).details
            for one in packed:
                one.Unpack(info)
    except DecodeError:
        return None  # a wait that cannot be read is none that was asked for
    wait_s = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return wait_s if wait_s > 0 else None


def _timed_out(step: _Step, left_s: float) -> Attempt:
    detail = f"no complete answer in {left_s:g} s: {step} in progress"
    if step is _Step.RESOLVE:
        # The resolver's slowness is not proven to be the name's doing.
        return unsent(Reason.RESOLVER, detail, ours=True)
    if step is _Step.CONNECT:
        return unsent(Reason.TIMEOUT, detail, ours=False)
    return Attempt(Sent.MAYBE, Reason.MAYBE_SENT, detail, retry=False, left=True, silent=True)


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if isinstance(address, ipaddress.IPv6Address) else socket.AF_INET
