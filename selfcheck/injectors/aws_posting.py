"""What injectors of AWS-style stores have in common: signed tries, and the words of a refusal."""

from dataclasses import dataclass, replace
from typing import ClassVar

from core.options import Options
from core.outbound.protocol import Request, Response
from core.reason import Reason
from selfcheck.aws import AwsAccess, Outgoing, error_code, refusal_reason
from selfcheck.canary.model import Canary, Sent
from selfcheck.injectors.posting import Attempt, Parcel, PostingInjector, PostingOptions

_TRIED_AGAIN = frozenset({Reason.THROTTLED})
# What a service says when it does not know itself whether it took the record.
_INTERNAL = frozenset({"InternalError", "InternalFailure", "InternalServerError"})


class AwsPostingOptions(AwsAccess, PostingOptions):
    """Keys of every injector that sends signed requests."""


@dataclass(frozen=True, slots=True)
class AwsInjector(PostingInjector):
    """Signs the very bytes that leave. service: the name that is signed."""

    options_model: ClassVar[type[Options]] = AwsPostingOptions
    service: ClassVar[str]

    options: AwsPostingOptions

    def request(self, path: str, parcel: Parcel, left_s: float) -> Request:
        """One try on the wire, signed now. Raises CoalmineError for a key that cannot be read."""
        plain = PostingInjector.request(self, path, parcel, left_s)
        outgoing = Outgoing(plain.method, plain.url, plain.body, parcel.headers)
        proof = self.options.signed(self.service, outgoing, self.clock.utc())
        return replace(plain, headers=(*plain.headers, *proof.items()))

    def _judge(self, canary: Canary, response: Response) -> Attempt:
        """The error's name decides before its status; an internal error proves nothing."""
        attempt = super(AwsInjector, self)._judge(canary, response)
        if response.status in self.rule.accepted_status:
            return attempt
        reason = refusal_reason(response)
        if reason is not None:
            return replace(attempt, reason=reason, retry=reason in _TRIED_AGAIN)
        if error_code(response) in _INTERNAL:
            return replace(
                attempt, sent=Sent.MAYBE, reason=Reason.MAYBE_SENT, retry=True, left=True
            )
        return attempt
