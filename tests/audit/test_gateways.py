"""A gateway of extauthz.yaml in, the ids of the findings out; and nothing but the decision itself for a good one."""

from typing import Any

import pytest

from audit.finding_out import HARDENED, found, hardened, ids, the
from cases.build import load_gateways
from extauthz.audit import audit

AUTH = "gateway.trusted_proxy_auth"
EVERYTHING = "gateway.trusted_proxies_everything"
WIDE = "gateway.trusted_proxies_wide_range"
PROVES_LITTLE = "gateway.trusted_proxies_prove_little"
LOOPBACK_RANGE = "gateway.trusted_proxies_loopback_range"
ALLOW_LOOPBACK = "gateway.trusted_proxy_allow_loopback"
REAL_IP = "gateway.real_ip_fallback_enabled"
NO_USER_HEADER = "gateway.trusted_proxy_no_user_header"
NO_LIST = "gateway.trusted_proxy_no_allowlist"
UNMATCHABLE = "gateway.trusted_proxy_unmatchable_user"
NOTHING_REQUIRED = "gateway.trusted_proxy_no_required_headers"
PROVES_NOTHING = "gateway.trusted_proxy_required_headers_always_there"
ANY_ORIGIN = "gateway.control_ui.allowed_origins_wildcard"
HOST_ORIGIN = "gateway.control_ui.host_header_origin_fallback"


def rules(**keys: Any) -> dict[str, Any]:
    return hardened(keys)


def proxies(*entries: str, **keys: Any) -> dict[str, Any]:
    return hardened(trustedProxies=list(entries), **keys)


def origins(**keys: Any) -> dict[str, Any]:
    return hardened(controlUi=keys)


CASES: list[tuple[str, dict[str, Any], set[str]]] = [
    # Good ones.
    ("hardened", HARDENED, set()),
    ("several exact addresses", proxies("10.0.0.7", "10.0.0.8", "2001:db8::7"), set()),
    ("a segment", proxies("10.0.1.0/28", "10.0.2.0/24", "2001:db8:0:1::/64"), set()),
    ("a range of one address", proxies("10.0.0.7/32", "2001:db8::7/128"), set()),
    ("segments apart", proxies("10.0.0.0/24", "10.0.2.0/24", "10.0.4.0/24"), set()),
    ("segments side by side that are no larger one", proxies("10.0.1.0/24", "10.0.2.0/24"), set()),
    ("a segment and an address beside it", proxies("10.0.0.0/24", "10.0.1.0/32", "10.0.1.1"), set()),
    ("loopback forbidden", rules(allowLoopback=False), set()),
    ("loopback listed and forbidden", hardened({"allowLoopback": False}, trustedProxies=["127.0.0.1"]), set()),
    ("loopback listed, the ruleset forbids", proxies("127.0.0.1", ruleset="openclaw-2026.9"), set()),
    ("origins", origins(allowedOrigins=["https://a.example", "https://b.example:8443"]), set()),
    ("an origin fallback that is off", origins(dangerouslyAllowHostHeaderOriginFallback=False), set()),
    ("a people's name that begins with @", rules(allowUsers=["@nick", "@nick:example.com"]), set()),
    ("a comma that is meant", rules(allowUsers=["CN=Nick,O=Example"], allowCommaInUser=True), set()),
    ("a proof beside what proves nothing", rules(requiredHeaders=["x-forwarded-proto", "x-signed"]), set()),
    ("enforced in words", hardened(mode="enforce"), set()),
    # Incomplete ones.
    ("nothing at all", {}, {"gateway.trusted_proxy_no_proxies", NO_USER_HEADER, NO_LIST, NOTHING_REQUIRED}),
    ("no rules", {**HARDENED, "auth": {"mode": "trusted-proxy"}}, {NO_USER_HEADER, NO_LIST, NOTHING_REQUIRED}),
    ("no proxies", proxies(), {"gateway.trusted_proxy_no_proxies"}),
    ("no user header", rules(userHeader=None), {NO_USER_HEADER}),
    ("an empty user header", rules(userHeader=""), {NO_USER_HEADER}),
    ("a user header of spaces", rules(userHeader=" \t "), {NO_USER_HEADER}),
    ("a user header of other white space", rules(userHeader="\ufeff\u00a0\u2003"), {NO_USER_HEADER}),
    # Everything, in whatever it is cut.
    ("all of IPv4", proxies("0.0.0.0/0"), {EVERYTHING, LOOPBACK_RANGE}),
    ("all of IPv6", proxies("::/0"), {EVERYTHING, LOOPBACK_RANGE}),
    ("all of IPv4 with host bits and zeros", proxies("10.0.0.7/00"), {EVERYTHING, LOOPBACK_RANGE}),
    ("all of IPv4, mapped", proxies("::ffff:0:0/96"), {EVERYTHING, LOOPBACK_RANGE}),
    ("two halves", proxies("0.0.0.0/1", "128.0.0.0/1"), {EVERYTHING, LOOPBACK_RANGE}),
    ("two halves, mapped", proxies("::ffff:0.0.0.0/97", "128.0.0.0/1"), {EVERYTHING, LOOPBACK_RANGE}),
    ("four quarters", proxies(*(f"{part}.0.0.0/2" for part in (192, 0, 128, 64))), {EVERYTHING, LOOPBACK_RANGE}),
    ("all but multicast", proxies("0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"), {EVERYTHING, LOOPBACK_RANGE}),
    ("halves of IPv6", proxies("::/1", "8000::/1"), {EVERYTHING, LOOPBACK_RANGE}),
    ("all of IPv6 that is given out", proxies("2000::/3"), {EVERYTHING}),
    ("everything hides no exact address", proxies("0.0.0.0/0", "10.0.0.7"), {EVERYTHING, LOOPBACK_RANGE}),
    ("everything of one version, a range of the other", proxies("2000::/3", "10.0.0.0/8"), {EVERYTHING, WIDE}),
    # Wide.
    ("/8", proxies("10.0.0.0/8"), {WIDE}),
    ("/23", proxies("10.0.0.0/23"), {WIDE}),
    ("/63", proxies("2001:db8::/63"), {WIDE}),
    ("half of IPv4 without loopback", proxies("128.0.0.0/1"), {WIDE}),
    ("mapped /8", proxies("::ffff:10.0.0.0/104"), {WIDE}),
    ("a mapped base in a range of IPv6", proxies("::ffff:10.0.0.0/64"), {LOOPBACK_RANGE}),
    ("two segments that are one larger", proxies("10.0.1.0/24", "10.0.0.0/24"), {WIDE}),
    (
        "many pieces of a larger one",
        proxies(*(f"10.0.0.{part}/29" for part in range(0, 256, 8)), "10.0.1.0/24"),
        {WIDE},
    ),
    ("three segments side by side", proxies("10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"), {WIDE}),
    # Loopback.
    ("loopback's whole range", proxies("127.0.0.0/8"), {WIDE, LOOPBACK_RANGE}),
    ("a part of loopback", proxies("127.0.0.0/30"), {LOOPBACK_RANGE}),
    ("loopback, mapped", proxies("::ffff:127.0.0.0/120"), {LOOPBACK_RANGE}),
    ("a range with ::1 in it", proxies("::/126"), {LOOPBACK_RANGE}),
    ("a range around loopback", proxies("64.0.0.0/2"), {WIDE, LOOPBACK_RANGE}),
    (
        "a loopback range is told where loopback is forbidden",
        proxies("127.0.0.0/30", ruleset="openclaw-2026.9"),
        {LOOPBACK_RANGE},
    ),
    ("loopback allowed in words", rules(allowLoopback=True), {ALLOW_LOOPBACK}),
    ("loopback allowed by default", proxies("127.0.0.1"), {ALLOW_LOOPBACK}),
    ("IPv6 loopback allowed by default", proxies("10.0.0.7", "::1"), {ALLOW_LOOPBACK}),
    ("another loopback address", proxies("127.0.0.2/32"), {ALLOW_LOOPBACK}),
    ("loopback, mapped, by default", proxies("::ffff:127.0.0.1", ruleset="openclaw-2026.2"), {ALLOW_LOOPBACK}),
    # X-Real-IP.
    ("X-Real-IP", hardened(allowRealIpFallback=True), {REAL_IP}),
    # Users.
    ("everyone", rules(allowUsers=[]), {NO_LIST}),
    ("a blank user", rules(allowUsers=["nick@example.com", ""]), {UNMATCHABLE}),
    ("a user of white space", rules(allowUsers=[" \u3000"]), {UNMATCHABLE}),
    ("*", rules(allowUsers=["*"]), {UNMATCHABLE}),
    ("a wildcard", rules(allowUsers=["*@example.com"]), {UNMATCHABLE}),
    ("a domain", rules(allowUsers=["@example.com"]), {UNMATCHABLE}),
    ("padded before", rules(allowUsers=[" nick@example.com"]), {UNMATCHABLE}),
    ("padded after", rules(allowUsers=["nick@example.com\u00a0"]), {UNMATCHABLE}),
    ("two users in one entry", rules(allowUsers=["nick@example.com,ann@example.com"]), {UNMATCHABLE}),
    ("a control character", rules(allowUsers=["nick\x1b[2J"]), {UNMATCHABLE}),
    # Required headers.
    ("nothing required", rules(requiredHeaders=[]), {NOTHING_REQUIRED}),
    ("X-Forwarded-Proto, which Envoy adds too", rules(requiredHeaders=["X-Forwarded-Proto"]), {PROVES_NOTHING}),
    (
        "all that Traefik adds",
        rules(requiredHeaders=["x-forwarded-proto", " X-Forwarded-Host ", "x-forwarded-for"]),
        {PROVES_NOTHING},
    ),
    # Origins.
    ("every origin", origins(allowedOrigins=["*"]), {ANY_ORIGIN}),
    ("every origin beside another", origins(allowedOrigins=["https://a.example", " * "]), {ANY_ORIGIN}),
    ("the Host's origin", origins(dangerouslyAllowHostHeaderOriginFallback=True), {HOST_ORIGIN}),
    # Shadow, and several at once.
    ("shadow", hardened(mode="shadow"), {"gateway.shadow_mode"}),
    (
        "the worst",
        {
            **hardened({"allowUsers": ["*"], "requiredHeaders": [], "allowLoopback": True, "userHeader": " "}),
            "trustedProxies": ["0.0.0.0/0", "::/0"],
            "allowRealIpFallback": True,
            "controlUi": {"allowedOrigins": ["*"], "dangerouslyAllowHostHeaderOriginFallback": True},
            "mode": "shadow",
        },
        {
            EVERYTHING,
            LOOPBACK_RANGE,
            UNMATCHABLE,
            NOTHING_REQUIRED,
            ALLOW_LOOPBACK,
            NO_USER_HEADER,
            REAL_IP,
            ANY_ORIGIN,
            HOST_ORIGIN,
            "gateway.shadow_mode",
        },
    ),
]


@pytest.mark.parametrize(("gateway", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_configuration_in_ids_out(gateway: dict[str, Any], expected: set[str]) -> None:
    findings = found({"g": gateway})
    # Wherever addresses prove little, a certificate is recommended.
    beside = {PROVES_LITTLE} if expected & {EVERYTHING, WIDE} else set()
    assert sorted(finding.id for finding in findings) == sorted({AUTH, *expected, *beside})
    assert {finding.gateway for finding in findings} == {"g"}


@pytest.mark.parametrize(
    ("entries", "severity"),
    [
        (["127.0.0.1"], "warn"),
        (["::1", "127.0.0.1", "127.0.0.2"], "warn"),
        (["127.0.0.1/32", "::1/128", "::ffff:127.0.0.1"], "warn"),
        (["10.0.0.7"], "critical"),
        (["127.0.0.1", "10.0.0.7"], "critical"),
        (["127.0.0.0/8"], "critical"),
        (["127.0.0.0/31"], "critical"),
        (["::/127"], "critical"),
    ],
    ids=str,
)
def test_real_ip_weighs_less_only_where_every_proxy_is_exactly_loopback(entries: list[str], severity: str) -> None:
    findings = found({"g": proxies(*entries, allowRealIpFallback=True)})
    assert the(REAL_IP, findings).severity == severity


SEVERITIES = {
    AUTH: "critical",
    "gateway.trusted_proxy_no_proxies": "critical",
    NO_USER_HEADER: "critical",
    NO_LIST: "warn",
    ALLOW_LOOPBACK: "warn",
    ANY_ORIGIN: "critical",
    HOST_ORIGIN: "critical",
    EVERYTHING: "critical",
    WIDE: "warn",
    PROVES_LITTLE: "info",
    LOOPBACK_RANGE: "warn",
    UNMATCHABLE: "critical",
    NOTHING_REQUIRED: "info",
    PROVES_NOTHING: "info",
    "gateway.shadow_mode": "warn",
}


def test_severities_are_those_of_the_rules() -> None:
    told = {
        finding.id: finding.severity.value
        for _, gateway, _ in CASES
        for finding in found({"g": gateway})
        if finding.id != REAL_IP
    }
    assert told == SEVERITIES


def test_delegation_is_told_of_every_gateway_and_the_worst_comes_first() -> None:
    findings = found({"a": rules(allowUsers=[]), "b": HARDENED, "c": rules(requiredHeaders=[])})
    assert [(finding.id, finding.gateway) for finding in findings] == [
        (AUTH, "a"),
        (AUTH, "b"),
        (AUTH, "c"),
        (NO_LIST, "a"),
        (NOTHING_REQUIRED, "c"),
    ]


# What is said.


@pytest.mark.parametrize(
    ("gateway", "id_", "places", "cure"),
    [
        (HARDENED, AUTH, ["gateways.g.auth.mode", "10.0.0.7", "x-forwarded-user"], "`accepted`"),
        (proxies(), "gateway.trusted_proxy_no_proxies", ["gateways.g.trustedProxies"], "trustedProxies"),
        (rules(userHeader=" "), NO_USER_HEADER, ["gateways.g.auth.trustedProxy.userHeader"], "Set userHeader"),
        (rules(allowUsers=[]), NO_LIST, ["gateways.g.auth.trustedProxy.allowUsers"], "allowUsers"),
        (rules(allowLoopback=True), ALLOW_LOOPBACK, ["gateways.g.auth.trustedProxy.allowLoopback"], "allowLoopback"),
        (proxies("10.0.0.7", "::1"), ALLOW_LOOPBACK, ["gateways.g.trustedProxies[1] is ::1"], "allowLoopback"),
        (hardened(allowRealIpFallback=True), REAL_IP, ["gateways.g.allowRealIpFallback"], "Remove allowRealIpFallback"),
        (origins(allowedOrigins=["*"]), ANY_ORIGIN, ["gateways.g.controlUi.allowedOrigins"], "https://"),
        (
            origins(dangerouslyAllowHostHeaderOriginFallback=True),
            HOST_ORIGIN,
            ["gateways.g.controlUi.dangerouslyAllowHostHeaderOriginFallback"],
            "controlUi.allowedOrigins",
        ),
        (
            proxies("10.0.0.7", "0.0.0.0/1", "128.0.0.0/1"),
            EVERYTHING,
            ["gateways.g.trustedProxies[1] is 0.0.0.0/1", "gateways.g.trustedProxies[2] is 128.0.0.0/1", "all IPv4"],
            "exact addresses",
        ),
        (
            proxies("0.0.0.0/1", "128.0.0.0/2"),
            EVERYTHING,
            ["gateways.g.trustedProxies[0]", "[1]", "more than half of all IPv4"],
            "exact addresses",
        ),
        (
            proxies("10.0.1.0/24", "10.9.0.0/24", "10.0.0.0/24"),
            WIDE,
            ["gateways.g.trustedProxies[0]", "gateways.g.trustedProxies[2]", "together 10.0.0.0/23", "512 addresses"],
            "exact addresses",
        ),
        (proxies("2001:db8::/48"), WIDE, ["gateways.g.trustedProxies[0]", "65,536 networks of /64"], "exact addresses"),
        (proxies("127.0.0.0/30"), LOOPBACK_RANGE, ["gateways.g.trustedProxies[0] is 127.0.0.0/30"], "127.0.0.1"),
        (
            rules(allowUsers=["nick", "*", " ann"]),
            UNMATCHABLE,
            ["gateways.g.auth.trustedProxy.allowUsers[1] is '*'", "allowUsers[2] is ' ann'"],
            "one an entry",
        ),
        (
            rules(requiredHeaders=[]),
            NOTHING_REQUIRED,
            ["gateways.g.auth.trustedProxy.requiredHeaders"],
            "only the identity-aware proxy sets",
        ),
        (
            rules(requiredHeaders=["X-Forwarded-Proto"]),
            PROVES_NOTHING,
            ["gateways.g.auth.trustedProxy.requiredHeaders[0] is x-forwarded-proto", "Envoy"],
            "only the identity-aware proxy sets",
        ),
        (hardened(mode="shadow"), "gateway.shadow_mode", ["gateways.g.mode"], "enforce"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_finding_names_the_place_and_the_cure(gateway: dict[str, Any], id_: str, places: list[str], cure: str) -> None:
    finding = the(id_, found({"g": gateway}))
    for place in places:
        assert place in finding.seen
    assert cure in finding.do


@pytest.mark.parametrize("users", [["*"], [""], [" nick@example.com "], ["@example.com"]], ids=repr)
def test_who_mends_a_list_of_users_is_never_told_to_empty_it(users: list[str]) -> None:
    assert "[]" not in the(UNMATCHABLE, found({"g": rules(allowUsers=users)})).do


def test_many_places_are_counted_and_not_all_named() -> None:
    finding = the(UNMATCHABLE, found({"g": rules(allowUsers=[f" user{number}" for number in range(5000)])}))
    assert finding.seen.endswith("; and 4995 more")
    assert len(finding.seen) < 1000


def test_values_are_shown_short_and_harmless() -> None:
    finding = the(UNMATCHABLE, found({"g": rules(allowUsers=["\x1b[2J" + "*" * 10_000])}))
    assert finding.seen.isprintable()
    assert len(finding.seen) < 400


def test_large_configuration_is_audited_without_comparing_all_with_all() -> None:
    entries = [f"{first}.{second}.0.0/23" for first in range(10, 50) for second in range(250)]
    gateway = proxies(*entries)
    gateway["auth"]["trustedProxy"]["allowUsers"] = [f"user{number}@example.com" for number in range(50_000)]
    loaded = load_gateways({"g": gateway})
    assert ids(audit(loaded, 0.0)) == [AUTH, WIDE, PROVES_LITTLE]
