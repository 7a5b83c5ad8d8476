"""The steps of the rules, each one question with its reason. Order is not decided here: see rulesets.py.

A step's `check` returns None if the request passes it, else the reason. It may read the evaluation and, where
its name says so (the gateway, the values), write what later steps need. It decides from nothing else: no clock,
no file, no environment.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from extauthz.core import reasons
from extauthz.core.address import Address
from extauthz.core.assertion import Flaw, Refused
from extauthz.core.attribution import client_behind, has_forwarded_evidence, has_tailscale_evidence
from extauthz.core.origin import is_private_host, parse_origin
from extauthz.core.reasons import Reason
from extauthz.core.step import Evaluation, Step
from extauthz.core.text import fold, has_control, is_blank, trim

if TYPE_CHECKING:
    from extauthz.core.policy import Gateway
    from extauthz.core.request import Headers

# An address of e-mail has 254 bytes at most (RFC 5321). The stamp carries the user too, in base64, and no header value
# may have more than 16 KiB, nor a stamp more than 8.
LONGEST_USER_BYTES: Final = 1024
# The longest list of users that is looked through when it is configured: more would hold up requests meanwhile, and are
# looked at when they come.
MOST_USERS_LOOKED_THROUGH: Final = 1000

# The headers that rules weigh in every gateway, beside its own user header.
FORWARDED_FOR: Final = "x-forwarded-for"
REAL_IP: Final = "x-real-ip"
WEIGHED: Final = (FORWARDED_FOR, REAL_IP, "origin")


# The rules.


def _configured(e: Evaluation) -> Reason | None:
    return None if e.gateway.configured else reasons.CONFIG_MISSING


def _proxies(e: Evaluation) -> Reason | None:
    return None if e.gateway.names_proxy else reasons.NO_PROXIES


def is_trusted_proxy(e: Evaluation) -> bool:
    """Tell whether the peer is the trusted proxy, by whatever the gateway trusts one."""
    return e.peer is not None and e.gateway.trusts(e.peer, e.request.principal)


def client_of(e: Evaluation) -> Address | None:
    """Return the address of the client behind the peer, from the values that the ruleset reads."""
    return _client_behind(e, e.peer) if e.peer is not None and is_trusted_proxy(e) else e.peer


def _client_behind(e: Evaluation, proxy: Address) -> Address | None:
    return client_behind(
        proxy,
        e.gateway.trusted_proxies,
        forwarded_for=e.values.get(FORWARDED_FOR),
        real_ip=e.values.get(REAL_IP) if e.gateway.allow_real_ip_fallback else None,
    )


def _attributed(e: Evaluation) -> Reason | None:
    peer = e.peer
    if peer is None:
        return reasons.ATTRIBUTION_REQUIRED
    if peer.loopback and not _has_evidence(e.headers):
        return None
    if e.gateway.trusts(peer, e.request.principal):
        client = _client_behind(e, peer)
        return None if client is not None and not client.loopback else reasons.ATTRIBUTION_REQUIRED
    return reasons.ATTRIBUTION_REQUIRED if _has_evidence(e.headers) else None


def _has_evidence(headers: "Headers") -> bool:
    return has_forwarded_evidence(headers) or has_tailscale_evidence(headers)


def _attribution_reads(gateway: "Gateway") -> Iterable[str]:
    return (FORWARDED_FOR, REAL_IP) if gateway.allow_real_ip_fallback else (FORWARDED_FOR,)


def _trusted(e: Evaluation) -> Reason | None:
    peer = e.peer
    if peer is not None and peer in e.gateway.trusted_proxies:
        return None
    return None if peer is not None and _may_rest_on_principal(e) else reasons.UNTRUSTED_SOURCE


def _may_rest_on_principal(e: Evaluation) -> bool:
    """Tell whether the next step decides about a peer that is not in `trustedProxies`."""
    gateway = e.gateway
    if gateway.trusted_principals is None or gateway.require_all:
        return False
    # Where addresses are trusted too, a peer without a principal has nothing but its address to be trusted for.
    return bool(e.request.principal) or not (gateway.trusted_proxies or gateway.peer_names)


def _trusted_principal(e: Evaluation) -> Reason | None:
    gateway, principal = e.gateway, e.request.principal
    principals = gateway.trusted_principals
    if principals is None or principal in principals:
        return None
    by_address = not gateway.require_all and e.peer is not None and e.peer in gateway.trusted_proxies
    return None if by_address else reasons.UNTRUSTED_PRINCIPAL


def _loopback(e: Evaluation) -> Reason | None:
    refused = e.peer is not None and e.peer.loopback and not e.gateway.allow_loopback
    return reasons.LOOPBACK_SOURCE if refused else None


def _local_interface(e: Evaluation) -> Reason | None:
    if e.peer is not None and e.peer.loopback:
        return None
    local = e.gateway.local_interfaces
    if local is None:
        return reasons.LOCAL_INTERFACE_CHECK_FAILED
    return reasons.LOCAL_INTERFACE_SOURCE if e.peer in local else None


def _required(e: Evaluation) -> Reason | None:
    for required in e.gateway.required_headers:
        if is_blank(e.values.get(required.name, "")):
            return required.missing
    return None


def _required_reads(gateway: "Gateway") -> Iterable[str]:
    # A pseudo-header (":path") is none: every request has it, so that it would prove nothing.
    return (required.name for required in gateway.required_headers if not required.name.startswith(":"))


def _user(e: Evaluation) -> Reason | None:
    header = e.gateway.user_header
    value = e.values.get(header) if header else None  # a header without a name names nobody
    if value is None or is_blank(value):
        # Where no header names the user, the assertion does.
        return None if not header and e.gateway.assertion is not None else reasons.USER_MISSING
    e.user = trim(value)
    return None


def _user_reads(gateway: "Gateway") -> Iterable[str]:
    return (gateway.user_header,) if gateway.user_header else ()


def _unambiguous(e: Evaluation) -> Reason | None:
    gateway = e.gateway
    # Copies were joined with a comma on the way here, so that a value without one came once.
    if not gateway.user_header or "," not in e.values[gateway.user_header]:
        return None
    once = gateway.allow_comma_in_user and e.headers.came_once(gateway.user_header)
    return None if once else reasons.USER_AMBIGUOUS


_FLAWS: Final = {
    Flaw.INVALID: reasons.ASSERTION_INVALID,
    Flaw.EXPIRED: reasons.ASSERTION_EXPIRED,
    Flaw.AUDIENCE: reasons.ASSERTION_AUDIENCE,
}
# Copies were joined with a comma on the way here, and no token holds one.
_AMBIGUOUS: Final = Refused(Flaw.INVALID, "it came more than once, or holds a comma")
_NOBODY: Final = Refused(Flaw.INVALID, "it names nobody")


def _asserted(e: Evaluation) -> Reason | None:
    gateway = e.gateway
    assertion = gateway.assertion
    if assertion is None:
        return None
    token = assertion.token_in(e.values.get(assertion.header))
    if not token:
        return reasons.ASSERTION_MISSING
    verdict = e.verdict = _AMBIGUOUS if "," in token else assertion.verifier.verify(token)
    if isinstance(verdict, Refused):
        return _FLAWS[verdict.flaw]
    user = trim(verdict.user)
    if not user:
        e.verdict = _NOBODY
        return reasons.ASSERTION_INVALID
    if gateway.user_header:
        return None if user == e.user else reasons.ASSERTION_USER_MISMATCH
    e.user = user
    return None


def _assertion_reads(gateway: "Gateway") -> Iterable[str]:
    return (gateway.assertion.header,) if gateway.assertion is not None else ()


def _named_by_assertion(gateway: "Gateway") -> bool:
    return gateway.assertion is not None and not gateway.user_header


def _allowed_user(e: Evaluation) -> Reason | None:
    allow_users = e.gateway.allow_users
    return None if not allow_users or e.user in allow_users else reasons.USER_NOT_ALLOWED


def _real_proxy(e: Evaluation) -> Reason | None:
    if e.peer is not None and (not e.peer.loopback or has_forwarded_evidence(e.headers)):
        return None
    return reasons.ATTRIBUTION_REQUIRED


def _origin(e: Evaluation) -> Reason | None:
    value = e.values.get("origin")
    if value is None or is_blank(value):
        return None
    origin = parse_origin(value)
    if origin is None:
        return reasons.ORIGIN_NOT_ALLOWED
    gateway = e.gateway
    if gateway.any_origin or origin.text in gateway.allowed_origins:
        return None
    host = trim(fold(e.request.host))
    same = origin.host_port == host
    if same and (gateway.host_origin_fallback or is_private_host(host)):
        return None
    return reasons.ORIGIN_NOT_ALLOWED


def _origin_reads(_gateway: "Gateway") -> Iterable[str]:
    return ("origin",)


def _origin_where_listed(e: Evaluation) -> Reason | None:
    # Another rule may have read the header (`requiredHeaders: [origin]`): that it was read does not say it is judged.
    return _origin(e) if _lists_origins(e.gateway) else None


def _origin_reads_where_listed(gateway: "Gateway") -> Iterable[str]:
    return ("origin",) if _lists_origins(gateway) else ()


def _lists_origins(gateway: "Gateway") -> bool:
    return gateway.any_origin or bool(gateway.allowed_origins)


# After the rules: an identity that no header could carry is not stated (design.md, "What goes out").


def _statable(e: Evaluation) -> Reason | None:
    user = e.user
    if _statable_at_one_look(user):
        return None
    too_long = len(user.encode()) > LONGEST_USER_BYTES
    return reasons.REQUEST_MALFORMED if too_long or has_control(user) else None


def _statable_at_one_look(user: str) -> bool:
    # A character has four bytes at most in UTF-8, and no control character is printable: most users are.
    return user.isprintable() and len(user) * 4 <= LONGEST_USER_BYTES


def _lists_statable_users(gateway: "Gateway") -> bool:
    # Who has passed `user_allowed` is one of them.
    users = gateway.allow_users
    few = 0 < len(users) <= MOST_USERS_LOOKED_THROUGH
    return few and ALLOWED_USER in gateway.ruleset.steps and all(map(_statable_at_one_look, users))


def _no_loopback_left(gateway: "Gateway") -> bool:
    # `loopback` has refused such a peer, and `trusted_source` one without an address.
    return not gateway.allow_loopback and {TRUSTED, LOOPBACK} <= set(gateway.ruleset.steps)


CONFIGURED: Final[Step] = Step(
    "config", _configured, (reasons.CONFIG_MISSING,), settled=lambda gateway: gateway.configured
)
PROXIES: Final[Step] = Step("proxies", _proxies, (reasons.NO_PROXIES,), settled=lambda gateway: gateway.names_proxy)
ATTRIBUTED: Final[Step] = Step("attribution", _attributed, (reasons.ATTRIBUTION_REQUIRED,), _attribution_reads)
TRUSTED: Final[Step] = Step("trusted_source", _trusted, (reasons.UNTRUSTED_SOURCE,))
TRUSTED_PRINCIPAL: Final[Step] = Step(
    "trusted_principal",
    _trusted_principal,
    (reasons.UNTRUSTED_PRINCIPAL,),
    settled=lambda gateway: gateway.trusted_principals is None,
)
LOOPBACK: Final[Step] = Step(
    "loopback", _loopback, (reasons.LOOPBACK_SOURCE,), settled=lambda gateway: gateway.allow_loopback
)
LOCAL_INTERFACE: Final[Step] = Step(
    "local_interface",
    _local_interface,
    (reasons.LOCAL_INTERFACE_CHECK_FAILED, reasons.LOCAL_INTERFACE_SOURCE),
    settled=lambda gateway: gateway.local_interfaces == frozenset(),
)
REQUIRED: Final[Step] = Step(
    "required_headers",
    _required,
    (reasons.MISSING_HEADER,),
    _required_reads,
    settled=lambda gateway: not gateway.required_headers,
)
USER: Final[Step] = Step("user", _user, (reasons.USER_MISSING,), _user_reads, settled=_named_by_assertion)
UNAMBIGUOUS: Final[Step] = Step(
    "user_unambiguous", _unambiguous, (reasons.USER_AMBIGUOUS,), _user_reads, settled=_named_by_assertion
)
ASSERTED: Final[Step] = Step(
    "assertion",
    _asserted,
    (
        reasons.ASSERTION_MISSING,
        reasons.ASSERTION_INVALID,
        reasons.ASSERTION_EXPIRED,
        reasons.ASSERTION_AUDIENCE,
        reasons.ASSERTION_USER_MISMATCH,
    ),
    _assertion_reads,
    names_user=True,
    settled=lambda gateway: gateway.assertion is None,
)
ALLOWED_USER: Final[Step] = Step(
    "user_allowed",
    _allowed_user,
    (reasons.USER_NOT_ALLOWED,),
    _user_reads,
    names_user=True,
    settled=lambda gateway: not gateway.allow_users,
)
REAL_PROXY: Final[Step] = Step(
    "real_proxy", _real_proxy, (reasons.ATTRIBUTION_REQUIRED,), names_user=True, settled=_no_loopback_left
)
ORIGIN: Final[Step] = Step("origin", _origin, (reasons.ORIGIN_NOT_ALLOWED,), _origin_reads, names_user=True)
ORIGIN_WHERE_LISTED: Final[Step] = Step(
    "origin",
    _origin_where_listed,
    (reasons.ORIGIN_NOT_ALLOWED,),
    _origin_reads_where_listed,
    names_user=True,
    settled=lambda gateway: not _lists_origins(gateway),
)

STATABLE: Final[Step] = Step(
    "user_statable", _statable, (reasons.REQUEST_MALFORMED,), _user_reads, settled=_lists_statable_users
)
