"""What a decision is: a closed union, returned and never replied. Whatever is no Allow is no access."""

from typing import Final, NamedTuple

from extauthz.core.address import Address
from extauthz.core.policy import Gateway
from extauthz.core.reasons import Reason


class Allow:
    """The request may pass as `user`.

    Attributes:
        gateway: Whose policy allowed it.
        user: The verified user; trimmed, without control characters.
        peer: The address whose word was taken.
    """

    __slots__ = ("gateway", "peer", "user")

    def __init__(self, gateway: Gateway, user: str, peer: Address) -> None:
        self.gateway: Final = gateway
        self.user: Final = user
        self.peer: Final = peer

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Allow):
            return NotImplemented
        return self.gateway is other.gateway and self.user == other.user and self.peer == other.peer

    def __hash__(self) -> int:
        return hash((self.gateway, self.user, self.peer))


class Deny(NamedTuple):
    """The request may not pass.

    Attributes:
        reason: Why; `reason.code` is what is sent.
        step: The name of the step that failed.
        gateway: Whose policy denied it; None if the request reached no gateway.
        peer: The address whose word would have been taken, if it could be read.
        user: The user that a trusted peer named, where the request got that far; never to be taken as verified.
        retry_after: The seconds until the client may ask again, where there were too many denials like this: then that
            is all it is told, and `reason` is the operator's. 0 where it is told the reason.
    """

    reason: Reason
    step: str
    gateway: Gateway | None = None
    peer: Address | None = None
    user: str = ""
    retry_after: int = 0

    @property
    def limited(self) -> bool:
        """Whether the client is told "too many" in the place of the reason."""
        return self.retry_after > 0


class Shadowed(NamedTuple):
    """A denial that shadow mode does not enforce: the request passes with every protected header removed.

    Attributes:
        gateway: The gateway in shadow mode.
        denial: What would have been answered.
    """

    gateway: Gateway
    denial: Deny


Decision = Allow | Deny | Shadowed
