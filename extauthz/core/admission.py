"""The steps before any ruleset: who asks, about which gateway, and whether the request can be read at all."""

from typing import TYPE_CHECKING, Final

from extauthz.core import reasons
from extauthz.core.address import parse_address
from extauthz.core.names import names_of
from extauthz.core.reasons import Reason
from extauthz.core.step import Evaluation, Step

if TYPE_CHECKING:
    from extauthz.core.request import Headers


def _caller(e: Evaluation) -> Reason | None:
    return None if e.policy.callers.admit(e.request.caller) else reasons.CALLER_NOT_ALLOWED


def _gateway(e: Evaluation) -> Reason | None:
    gateway = e.policy.select(e.request.gateway, e.request.host)
    if gateway is None:
        return reasons.GATEWAY_UNKNOWN
    e.gateway = gateway
    e.peer = e.request.caller.address if gateway.peer_is_caller else parse_address(e.request.source)
    return None


def _gateway_caller(e: Evaluation) -> Reason | None:
    callers = e.gateway.callers
    return None if callers is None or callers.admit(e.request.caller) else reasons.CALLER_NOT_ALLOWED


def _alias(e: Evaluation) -> Reason | None:
    headers = e.request.headers
    if headers is None:
        return None
    if e.gateway.protected_plain and names_of(headers).plain:  # as in nearly every request
        return None
    return reasons.HEADER_ALIAS_REFUSED if e.gateway.aliases(headers.names) else None


def _readable(e: Evaluation) -> Reason | None:
    headers = e.request.headers
    if headers is None or e.request.fault:
        return reasons.REQUEST_MALFORMED
    names = headers.names
    if len(names) > e.policy.most_headers or (
        # No header is longer than the message it came in: most requests need no look at each.
        headers.size > e.policy.longest_header_bytes and too_long(headers, e.policy.longest_header_bytes) is not None
    ):
        return reasons.REQUEST_MALFORMED
    read = headers.read
    values = {}
    try:
        for name in e.gateway.reads:
            value = read(name)
            if value is not None:
                values[name] = value.decode()
            elif name == "host" and e.request.host:  # in HTTP/2 and to Envoy it is no header
                values[name] = e.request.host
    except UnicodeDecodeError:
        return reasons.REQUEST_MALFORMED
    e.values = values
    e.headers = headers
    return None


def too_long(headers: "Headers", limit: int) -> str | None:
    """Return the first header whose name or value has more than `limit` bytes, or None."""
    for name in headers.names:
        if len(name.encode()) > limit or len(headers.read(name) or b"") > limit:
            return name
    return None


CALLER: Final[Step] = Step("caller", _caller, (reasons.CALLER_NOT_ALLOWED,))
GATEWAY: Final[Step] = Step("gateway", _gateway, (reasons.GATEWAY_UNKNOWN,))
GATEWAY_CALLER: Final[Step] = Step(
    "gateway_caller",
    _gateway_caller,
    (reasons.CALLER_NOT_ALLOWED,),
    settled=lambda gateway: gateway.callers is None,
)
ALIAS: Final[Step] = Step("alias", _alias, (reasons.HEADER_ALIAS_REFUSED,))
READABLE: Final[Step] = Step("readable", _readable, (reasons.REQUEST_MALFORMED,))
