"""Every finding there can be: its id, its severity, its title, what to do, and which function finds it.

Ids are public and never change. Those of OpenClaw's own audit are kept, with their severities.
"""

from typing import Final

from extauthz.audit import assertion_checks as assertions
from extauthz.audit import gateway_checks as gateways
from extauthz.audit import name_checks as names
from extauthz.audit import principal_checks as principals
from extauthz.audit import service_checks as service
from extauthz.audit.finding import Check, Severity
from extauthz.audit.service_checks import ServiceView, Unmatched
from extauthz.audit.view import GatewayView

CRITICAL, WARN, INFO = Severity.CRITICAL, Severity.WARN, Severity.INFO

GATEWAY_CHECKS: Final[tuple[Check[GatewayView], ...]] = (
    Check(
        id="gateway.trusted_proxy_auth",
        severity=CRITICAL,
        title="Authentication is delegated to a proxy",
        do=(
            "See that it is meant: the proxy signs people in and overwrites the user header, trustedProxies lists "
            "nothing but that proxy, and no other way leads to the Gateway's port. Then record that under `accepted` "
            "in extauthz.yaml."
        ),
        look=gateways.delegated,
    ),
    Check(
        id="gateway.trusted_proxy_no_proxies",
        severity=CRITICAL,
        title="No trusted proxy",
        do="List the addresses of the identity-aware proxy under trustedProxies.",
        look=gateways.no_proxies,
    ),
    Check(
        id="gateway.trusted_proxy_no_user_header",
        severity=CRITICAL,
        title="No user header",
        do="Set userHeader to the header in which the proxy names the user, such as x-forwarded-user.",
        look=gateways.no_user_header,
    ),
    Check(
        id="gateway.trusted_proxies_everything",
        severity=CRITICAL,
        title="Everybody is a trusted proxy",
        do="List the proxy's exact addresses under trustedProxies: whoever has one of these can be any user.",
        look=gateways.trusts_everything,
    ),
    Check(
        id="gateway.trusted_proxies_unreadable_entry",
        severity=CRITICAL,
        title="A trusted proxy that is no address",
        do=(
            "Write an address or a range in canonical form, such as 10.0.0.7 or 10.0.0.0/28: OpenClaw skips such an "
            "entry silently, or reads another range in it than is meant."
        ),
        look=gateways.unreadable_proxies,
        openclaw=True,
    ),
    Check(
        id="gateway.trusted_proxy_unmatchable_user",
        severity=CRITICAL,
        title="An entry of allowUsers that is no user",
        do=(
            "Write each user into allowUsers as the proxy names them, one an entry: the comparison is exact, and no "
            "entry stands for several."
        ),
        look=gateways.unmatchable_users,
    ),
    Check(
        id="gateway.trusted_proxy_token",
        severity=CRITICAL,
        title="A token beside trusted-proxy",
        do=(
            "Remove auth.token, and OPENCLAW_GATEWAY_TOKEN from the environment: OpenClaw does not start with it, or "
            "takes it as a second way in that passes no proxy."
        ),
        look=gateways.token_beside,
        openclaw=True,
    ),
    Check(
        id="gateway.real_ip_fallback_enabled",
        severity=CRITICAL,
        title="X-Real-IP may name the client",
        do=(
            "Remove allowRealIpFallback, and let the proxy send X-Forwarded-For: a proxy that passes a client's "
            "X-Real-IP on lets that client choose its address."
        ),
        look=gateways.real_ip_fallback,
        lesser=gateways.all_proxies_are_loopback,
    ),
    Check(
        id="gateway.control_ui.allowed_origins_wildcard",
        severity=CRITICAL,
        title="Every origin is allowed",
        do="List your own origins under controlUi.allowedOrigins, such as https://gateway.example.com, instead of *.",
        look=gateways.any_origin,
    ),
    Check(
        id="gateway.control_ui.host_header_origin_fallback",
        severity=CRITICAL,
        title="The Host header decides which origin is allowed",
        do=(
            "Remove dangerouslyAllowHostHeaderOriginFallback and list your origins under controlUi.allowedOrigins: "
            "with DNS rebinding a page of another site has the Host that it likes."
        ),
        look=gateways.host_origin_fallback,
    ),
    Check(
        id="gateway.control_ui.allowed_origins_required",
        severity=CRITICAL,
        title="The Control UI has no allowed origin",
        do="List the origins from which it is used under controlUi.allowedOrigins, such as https://gateway.example.com.",
        look=gateways.origins_required,
        openclaw=True,
    ),
    Check(
        id="gateway.bind_no_auth",
        severity=CRITICAL,
        title="Other hosts reach the Gateway, and it asks for nothing",
        do=(
            "Set auth.mode to trusted-proxy behind an identity-aware proxy, or to token, or bind to loopback. A token "
            "that is only in the environment is not seen here."
        ),
        look=gateways.no_auth,
        openclaw=True,
    ),
    Check(
        id="gateway.config_invalid",
        severity=CRITICAL,
        title="A value that OpenClaw does not take",
        do="Correct it, then audit again: what was meant there could not be looked at.",
        look=gateways.wrong_types,
        openclaw=True,
    ),
    Check(
        id="gateway.trusted_proxy_no_allowlist",
        severity=WARN,
        title="Everyone may enter whom the proxy names",
        do="List the users under allowUsers, or see that the proxy itself lets only these sign in.",
        look=gateways.no_allowlist,
    ),
    Check(
        id="gateway.trusted_proxy_allow_loopback",
        severity=WARN,
        title="A loopback address may speak for users",
        do=(
            "Where the proxy is on another host, set allowLoopback: false. Where it is on this one, see that no other "
            "process here is trusted less: each of them can be any user."
        ),
        look=gateways.allows_loopback,
    ),
    Check(
        id="gateway.trusted_proxies_wide_range",
        severity=WARN,
        title="A trusted range is wider than /24 or /64",
        do="List the proxy's exact addresses under trustedProxies: every host in the range can be any user.",
        look=gateways.trusts_wide_range,
    ),
    Check(
        id="gateway.trusted_proxies_loopback_range",
        severity=WARN,
        title="A trusted range covers loopback",
        do=(
            "List exact addresses under trustedProxies; 127.0.0.1 or ::1 only where the proxy is on this host: every "
            "process here can be any user."
        ),
        look=gateways.trusts_loopback_range,
    ),
    Check(
        id="gateway.trusted_principals_wildcard",
        severity=WARN,
        title="A wildcard trusts principals that nobody named",
        do=(
            "Write each principal out, or end the entry with the / of a path that only the proxies have, as in "
            "spiffe://cluster.local/ns/ingress/*."
        ),
        look=principals.wide_wildcards,
    ),
    Check(
        id="gateway.trusted_principals_rest_on_proxy",
        severity=WARN,
        title="The proxy's TLS decides whether a principal is proved",
        do=(
            "See that every listener of Envoy that leads here verifies client certificates: validation_context with "
            "trusted_ca, and never trust_chain_verification: ACCEPT_UNTRUSTED, with which a self-signed certificate "
            "has whatever principal it says. See that this CA certifies nobody else under such a name. Then record "
            "that under `accepted`."
        ),
        look=principals.rest_on_the_proxy,
    ),
    Check(
        id="gateway.trusted_proxy_assertion_unverified",
        severity=WARN,
        title="What the proxy signs is not verified",
        do=(
            "Set assertion to this preset, with your audience: that a header is there proves nothing, and who has the "
            "proxy's address can write it; its signature proves who wrote it."
        ),
        look=assertions.unverified,
    ),
    Check(
        id="gateway.trusted_proxy_assertion_long_lived",
        severity=WARN,
        title="A signed assertion is believed for long",
        do=(
            f"Let assertion.maxAge be {assertions.LONGEST_MAX_AGE} at most, and assertion.keysKept "
            f"{assertions.LONGEST_KEYS_KEPT}: so long a stolen token opens the gateway, and a withdrawn key counts "
            "while no other can be fetched."
        ),
        look=assertions.long_lived,
    ),
    Check(
        id="gateway.trusted_proxy_assertion_chosen_claim",
        severity=WARN,
        title="The user may be able to choose the claim",
        do=(
            "Set assertion.userClaim to a claim that the identity provider gives: email where it verifies it, or sub. "
            "Who may change this one can be anybody on the list."
        ),
        look=assertions.chosen_by_users,
    ),
    Check(
        id="gateway.trusted_proxies_name_searched",
        severity=WARN,
        title="A search list completes the name of a trusted proxy",
        do=(
            "Write the whole name with a dot at its end, as in dns:traefik.internal. or dns:traefik. for a container: "
            "else it may be found in a zone in which others make names."
        ),
        look=names.searched,
    ),
    Check(
        id="gateway.trusted_proxy_password",
        severity=WARN,
        title="A password beside trusted-proxy",
        do=(
            "Remove auth.password if nothing on the Gateway's host needs it: OpenClaw takes it from requests that "
            "passed no proxy."
        ),
        look=gateways.password_beside,
        openclaw=True,
    ),
    Check(
        id="gateway.trusted_proxies_missing",
        severity=WARN,
        title="A proxy before the Control UI would not be known as one",
        do="If there is a proxy, list it under trustedProxies: its requests may else count as local ones.",
        look=gateways.proxies_missing,
        openclaw=True,
    ),
    Check(
        id="gateway.control_ui.allowed_origins_unreadable_entry",
        severity=WARN,
        title="An allowed origin that is no origin",
        do="Write scheme://host or scheme://host:port, without a path: no browser sends anything else.",
        look=gateways.unreadable_origins,
        openclaw=True,
    ),
    Check(
        id="gateway.unresolved_reference",
        severity=WARN,
        title="A value that stands in the environment",
        do="Audit a copy of the file with the values in place of the references: they were not looked at.",
        look=gateways.references,
        openclaw=True,
    ),
    Check(
        id="gateway.shadow_mode",
        severity=WARN,
        title="Denials of this gateway are not enforced",
        do="Set the gateway's mode to enforce once its log shows no denial that should have passed.",
        look=gateways.shadow_mode,
    ),
    Check(
        id="gateway.trusted_proxies_prove_little",
        severity=INFO,
        title="A client certificate would prove more than these addresses",
        do=(
            "Where the proxy has a client certificate, list its principal under trustedPrincipals, and set require: "
            "all, or remove the range. Where it has none, and a range stands there because its address changes, list "
            "its name instead, as dns:NAME."
        ),
        look=principals.addresses_prove_little,
    ),
    Check(
        id="gateway.trusted_proxies_rest_on_dns",
        severity=INFO,
        title="A name server says who is a trusted proxy",
        do=(
            "See that the name servers are yours and that nobody answers in their place: their answers are not signed. "
            "Where the proxy has a client certificate, list its principal under trustedPrincipals, with require: all."
        ),
        look=names.rest_on_dns,
    ),
    Check(
        id="gateway.trusted_proxy_no_required_headers",
        severity=INFO,
        title="No header is required beside the user's",
        do=(
            "Name a header under requiredHeaders that only the identity-aware proxy sets, such as "
            "x-pomerium-jwt-assertion, if it has one."
        ),
        look=gateways.no_required_headers,
    ),
    Check(
        id="gateway.trusted_proxy_required_headers_always_there",
        severity=INFO,
        title="The required headers prove nothing",
        do=(
            "Name a header under requiredHeaders that only the identity-aware proxy sets: these are there whoever "
            "sent the request."
        ),
        look=gateways.required_headers_prove_nothing,
    ),
)

SERVICE_CHECKS: Final[tuple[Check[ServiceView], ...]] = (
    Check(
        id="service.callers_everyone",
        severity=CRITICAL,
        title="Everybody may ask",
        do=(
            "List the asking proxies under callers.addresses, or let them show certificates: tls.clientCa and "
            "callers.principals. Whoever reaches the port can have any identity signed."
        ),
        look=service.everyone_may_ask,
    ),
    Check(
        id="service.stamp_disabled",
        severity=CRITICAL,
        title="Nothing is signed",
        do="Set stamp.enabled to true, and let the Gateway verify the stamp.",
        look=service.stamp_disabled,
    ),
    Check(
        id="service.key_readable_by_everyone",
        severity=CRITICAL,
        title="Everyone on the host can use a private key",
        do="chmod 600 the file, then replace the key: extauthz keys rotate. Who has read it can sign until it is gone.",
        look=service.key_open_to_everyone,
    ),
    Check(
        id="service.key_readable_by_group",
        severity=WARN,
        title="The group can use a private key",
        do="chmod 600 the file, or see that the service is alone in that group, as with a Kubernetes Secret's fsGroup.",
        look=service.key_open_to_group,
    ),
    Check(
        id="service.key_old",
        severity=WARN,
        title=f"The signing key is older than {service.LONGEST_KEY_AGE_DAYS} days",
        do="extauthz keys rotate: stamps go on without a gap.",
        look=service.key_old,
    ),
    Check(
        id="service.callers_wide_range",
        severity=WARN,
        title="A whole network may ask",
        do=(
            "List the proxies' exact addresses under callers.addresses, or let them show certificates: tls.clientCa "
            "and callers.principals. Every host in the range can have any identity signed."
        ),
        look=service.many_may_ask,
    ),
    Check(
        id="service.shadow_mode",
        severity=WARN,
        title="Denials are not enforced",
        do="Set mode to enforce once the log shows no denial that should have passed.",
        look=service.shadow_mode,
    ),
    Check(
        id="service.gateways_by_host",
        severity=WARN,
        title="The client's Host chooses among gateways",
        do=(
            "Let the proxy name the gateway, as every configuration that `extauthz proxy-config` writes does; else see "
            "that it routes by the same Host."
        ),
        look=service.chosen_by_host,
    ),
    Check(
        id="service.assertion_opens_several",
        severity=INFO,
        title="A token of one gateway opens another",
        do=(
            "Give each gateway an audience of its own where the proxy can: who sees one gateway's requests could else "
            "carry their tokens to another."
        ),
        look=assertions.opens_several,
    ),
    Check(
        id="service.refusals_unlimited",
        severity=INFO,
        title="Denials are not limited",
        do=(
            "Set limits.refusals, `{}` for its defaults: who is denied too often is then told that and no reason any "
            "more, and does not fill the log. Nobody who is allowed is affected (docs/refusal-limit.md)."
        ),
        look=service.refusals_unlimited,
    ),
    Check(
        id="service.keys_unread",
        severity=INFO,
        title="A key could not be looked at",
        do="Run the audit as the user of the service.",
        look=service.keys_unread,
    ),
)

RECORD_CHECKS: Final[tuple[Check[Unmatched], ...]] = (
    Check(
        id="service.accepted_unmatched",
        severity=INFO,
        title="What was accepted was not found",
        do=(
            "Remove the entry if the finding is gone. Else correct it: it takes the id as shown here, and for a "
            "gateway's finding that `gateway`."
        ),
        look=service.accepted_unmatched,
    ),
)

CHECKS: Final[tuple[Check[GatewayView] | Check[ServiceView] | Check[Unmatched], ...]] = (
    *GATEWAY_CHECKS,
    *SERVICE_CHECKS,
    *RECORD_CHECKS,
)
