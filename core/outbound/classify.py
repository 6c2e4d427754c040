"""Why a transfer broke: our own records first, curl's code second.

A guard that denies and a refused connection both give curl's code 7, so the code alone proves
nothing; what is not known to be the target's doing is ours. Errno values are those of Linux.
"""

import errno
import os
import re
from dataclasses import dataclass
from typing import Final

import pycurl

from core.outbound.errnos import BY_ERRNO
from core.outbound.protocol import Phase
from core.reason import Reason

_TLS_ALERT = re.compile(r"alert|certificate|handshake", re.IGNORECASE)

# Not one of curl's: our own client was closed meanwhile.
CLOSED: Final = -1

# curl's code -> (reason, ours)
_BY_CODE: Final = {
    CLOSED: (Reason.STOPPED, True),
    pycurl.E_SSL_CONNECT_ERROR: (Reason.TLS, False),
    pycurl.E_PEER_FAILED_VERIFICATION: (Reason.TLS, False),
    pycurl.E_SSL_CIPHER: (Reason.TLS, False),
    pycurl.E_SSL_ISSUER_ERROR: (Reason.TLS, False),
    pycurl.E_SSL_CERTPROBLEM: (Reason.TLS, True),
    pycurl.E_SSL_CACERT_BADFILE: (Reason.TLS, True),
    pycurl.E_OPERATION_TIMEDOUT: (Reason.TIMEOUT, False),
    pycurl.E_RECV_ERROR: (Reason.RESET, False),
    pycurl.E_SEND_ERROR: (Reason.RESET, False),
    pycurl.E_GOT_NOTHING: (Reason.PROTOCOL, False),
    pycurl.E_PARTIAL_FILE: (Reason.PROTOCOL, False),
    pycurl.E_FTP_WEIRD_SERVER_REPLY: (Reason.PROTOCOL, False),
    pycurl.E_UNSUPPORTED_PROTOCOL: (Reason.PROTOCOL, False),
    pycurl.E_BAD_CONTENT_ENCODING: (Reason.PROTOCOL, False),
    pycurl.E_HTTP2: (Reason.PROTOCOL, False),
    92: (Reason.PROTOCOL, False),  # CURLE_HTTP2_STREAM
    100: (Reason.PROTOCOL, False),  # CURLE_TOO_LARGE
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no complete answer, before it is told with its hops."""

    reason: Reason
    detail: str
    ours: bool
    connected: bool = False
    phase: Phase | None = None


def fault_of(
    code: int, words: str, os_errno: int, *, connected: bool, phase: Phase | None
) -> Fault:
    """What a broken transfer means, when our own records hold no better reason."""
    if descriptors_exhausted():
        detail = "no file descriptor left"
        return Fault(Reason.DESCRIPTORS, detail, ours=True, connected=connected, phase=phase)
    reason, ours = _BY_CODE.get(code, (Reason.INTERNAL, True))
    if code == pycurl.E_COULDNT_CONNECT:
        reason, ours = BY_ERRNO.get(os_errno, (Reason.INTERNAL, True))
    elif code in {pycurl.E_RECV_ERROR, pycurl.E_SSL_CONNECT_ERROR} and os_errno in BY_ERRNO:
        reason, ours = BY_ERRNO[os_errno]
    elif code == pycurl.E_RECV_ERROR:
        # A server that refuses our client certificate says so only after the handshake (TLS 1.3).
        reason = Reason.TLS if _TLS_ALERT.search(words) else Reason.PROTOCOL
    return Fault(reason, words or f"curl code {code}", ours, connected, phase)


def descriptors_exhausted() -> bool:
    """Whether this process cannot open one more file."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as exc:
        return exc.errno in {errno.EMFILE, errno.ENFILE}
    return False
