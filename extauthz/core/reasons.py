"""Every reason for which a request is denied: the table that the documentation is tested against.

A reason is part of the public interface: dashboards and runbooks match on it. Its text never changes, and a new
one is added here before anything returns it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Fault(Enum):
    """Who has to act so that the request would be allowed."""

    OPERATOR = "operator"  # the configuration of extauthz or of the proxy
    CALLER = "caller"  # the proxy, or whoever asked in its place
    CLIENT = "client"  # the person or program behind the proxy
    SERVICE = "extauthz"  # us


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reason:
    """One entry of the table, the same only as itself.

    Attributes:
        code: The reason as it is sent; a prefix where `open_ended`.
        meaning: What it says, in one sentence.
        cure: What to do about it; shown by explain and in the log, never to the client.
        fault: Who has to act.
        status: The HTTP status of the denial (design.md, "What goes out").
        shadowed: Shadow mode lets the request pass, without any identity.
        open_ended: The name of the header, as configured, follows `code`.
    """

    code: str
    meaning: str
    cure: str
    fault: Fault
    status: int = 403
    shadowed: bool = True
    open_ended: bool = False


_TABLE: Final = (
    Reason(
        code="caller_not_allowed",
        meaning="Who asks is not in `callers`, or not in the narrower `callers` of the gateway.",
        cure=(
            "If this is your proxy, add its address, `unix`, or a SAN of its client certificate to `callers`. "
            "If it is not, someone else reached the door: close it to them."
        ),
        fault=Fault.CALLER,
        shadowed=False,
    ),
    Reason(
        code="gateway_unknown",
        meaning="No gateway of the file has the id that the proxy named, or none has the request's host.",
        cure=(
            "Compare the id in the proxy's configuration (Envoy: context_extensions `gateway`; over HTTP: the door's "
            "path) with the keys under `gateways`. Where the proxy names none, add the host to a gateway's `hosts`."
        ),
        fault=Fault.OPERATOR,
        shadowed=False,
    ),
    Reason(
        code="header_alias_refused",
        meaning=(
            "The request carries an alias of a protected header: a name such as x_authz_user that servers behind "
            "the proxy take for x-authz-user."
        ),
        cure=(
            "No honest client sends this. Let the proxy refuse such names (Envoy: headers_with_underscores_action "
            "REJECT_REQUEST)."
        ),
        fault=Fault.CLIENT,
        shadowed=False,
    ),
    Reason(
        code="request_malformed",
        meaning=(
            "The request cannot be read: no HTTP attributes, bytes that are no UTF-8 in a name or in a value that is "
            "read, a header over its limit, or a user that no header should carry: with a control character, or over "
            "1024 bytes."
        ),
        cure=(
            "If honest requests are refused, look at `limits` (a large cookie) and at what the proxy puts into the "
            "header; the log says what could not be read."
        ),
        fault=Fault.CLIENT,
        shadowed=False,
    ),
    Reason(
        code="internal_error",
        meaning="Something unforeseen went wrong in extauthz; the request was denied for safety.",
        cure="The log has the traceback under this decision id. Please report it.",
        fault=Fault.SERVICE,
        shadowed=False,
    ),
    Reason(
        code="trusted_proxy_config_missing",
        meaning="The gateway has no `auth.trustedProxy` block.",
        cure="Add `auth.trustedProxy` with at least `userHeader` to the gateway.",
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_no_proxies_configured",
        meaning="The gateway's `trustedProxies` is missing or empty, and it has no `trustedPrincipals`.",
        cure=(
            "List the addresses of the identity-aware proxy under `trustedProxies`, or the principal of its client "
            "certificate under `trustedPrincipals`."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="proxy_attribution_required",
        meaning=(
            "The request looks proxied, but the client behind the proxy cannot be named: forwarded headers from a "
            "peer that is not trusted, or a trusted peer without an X-Forwarded-For that names a client."
        ),
        cure=(
            "Let the trusted proxy overwrite X-Forwarded-For with the client's address; a load balancer in between "
            "changes the peer. A loopback proxy must send forwarded headers at all."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_untrusted_source",
        meaning="The peer, whose word about the user would be taken, is not in `trustedProxies`.",
        cure=(
            "Compare the peer seen with `trustedProxies`. Addresses of containers change, and a load balancer in "
            "between changes the peer; find the real one with `docker inspect` or `kubectl get pods -o wide`."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_untrusted_principal",
        meaning=(
            "The peer showed the proxy no client certificate, or one with a principal that is not in "
            "`trustedPrincipals`."
        ),
        cure=(
            "Compare the principal seen with `trustedPrincipals`, which is exact but for a * at its end. Envoy tells "
            "the first URI SAN of the certificate, else the first DNS SAN, else the subject. Where it tells none, see "
            "that the peer connects to Envoy by TLS and shows its certificate, that Envoy verifies it, and that "
            "extauthz is asked over gRPC."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_loopback_source",
        meaning="The peer is a loopback address, and `allowLoopback` is not set for this gateway.",
        cure=(
            "If the proxy runs on this host and nothing else here may speak for users, set "
            "`auth.trustedProxy.allowLoopback: true`; else let the proxy come from its own address."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_local_interface_check_failed",
        meaning="The addresses of this host (`localInterfaces: auto`) could not be read.",
        cure="List the addresses under `localInterfaces` yourself, or give the process the right to read them.",
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_local_interface_source",
        meaning="The peer is one of the Gateway host's own addresses: a local process, not the proxy.",
        cure="Let the proxy come from another host or from loopback; remove this host's address from `trustedProxies`.",
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_missing_header_",
        meaning="A header of `requiredHeaders` did not arrive or is blank.",
        cure=(
            "Find the hop that strips it: look at what the proxy sends, then at each hop in between. Compare the "
            "spelling under `requiredHeaders`."
        ),
        fault=Fault.OPERATOR,
        open_ended=True,
    ),
    Reason(
        code="trusted_proxy_user_missing",
        meaning="No user: `userHeader` is not set, or the header did not arrive or is blank.",
        cure=(
            "Is the user signed in at the proxy? Compare `userHeader` with what the proxy sends; `extauthz explain` "
            "lists the headers that look like an identity."
        ),
        fault=Fault.CLIENT,
        status=401,
    ),
    Reason(
        code="trusted_proxy_user_ambiguous",
        meaning="The user header came more than once, or holds a comma: two hops may have named a user each.",
        cure=(
            "Let the proxy overwrite the header instead of adding to it. Where users do have commas in their names, "
            "set `allowCommaInUser` and let Envoy send `encode_raw_headers`."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_assertion_missing",
        meaning="The signed assertion that the gateway wants beside the proxy's headers did not arrive, or is blank.",
        cure=(
            "Is the user signed in at the proxy, and does the proxy send its assertion on this route? Compare "
            "`assertion.header`, then find the hop that strips it. A request that has the user header alone may be "
            "forged."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_assertion_invalid",
        meaning=(
            "The assertion is not to be believed: no token, one that no key of the issuer signed, an algorithm that is "
            "not allowed, another issuer or signer, no user in it, or there are no keys to verify it with."
        ),
        cure=(
            "`extauthz explain` with the request's headers says which of these; the log says whether the keys can be "
            "fetched. Compare `assertion` with what the proxy signs. What the proxy did not sign is forged."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_assertion_expired",
        meaning="The assertion was signed for this gateway, and its time is over: by its `exp`, or by `maxAge`.",
        cure=(
            "Signing in again gives a new one. If it happens often: let the proxy renew its token before it ends "
            "(oauth2-proxy: cookie_refresh), set both hosts' clocks, or look at `assertion.maxAge`."
        ),
        fault=Fault.CLIENT,
    ),
    Reason(
        code="trusted_proxy_assertion_audience",
        meaning="The assertion is signed for another application than this gateway.",
        cure=(
            "Compare `assertion.audience` with the audience that explain shows. If that is another application of "
            "yours, somebody carried its token here."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_assertion_user_mismatch",
        meaning="The user header names somebody else than the assertion does.",
        cure=(
            "Compare `userHeader` and `assertion.userClaim`: both must name users the same way. If they do, the header "
            "is forged or was changed on the way."
        ),
        fault=Fault.OPERATOR,
    ),
    Reason(
        code="trusted_proxy_user_not_allowed",
        meaning="The user is not in `allowUsers`.",
        cure=(
            "Add the user, exactly as seen, to `allowUsers` if they may enter: the comparison is case-sensitive, and "
            "there are no wildcards and no domain form."
        ),
        fault=Fault.CLIENT,
    ),
    Reason(
        code="trusted_proxy_origin_not_allowed",
        meaning="The browser's Origin is not allowed: a page of another site made this request.",
        cure=(
            "If the page is yours, add its origin (scheme://host[:port]) to `controlUi.allowedOrigins`. WebSocket "
            "upgrades are held to it too."
        ),
        fault=Fault.CLIENT,
    ),
)

REASONS: Final = {reason.code: reason for reason in _TABLE}

CALLER_NOT_ALLOWED: Final = REASONS["caller_not_allowed"]
GATEWAY_UNKNOWN: Final = REASONS["gateway_unknown"]
HEADER_ALIAS_REFUSED: Final = REASONS["header_alias_refused"]
REQUEST_MALFORMED: Final = REASONS["request_malformed"]
INTERNAL_ERROR: Final = REASONS["internal_error"]
CONFIG_MISSING: Final = REASONS["trusted_proxy_config_missing"]
NO_PROXIES: Final = REASONS["trusted_proxy_no_proxies_configured"]
ATTRIBUTION_REQUIRED: Final = REASONS["proxy_attribution_required"]
UNTRUSTED_SOURCE: Final = REASONS["trusted_proxy_untrusted_source"]
UNTRUSTED_PRINCIPAL: Final = REASONS["trusted_proxy_untrusted_principal"]
LOOPBACK_SOURCE: Final = REASONS["trusted_proxy_loopback_source"]
LOCAL_INTERFACE_CHECK_FAILED: Final = REASONS["trusted_proxy_local_interface_check_failed"]
LOCAL_INTERFACE_SOURCE: Final = REASONS["trusted_proxy_local_interface_source"]
MISSING_HEADER: Final = REASONS["trusted_proxy_missing_header_"]
USER_MISSING: Final = REASONS["trusted_proxy_user_missing"]
USER_AMBIGUOUS: Final = REASONS["trusted_proxy_user_ambiguous"]
ASSERTION_MISSING: Final = REASONS["trusted_proxy_assertion_missing"]
ASSERTION_INVALID: Final = REASONS["trusted_proxy_assertion_invalid"]
ASSERTION_EXPIRED: Final = REASONS["trusted_proxy_assertion_expired"]
ASSERTION_AUDIENCE: Final = REASONS["trusted_proxy_assertion_audience"]
ASSERTION_USER_MISMATCH: Final = REASONS["trusted_proxy_assertion_user_mismatch"]
USER_NOT_ALLOWED: Final = REASONS["trusted_proxy_user_not_allowed"]
ORIGIN_NOT_ALLOWED: Final = REASONS["trusted_proxy_origin_not_allowed"]

# No step answers this: it is what a client is told in the place of the reason, where there were too many (refusals.py).
TOO_MANY_REFUSALS: Final = Reason(
    code="too_many_refusals",
    meaning="Too many requests of this user or from this address were denied of late, and this one is denied too.",
    cure=(
        "It is told in the place of the reason, which is in the decision log: look there for the user or the peer, and "
        "do what its hint says. Whoever is allowed is so at once, however many were denied before (`limits.refusals`)."
    ),
    fault=Fault.CLIENT,
    status=429,
    shadowed=False,
)
