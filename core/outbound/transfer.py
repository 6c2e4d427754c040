"""One request on the wire: a curl handle, what it may do, and what it measured."""

import errno
import re
import socket
import ssl
from pathlib import Path
from typing import Any, Final

import pycurl

from core.egress import Address
from core.outbound.certificate import certificate_facts
from core.outbound.classify import Fault, fault_of
from core.outbound.protocol import Hop, Phase, Request
from core.reason import Reason

_HTTP_VERSIONS: Final = {1: "1.0", 2: "1.1", 3: "2", 30: "3"}
_PROTOCOLS: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
_MAX_HEADER_BYTES: Final = 64 << 10
_MAX_HEADERS: Final = 256
_CONNECT_MARGIN_MS: Final = 5000
_BREAKS: Final = re.compile("[\r\n\0]")
_SYSTEM_CA: Final = ssl.get_default_verify_paths().cafile


class Transfer:
    """A request to one checked address. Its callbacks never raise: they record and stop."""

    def __init__(self, request: Request, url: str, host: str, address: Address) -> None:
        """`address` has been judged by the guard; nothing else is connected to."""
        self.status: int | None = None
        self.requests = 0
        self.headers: list[tuple[str, str]] = []
        self._request, self._url, self._host, self._address = request, url, host, address
        self._body: list[bytes] = []
        self._body_bytes = self._header_bytes = self._header_count = self._sockets = 0
        self._tls_line = b""
        self._socket: socket.socket | None = None
        self._record: Fault | None = None
        self.handle: Any = pycurl.Curl()  # pycurl has no types
        self._set_up()

    @property
    def body(self) -> bytes:
        """The decoded body so far, within the cap."""
        return b"".join(self._body)

    def hop(self, resolve_s: float, *, complete: bool) -> Hop:
        """What is known of this request, whatever became of it."""
        get = self.handle.getinfo
        phases = {Phase.RESOLVE: resolve_s, **self._phases(complete=complete)}
        chain = get(pycurl.INFO_CERTINFO) if self._secure else ()
        return Hop(
            self._url,
            self.status,
            str(self._address),
            _HTTP_VERSIONS.get(get(pycurl.INFO_HTTP_VERSION)) if self.status else None,
            phases,
            certificate_facts(chain, self._host, get(pycurl.SSL_VERIFYRESULT), self._tls_line),
        )

    def fault(self, code: int, words: str) -> Fault:
        """Why the transfer broke."""
        if self._record is not None:
            return self._record
        number = self.handle.getinfo(pycurl.OS_ERRNO)
        return fault_of(code, words, number, connected=self.connected, phase=self.phase)

    @property
    def connected(self) -> bool:
        """Whether a connection stood that could carry the request, its handshake included."""
        mark = pycurl.APPCONNECT_TIME_T if self._secure else pycurl.CONNECT_TIME_T
        return self._reused or self.handle.getinfo(mark) > 0

    @property
    def phase(self) -> Phase:
        """The phase in progress."""
        done = self._phases(complete=False)
        order = [Phase.CONNECT, Phase.TLS, Phase.REQUEST_WRITE, Phase.FIRST_BYTE]
        if self._reused:
            order = order[2:]
        elif not self._secure:
            order.remove(Phase.TLS)
        return next((phase for phase in order if phase not in done), Phase.TRANSFER)

    @property
    def _secure(self) -> bool:
        return self._url.startswith("https:")

    @property
    def _reused(self) -> bool:
        return self._sockets == 0 and self.handle.getinfo(pycurl.LOCAL_PORT) > 0

    def _phases(self, *, complete: bool) -> dict[Phase, float]:
        """Finished phases in seconds; curl counts microseconds from the start of the transfer."""
        get = self.handle.getinfo
        connect, tls = get(pycurl.CONNECT_TIME_T), get(pycurl.APPCONNECT_TIME_T)
        phases: dict[Phase, float] = {}
        if connect:
            phases[Phase.CONNECT] = connect / 1e6
        if connect and tls:
            phases[Phase.TLS] = max(0, tls - connect) / 1e6
        # Curl fills in the later marks of a transfer that broke early: they mean nothing then.
        sent = get(pycurl.POSTTRANSFER_TIME_T) if self.connected else 0
        first = get(pycurl.STARTTRANSFER_TIME_T) if self.status is not None else 0
        if sent:
            phases[Phase.REQUEST_WRITE] = max(0, sent - max(connect, tls)) / 1e6
        if sent and first:
            phases[Phase.FIRST_BYTE] = max(0, first - sent) / 1e6
        if complete:
            phases[Phase.TRANSFER] = max(0, get(pycurl.TOTAL_TIME_T) - first) / 1e6
        return phases

    def _set_up(self) -> None:
        put, request = self.handle.setopt, self._request
        put(pycurl.URL, self._url)
        put(pycurl.NOSIGNAL, 1)
        put(pycurl.PROXY, "")
        put(pycurl.NETRC, pycurl.NETRC_IGNORED)
        put(pycurl.PROTOCOLS, _PROTOCOLS)
        # The deadline is kept outside curl; its own 300 s for connecting must not come first.
        put(pycurl.CONNECTTIMEOUT_MS, int(request.deadline_s * 1000) + _CONNECT_MARGIN_MS)
        shown = f"[{self._address}]" if self._address.version == 6 else str(self._address)
        put(pycurl.CONNECT_TO, [f"::{shown}:"])
        put(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        put(pycurl.SOCKOPTFUNCTION, self._on_opened)
        put(pycurl.PREREQFUNCTION, self._before_request)
        put(pycurl.WRITEFUNCTION, self._on_body)
        put(pycurl.HEADERFUNCTION, self._on_header)
        # With "identity" asked for, curl still decodes what is sent encoded, in bounded pieces.
        put(pycurl.ACCEPT_ENCODING, "identity")
        if not request.reuse:
            put(pycurl.FRESH_CONNECT, 1)
            put(pycurl.FORBID_REUSE, 1)
            put(pycurl.SSL_SESSIONID_CACHE, 0)
        self._set_method()
        if self._secure:
            self._set_tls()

    def _set_method(self) -> None:
        put, request = self.handle.setopt, self._request
        # An empty "Expect" stops curl from holding a large body back until a 100 arrives.
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
        named = {name.lower() for name, _ in request.headers}
        lines.append("Expect:")
        if "user-agent" not in named:
            lines.append("User-Agent: coalmine")
        if request.body:
            put(pycurl.POST, 1)
            put(pycurl.POSTFIELDSIZE, len(request.body))
            put(pycurl.POSTFIELDS, request.body)
            if "content-type" not in named:
                lines.append("Content-Type:")
        elif request.method == "HEAD":
            put(pycurl.NOBODY, 1)
        elif request.method in {"POST", "PUT", "PATCH"}:
            lines.append("Content-Length: 0")
        if _BREAKS.search("|".join((*lines, request.method))):
            raise UnicodeError("line break in a header or method")
        put(pycurl.HTTPHEADER, [line.encode("latin-1") for line in lines])
        put(pycurl.CUSTOMREQUEST, request.method)

    def _set_tls(self) -> None:
        put, tls = self.handle.setopt, self._request.tls
        put(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        put(pycurl.SSL_VERIFYPEER, 1 if tls.verify else 0)
        put(pycurl.SSL_VERIFYHOST, 2 if tls.verify else 0)
        put(pycurl.OPT_CERTINFO, 1)
        # Else OpenSSL would ask at the terminal for the passphrase of an encrypted key.
        put(pycurl.SSLCERTPASSWD, "")
        # The negotiated version is told nowhere else; of the log only that line is kept.
        put(pycurl.VERBOSE, 1)
        put(pycurl.DEBUGFUNCTION, self._on_debug)
        for option, path in (
            (pycurl.CAINFO, tls.ca_file or _system_ca()),
            (pycurl.SSLCERT, tls.cert_file),
            (pycurl.SSLKEY, tls.key_file),
        ):
            if path is not None:
                put(option, str(path))

    def _open_socket(self, _purpose: int, address: Any) -> Any:  # pycurl has no types
        try:
            self._sockets += 1
            self._socket = socket.socket(*address[:3])
        except OSError as exc:
            spent = exc.errno in {errno.EMFILE, errno.ENFILE}
            reason = Reason.DESCRIPTORS if spent else Reason.INTERNAL
            self._record = Fault(reason, f"socket: {exc.strerror}", ours=True, phase=Phase.CONNECT)
            return pycurl.SOCKET_BAD
        return self._socket

    def _before_request(self, *_: object) -> int:
        self.requests += 1
        if self.requests == 1:
            return int(pycurl.PREREQFUNC_OK)
        # A kept connection died, and curl would send the request again by itself.
        detail = "the kept connection closed before an answer"
        return self._stop(Reason.RESET, detail, pycurl.PREREQFUNC_ABORT)

    def _on_opened(self, _fd: int, _purpose: int) -> int:
        # pycurl works on a duplicate of the descriptor that it was given.
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return int(pycurl.SOCKOPT_OK)

    def _on_header(self, line: bytes) -> int:
        self._header_bytes += len(line)
        self._header_count += 1
        if self._header_bytes > _MAX_HEADER_BYTES or self._header_count > _MAX_HEADERS:
            return self._stop(Reason.PROTOCOL, "headers beyond 64 KiB or 256 lines", 0)
        if line.startswith(b"HTTP/"):
            code = line.split(None, 2)[1:2]
            self.status = int(code[0]) if code and code[0].isdigit() else None
            self.headers.clear()
            return len(line)
        name, colon, value = line.partition(b":")
        if colon:
            self.headers.append((name.decode("latin-1"), value.strip().decode("latin-1")))
        return len(line)

    def _on_body(self, piece: bytes) -> int:
        self._body_bytes += len(piece)
        if self._body_bytes > self._request.max_body_bytes:
            detail = f"body beyond {self._request.max_body_bytes} decoded bytes"
            return self._stop(Reason.BODY_TOO_LARGE, detail, 0)
        self._body.append(piece)
        return len(piece)

    def _on_debug(self, kind: int, text: bytes) -> None:
        if kind == pycurl.INFOTYPE_TEXT and text.startswith(b"SSL connection using"):
            self._tls_line = text

    def _stop(self, reason: Reason, detail: str, answer: int) -> int:
        if self._record is None:
            phase = Phase.FIRST_BYTE if self.status is None else Phase.TRANSFER
            self._record = Fault(reason, detail, ours=False, connected=True, phase=phase)
        return answer

    def close(self) -> None:
        """Free the handle."""
        self._on_opened(0, 0)
        self.handle.close()


def _system_ca() -> Path | None:
    # pycurl's own build looks where its builder kept its certificates.
    return Path(_SYSTEM_CA) if _SYSTEM_CA else None
