"""What the system's own error says of a connection that was not made."""

import errno
from collections.abc import Mapping
from typing import Final

from core.reason import Reason

# (reason, ours): ours is not proven to be the other side's doing.
BY_ERRNO: Final[Mapping[int, tuple[Reason, bool]]] = {
    errno.ECONNREFUSED: (Reason.REFUSED, False),
    errno.ECONNRESET: (Reason.RESET, False),
    errno.EHOSTUNREACH: (Reason.UNREACHABLE, False),
    errno.ETIMEDOUT: (Reason.TIMEOUT, False),
    errno.ENETUNREACH: (Reason.UNREACHABLE, True),
    errno.ENETDOWN: (Reason.UNREACHABLE, True),
    errno.EACCES: (Reason.PERMISSION, True),
    errno.EPERM: (Reason.PERMISSION, True),
    errno.EADDRNOTAVAIL: (Reason.DESCRIPTORS, True),
    errno.EMFILE: (Reason.DESCRIPTORS, True),
    errno.ENFILE: (Reason.DESCRIPTORS, True),
}
