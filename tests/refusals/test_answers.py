"""What a client gets when it was refused too often, and what the operator gets: the reason, always."""

import json
from typing import Any

import pytest

from cases.build import LOOPBACK, gateway
from cases.messages import set_headers
from extauthz.core.reasons import TOO_MANY_REFUSALS
from extauthz.core.request import Caller
from extauthz.wire.forward_auth import DIALECTS, HttpAnswer, HttpMessage
from forward_auth.asking import QUESTIONS, Asked
from refusals.limiting import EVE, TOO_MANY, Limited, limits

REASON = "trusted_proxy_user_not_allowed"
PERMISSION_DENIED = 7


def over(limited: Limited, pairs: Any = EVE) -> Any:
    """Ask until there were too many, and once more."""
    limited.ask_often(3, pairs)
    return limited.ask(pairs)


def test_client_is_told_of_too_many_and_when_to_come_again() -> None:
    limited = Limited()
    found = over(limited)
    headers = set_headers(found.response)
    assert found.status == TOO_MANY
    assert headers["x-authz-reason"] == TOO_MANY_REFUSALS.code
    assert headers["cache-control"] == "no-store"
    assert json.loads(found.response.denied_response.body) == {
        "error": TOO_MANY_REFUSALS.code,
        "gateway": "g",
        "decision": headers["x-authz-decision"],
    }
    assert "www-authenticate" not in headers
    limited.clock.sleep(int(headers["retry-after"]))
    assert limited.ask(EVE).status == 403


def test_reason_stays_the_operators() -> None:
    """The metadata goes to Envoy's access log; nothing that a client reads has the reason."""
    found = over(Limited())
    assert found.reason == REASON
    assert found.user == "eve@example.com"
    assert REASON.encode() not in found.response.denied_response.SerializeToString()
    assert b"eve@example.com" not in found.response.denied_response.SerializeToString()


def test_it_is_a_denial_to_whoever_reads_the_status_alone() -> None:
    assert over(Limited()).response.status.code == PERMISSION_DENIED


def test_retry_after_is_whole_seconds_and_bounded() -> None:
    limited = Limited(refusals=limits(1, 1, seconds=3600))
    found = [set_headers(limited.ask(EVE).response).get("retry-after") for _ in range(50)]
    assert found[0] is None
    assert all(value is not None and 1 <= int(value) <= 7200 for value in found[1:])
    often = Limited(refusals=limits(1000, 1000, seconds=1))
    for _ in range(1001):
        last = set_headers(often.ask(EVE).response)
    assert last["retry-after"] == "1"


@pytest.mark.parametrize("body", ["json", "html", "empty"])
def test_hidden_reason_stays_hidden(body: str) -> None:
    limited = Limited(denial={"body": body, "reason": False})
    found = over(limited, [*EVE, ("accept", "text/html")])
    assert found.status == TOO_MANY
    assert "x-authz-reason" not in set_headers(found.response)
    told = found.response.denied_response.SerializeToString()
    assert b"refusals" not in told
    assert REASON.encode() not in told
    assert set_headers(found.response)["retry-after"]


def test_page_tells_a_person_to_wait() -> None:
    found = over(Limited(denial={"body": "html"}), [*EVE, ("accept", "text/html")])
    assert set_headers(found.response)["content-type"].startswith("text/html")
    body = found.response.denied_response.body
    assert "Too many refused requests" in body
    assert "Wait a little" in body
    assert TOO_MANY_REFUSALS.code in body
    assert REASON not in body


def test_empty_body_is_empty() -> None:
    found = over(Limited(denial={"body": "empty"}))
    assert found.response.denied_response.body == ""
    assert set_headers(found.response)["retry-after"]


def test_user_with_a_name_of_any_length_is_answered() -> None:
    long = [("x-forwarded-user", "e" * 1000), *EVE[1:]]
    assert over(Limited(), long).status == TOO_MANY


def http(limited: Limited, dialect: str, target: str | None = None, caller: Caller = LOOPBACK) -> HttpAnswer:
    question = QUESTIONS[dialect]("g", Asked(EVE))
    headers = [("host", question.host), *((name.lower(), value) for name, value in question.pairs)]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return limited.authorizer.forward(
        HttpMessage.of(question.method, (target or question.target).encode(), raw), caller
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_door_answers_as_its_proxy_understands(dialect: str) -> None:
    limited = Limited()
    plain = [http(limited, dialect) for _ in range(3)]
    found = http(limited, dialect)
    assert {answer.status for answer in plain} == {403}
    assert found.status == (403 if dialect == "nginx" else TOO_MANY)
    headers = dict(found.headers)
    assert headers[b"x-authz-reason"] == TOO_MANY_REFUSALS.code.encode()
    assert int(headers[b"retry-after"]) > 0
    assert int(headers[b"content-length"]) == len(found.body)
    assert json.loads(found.body)["error"] == TOO_MANY_REFUSALS.code


@pytest.mark.parametrize("target", ["/forward-auth/ngnix/g", "/forward-auth/nginx", "/forward-auth"])
def test_wrong_door_is_no_500_behind_nginx(target: str) -> None:
    limited = Limited()
    found = [http(limited, "nginx", target).status for _ in range(10)]
    assert found == [403] * 10


def test_both_wires_count_for_the_same_user() -> None:
    limited = Limited()
    limited.ask_often(3, EVE)
    assert http(limited, "traefik").status == TOO_MANY


def test_answers_to_others_are_as_without_the_limit() -> None:
    limited, plain = Limited({"g": gateway()}), Limited({"g": gateway()}, limits(None, 10_000))
    limited.ask_often(50, EVE)
    other = [("x-forwarded-user", "mallory@example.com"), *EVE[1:]]
    found, wanted = limited.ask(other), plain.ask(other)
    assert found.status == wanted.status
    assert set_headers(found.response).keys() == set_headers(wanted.response).keys()
