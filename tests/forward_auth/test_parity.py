"""One corpus, every door: core, gRPC and the HTTP doors give the same result, reason and headers.

What a proxy cannot say is listed by name, with what happens in its stead; nothing is left out silently.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any, Final

import grpc
import pytest

from cases.corpus import RULESETS, Case, cases
from cases.messages import check_request, read, set_headers
from extauthz.config.compile import compile_policy
from extauthz.config.load import loads
from extauthz.core.policy import Policy
from extauthz.explaining import explain_request
from extauthz.wire.reflected import SERVICE
from forward_auth.asking import DIALECTS, Asked, ask
from forward_auth.opening import Doors, told

# These proxies themselves write X-Forwarded-For, so that no request comes to their doors without forwarded evidence.
# Of the rulesets openclaw-2026.9 alone asks for that; it gives another reason for the same denial.
_EVIDENCE: Final = {
    f"{name}/openclaw-2026.9": "deny:proxy_attribution_required"
    for name in (
        "local-direct-without-credentials",
        "loopback-optin-local-direct-missing-user",
        "nonforwarded-user-header-untrusted-peer",
        "peer-loopback-not-listed-no-fwd-headers",
        "tailscale-other-name-is-no-evidence",
    )
}
# An HTTP header's name is a token (RFC 9110, section 5.1): no other passes the parser of a proxy, or ours.
_NO_TOKEN: Final = {
    f"{name}/{ruleset}": "deny:request_malformed"
    for name in ("alias-unicode-hyphen", "kelvin-sign-is-no-k", "name-in-another-script")
    for ruleset in RULESETS
}
DIFFERS: Final = {
    "traefik": {**_EVIDENCE, **_NO_TOKEN},
    "caddy": {**_EVIDENCE, **_NO_TOKEN},
    "nginx": {**_EVIDENCE, **_NO_TOKEN},
    "envoy": _NO_TOKEN,
}
# A proxy that listens on TCP knows its peer, and writes it; with no peer, the last entry would be the client's word.
_NO_PEER: Final = {f"remote-addr-missing/{ruleset}" for ruleset in RULESETS}
LEFT_OUT: Final[dict[str, set[str]]] = {"traefik": _NO_PEER, "caddy": _NO_PEER, "nginx": _NO_PEER, "envoy": set()}

# What only HTTP has.
_OF_HTTP: Final = {"date", "content-length", "connection", "cache-control"}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return compile_policy(loads(json.dumps({"gateways": {case.gateway_id: case.gateway for case in cases()}})))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_case_is_decided_alike_in_core_over_grpc_and_at_every_http_door(
    dialect: str, doors: Doors, policy: Policy
) -> None:
    exact = dialect != "envoy"  # it may have joined copies of a header, and the door cannot tell
    differs, left_out = {}, set()
    with grpc.insecure_channel(doors.service.address) as channel:
        check: Any = channel.unary_unary(f"/{SERVICE}/Check")
        for case in cases():
            expected = case.exact if exact else case.joined
            want = f"allow:{expected.user}" if expected.allowed else f"deny:{expected.reason}"
            if exact:
                assert _in_core(policy, case) == case.exact, case.name
            over_grpc = read(check(_message(case, "raw" if exact else "map")))
            assert over_grpc.told == want, case.name
            if exact and case.peer is None:
                left_out.add(case.name)
                continue
            over_http = ask(dialect, doors.port, case.gateway_id, _asked(case))
            if told(over_http) != want:
                differs[case.name] = told(over_http)
                continue
            assert over_http.status == over_grpc.status, case.name
            sent = [(name, value.encode("latin-1").decode()) for name, value in over_http.headers]
            assert _comparable(sent) == _comparable(set_headers(over_grpc.response).items()), case.name
    assert differs == DIFFERS[dialect]
    assert left_out == LEFT_OUT[dialect]


def _asked(case: Case) -> Asked:
    host = next(value for name, value in case.pairs if name.lower() == "host")
    return Asked(case.pairs, case.peer, host=host, path="/chat?session=main")


def _in_core(policy: Policy, case: Case) -> tuple[bool, str | None, str | None]:
    line = {"gateway": case.gateway_id, "peer": case.peer, "headers": case.request["headers"]}
    explained = explain_request(policy, line)
    return explained["allowed"], explained["reason"], explained["user"]


def _message(case: Case, form: Any) -> bytes:
    asked = _asked(case)
    pairs = [(name, value.encode(errors="surrogatepass")) for name, value in case.pairs]
    return check_request(pairs, form=form, gateway=case.gateway_id, peer=case.peer, host=asked.host, path=asked.path)


def _comparable(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return what an answer sets, without what differs in any two answers; of a stamp what it says."""
    # HTTP takes white space off the ends of a value: a reason with a header's name in it may end in some.
    found: dict[str, Any] = {name: value.strip() for name, value in pairs if name not in _OF_HTTP}
    found["x-authz-decision"] = len(found["x-authz-decision"])
    if found.get("x-authz-stamp"):
        payload = found["x-authz-stamp"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        found["x-authz-stamp"] = {name: claims[name] for name in claims.keys() - {"iat", "exp", "jti"}}
    return found
