"""The table of what a probe checks: what each check means, and what to do where it finds a hole. Data only.

docs/probe.md shows the same table, and a test holds it to this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PROXIES: Final = ("envoy", "traefik", "caddy", "nginx")
"""The proxies whose settings the advice names."""


class Outcome(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    HOLE = "hole"
    WARNING = "warning"
    """Not a hole by itself; it is one where something else trusts it, as said."""
    NOT_TESTED = "not_tested"


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    id: str
    title: str
    """What should hold."""
    meaning: str
    """What it means where it does not."""
    do: str
    """The cure, whatever the proxy."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The setting of each proxy that is to be looked at, by its name in `PROXIES`."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one check, and what was seen."""

    check: Check
    outcome: Outcome
    seen: str


_GENERATED: Final = "`extauthz proxy-config` writes all of it."

_ASK_EVERYWHERE: Final = {
    "envoy": "no route with `ext_authz` disabled in typed_per_filter_config; `failure_mode_allow: false`",
    "traefik": "the extauthz middleware on every router of the Gateway",
    "caddy": "the question to extauthz before every reverse_proxy to the Gateway, inside `route`",
    "nginx": "`auth_request` in every location that proxies to the Gateway",
}
_OVERWRITE: Final = {
    "envoy": "header_mutation `remove` of the stamped names before ext_authz, and `headers` as extauthz stamps them",
    "traefik": "the name in `authResponseHeaders`, and set to nothing in `customRequestHeaders` before",
    "caddy": "`request_header -Name` before the question, and the name among those copied from its answer",
    "nginx": "`auth_request_set` and `proxy_set_header` for the name",
}

_ALL: Final = (
    Check(
        "tls",
        "TLS, with a certificate that verifies",
        "Whoever is on the way reads and changes what is sent, sessions among it.",
        "Give clients an https:// address, with a certificate for its name and the chain to its authority.",
        {
            "envoy": "DownstreamTlsContext in the listener's transport_socket",
            "traefik": "`http.tls` of the entry point, and tls.certificates",
            "caddy": "the site's name in place of http://, and `tls`",
            "nginx": "`listen ... ssl`, ssl_certificate (with the chain), ssl_certificate_key",
        },
    ),
    Check(
        "tls_version",
        "No TLS older than 1.2",
        "TLS 1.0 and 1.1 are broken (RFC 8996), and whoever is on the way can ask for them.",
        "Let TLS begin at 1.2.",
        {
            "envoy": "`tls_minimum_protocol_version: TLSv1_2`",
            "traefik": "`minVersion: VersionTLS12` in tls.options",
            "caddy": "`protocols` in `tls` (its default is good)",
            "nginx": "`ssl_protocols TLSv1.2 TLSv1.3`",
        },
    ),
    Check(
        "tls_expiry",
        "The certificate does not end soon",
        "When it has ended nobody gets in, or everybody learns to click warnings away.",
        "Renew it, and see why that does not happen by itself.",
    ),
    Check(
        "hsts",
        "HSTS for half a year at least",
        "A browser that is led to http:// goes there, and what is on the way can take its session.",
        "Answer with Strict-Transport-Security: max-age=15552000 or more, at the proxy that has the TLS.",
        {
            "envoy": "`response_headers_to_add` in the route_config",
            "traefik": "`stsSeconds` in a headers middleware",
            "caddy": '`header Strict-Transport-Security "max-age=..."`',
            "nginx": "`add_header Strict-Transport-Security ... always`, again in each location with an add_header",
        },
    ),
    Check(
        "http_redirect",
        "Plain HTTP leads to https:// or nowhere",
        "What a client sends to http:// can be read and changed on the way.",
        "Answer there with a redirect to https:// and with nothing else, or do not listen.",
    ),
    Check(
        "no_identity",
        "A request without identity is refused before the Gateway",
        "The proxy lets through what nobody allowed. A Gateway that believes headers is open.",
        f"Ask extauthz about every request, and take no answer for no. {_GENERATED}",
        _ASK_EVERYWHERE,
    ),
    Check(
        "no_identity_websocket",
        "A WebSocket upgrade without identity is refused before the Gateway",
        "Upgrades go another way, on which nobody asks extauthz.",
        f"Let upgrades pass where all other requests pass. {_GENERATED}",
        _ASK_EVERYWHERE,
    ),
    Check(
        "forged_sign_in",
        "A forged identity lets nobody in",
        "Whoever knows a user's name is that user.",
        "The proxy that signs users in must remove the client's copies of the identity header in every spelling, and "
        "extauthz's `trustedProxies` must have that proxy alone.",
        {
            "envoy": "where Envoy signs users in: header_mutation `remove` before the filter that does",
            "traefik": "`customRequestHeaders` before the step that authenticates; `trustedIPs` of the fronts alone",
            "caddy": "`request_header -Name` before the step that authenticates; `trusted_proxies` of the fronts alone",
            "nginx": "`proxy_set_header` of the name from `auth_request_set`, in the question to extauthz too",
        },
    ),
    Check(
        "identity_arrives",
        "A signed-in request arrives with what extauthz stamped",
        "A Gateway that asks for the stamp refuses everybody; one that does not believes what was not verified.",
        f"Hand on every header that extauthz answers with. {_GENERATED}",
        {
            "envoy": "no `request_headers_to_remove` of the names; over HTTP, `allowed_upstream_headers`",
            "traefik": "`authResponseHeaders` with every name",
            "caddy": "every name copied from the answer (`copy_headers`)",
            "nginx": "`auth_request_set` and `proxy_set_header` for every name",
        },
    ),
    Check(
        "websocket_identity",
        "A signed-in WebSocket upgrade carries it as well",
        "Upgrades go another way than other requests: unstamped, or asked about without the identity.",
        f"Let upgrades pass where all other requests pass. {_GENERATED}",
        {
            "envoy": "`upgrade_configs` on the same route, with ext_authz on it",
            "traefik": "one router for both, with the same middlewares",
            "caddy": "one `route` for both",
            "nginx": "one location for both; `proxy_set_header` there, as a location with its own forgets the others'",
        },
    ),
    Check(
        "forged_user",
        "No copy of the user header reaches the Gateway",
        "A signed-in user becomes another one.",
        "Remove the client's copy at the proxy that signs users in, and overwrite it by extauthz's answer.",
        _OVERWRITE,
    ),
    Check(
        "forged_stamp",
        "No copy of a stamped header reaches the Gateway",
        "A Gateway that reads the user beside the stamp, or instead of it, believes the client.",
        f"Remove the client's copies before extauthz is asked, and overwrite them by its answer. {_GENERATED}",
        _OVERWRITE,
    ),
    Check(
        "forged_alias",
        "No alias of those headers reaches the Gateway",
        "X_Authz_User and X.Authz.User are X-Authz-User to CGI, WSGI and PHP.",
        "Have such names refused or dropped before the Gateway, and before extauthz is asked no more than there.",
        {
            "envoy": "`headers_with_underscores_action: REJECT_REQUEST`, and ext_authz told of all headers",
            "traefik": "`aliasHeadersStrategy: delete` on the entry point (3.7.12)",
            "caddy": "Caddy 2.11 or newer",
            "nginx": "`underscores_in_headers off`, `ignore_invalid_headers on`",
        },
    ),
    Check(
        "forged_hop_by_hop",
        "No client has those headers dropped on the way",
        "`Connection: x-authz-stamp` bids the next hop to drop it: the Gateway sees a request without it.",
        f"Pass on no names that a client wrote into Connection. {_GENERATED}",
        {
            "envoy": "header_mutation of `connection` to Upgrade, before ext_authz",
            "traefik": "nothing to set: see which hop behind it drops the header",
            "caddy": "`request_header -Connection`, and `Upgrade` alone for upgrades",
            "nginx": "`proxy_set_header Connection` to nothing or `upgrade`",
        },
    ),
    Check(
        "forged_forwarded",
        "No forwarded header of the client's is believed",
        "A client says from where it comes, or which path was meant, and Gateway or extauthz believe it.",
        f"Remove or replace them at the outermost proxy. {_GENERATED}",
        {
            "envoy": "`use_remote_address: true`, `xff_num_trusted_hops`; header_mutation `remove` of the others",
            "traefik": "`forwardedHeaders.trustedIPs` of the fronts alone, never `insecure`; `customRequestHeaders`",
            "caddy": "`trusted_proxies` of the fronts alone; `request_header -Name`",
            "nginx": "`proxy_set_header` for each, never from $http_...",
        },
    ),
    Check(
        "forged_known",
        "No other well-known identity header passes",
        "A hole if the Gateway, or anything behind it, reads that header; nothing if none does.",
        "If something reads it, say so by --user-header, which makes it a hole; in any case the outermost proxy can "
        "remove it.",
        {
            "envoy": "header_mutation `remove`",
            "traefik": '`customRequestHeaders`: name: ""',
            "caddy": "`request_header -Name`",
            "nginx": '`proxy_set_header Name ""`',
        },
    ),
    Check(
        "forged_websocket",
        "Nothing forged reaches the Gateway with a WebSocket upgrade",
        "Upgrades go another way than other requests, on which nothing is removed.",
        f"Let upgrades pass where all other requests pass. {_GENERATED}",
        _OVERWRITE,
    ),
    Check(
        "refusal_status",
        "Who is refused gets 401, 403 or the way to sign in, not 5xx",
        "A refusal looks like a failure: clients try again, and operators look for a fault where there is none.",
        "See that the authorizer is up, and that its denials are passed on as they are.",
        {
            "envoy": "the cluster of extauthz (`/clusters`), `timeout`; `status_on_error` is what is seen",
            "traefik": "`address` of the forwardAuth: 500 means that it could not be asked",
            "caddy": "the address of extauthz: 502 means that it could not be asked",
            "nginx": "auth_request makes 500 of all but 2xx, 401 and 403: see what answers it, and `error_page`",
        },
    ),
    Check(
        "gateway_port",
        "The Gateway's own port is not reachable from here",
        "Whoever reaches it goes around the proxy and everything that the proxy asks.",
        "Let the Gateway listen on loopback or on a network that is its and the proxy's alone; a firewall or a network "
        "policy where it cannot. A Gateway that verifies the stamp does not depend on it.",
    ),
    Check(
        "gateway_forged",
        "The Gateway itself takes no forged identity",
        "It believes whoever reaches its port.",
        "Verify the stamp at the Gateway (docs/stamp.md), or in a sidecar before it.",
    ),
)

CHECKS: Final[Mapping[str, Check]] = {check.id: check for check in _ALL}
"""Every check by its id, in the order in which they are made and shown. The ids are stable."""
