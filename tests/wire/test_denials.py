"""What a client that is denied gets to see: by configuration, and never more than that."""

import json
from typing import Any

import pytest

from cases.build import LOOPBACK, PAIRS, authorizer_of, gateway
from cases.messages import Outcome, check_request, read, set_headers

MISSING = PAIRS[1:]
NOT_ALLOWED = [("x-forwarded-user", "eve@example.com"), *PAIRS[1:]]


def _denied(pairs: Any, denial: dict[str, Any] | None = None) -> Outcome:
    outcome = read(authorizer_of({"g": gateway()}, denial=denial or {}).check(check_request(pairs), LOOPBACK))
    assert not outcome.passes
    return outcome


@pytest.mark.parametrize(
    ("pairs", "status", "reason"),
    [(MISSING, 401, "trusted_proxy_user_missing"), (NOT_ALLOWED, 403, "trusted_proxy_user_not_allowed")],
)
def test_denial_says_why_where_and_under_which_id(pairs: Any, status: int, reason: str) -> None:
    outcome = _denied(pairs)
    headers = set_headers(outcome.response)
    decision = headers["x-authz-decision"]
    assert outcome.status == status
    assert headers["x-authz-reason"] == reason
    assert json.loads(outcome.response.denied_response.body) == {"error": reason, "gateway": "g", "decision": decision}
    assert headers["content-type"].startswith("application/json")
    assert headers["cache-control"] == "no-store"
    facts = outcome.response.dynamic_metadata.fields
    assert {key: value.string_value for key, value in facts.items()}.items() >= {
        "decision": decision,
        "gateway": "g",
        "reason": reason,
    }.items()


def test_only_a_401_names_a_scheme() -> None:
    assert "www-authenticate" in set_headers(_denied(MISSING).response)
    assert "www-authenticate" not in set_headers(_denied(NOT_ALLOWED).response)


@pytest.mark.parametrize("body", ["json", "empty"])
@pytest.mark.parametrize("pairs", [MISSING, NOT_ALLOWED], ids=["401", "403"])
def test_hidden_reason_stands_nowhere_a_client_looks(pairs: Any, body: str) -> None:
    outcome = _denied(pairs, {"body": body, "reason": False})
    assert b"trusted_proxy" not in outcome.response.denied_response.SerializeToString()
    assert "x-authz-reason" not in set_headers(outcome.response)
    # Envoy's access log still has it.
    assert outcome.reason.startswith("trusted_proxy_user_")
    assert outcome.status in {401, 403}


def test_empty_body_is_empty_and_says_no_type() -> None:
    outcome = _denied(NOT_ALLOWED, {"body": "empty"})
    assert outcome.response.denied_response.body == ""
    assert "content-type" not in set_headers(outcome.response)
    assert set_headers(outcome.response)["x-authz-reason"] == "trusted_proxy_user_not_allowed"


def test_denied_user_and_headers_are_not_given_back() -> None:
    secret = [*NOT_ALLOWED, ("cookie", "session=s3cret"), ("authorization", "Bearer s3cret")]
    denied = _denied(secret).response
    assert b"s3cret" not in denied.SerializeToString()
    assert b"eve@example.com" not in denied.denied_response.SerializeToString()


def test_reason_with_the_operators_spelling_is_sent_whole() -> None:
    name = '  X-"Odd" <b>ü '
    config = gateway({"requiredHeaders": [name]})
    outcome = read(authorizer_of({"g": config}).check(check_request(PAIRS), LOOPBACK))
    assert outcome.reason == f"trusted_proxy_missing_header_{name}"
    assert json.loads(outcome.response.denied_response.body)["error"] == outcome.reason
    assert set_headers(outcome.response)["x-authz-reason"] == outcome.reason


def test_denial_without_a_gateway_names_none() -> None:
    outcome = read(authorizer_of({"g": gateway()}).check(check_request(PAIRS, gateway="other"), LOOPBACK))
    assert json.loads(outcome.response.denied_response.body)["gateway"] == ""
    assert outcome.reason == "gateway_unknown"
    assert outcome.status == 403
