"""The traps of Envoy's answer, each a way to let a client in or to leave it the identity it made up."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import LOOPBACK, PAIRS, CountingStamper, authorizer_of, gateway, policy_of
from cases.corpus import RULESETS
from cases.generated import bounded, examples
from cases.messages import LONGEST_VALUE_BYTES, OK, check_request, read, upstream
from extauthz.config.faults import ConfigError
from extauthz.core.address import parse_address
from extauthz.core.request import Caller
from extauthz.wire.answer import GAP
from extauthz.wire.pb import check_pb2 as pb

PROTECTED = ("x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp")
PERMISSION_DENIED, UNAUTHENTICATED = 7, 16

# What a client sends in the hope that it survives.
SPOOFED = tuple((name, value) for name in PROTECTED for value in ("eve", "", "eve"))


def assert_sound(response: bytes, protected: Sequence[str], sent: Sequence[tuple[str, str]]) -> pb.CheckResponse:
    """Assert what holds of every answer, and return it read."""
    outcome = read(response)
    found = outcome.response
    kind = found.WhichOneof("http_response")
    assert response
    assert found.HasField("status")
    if outcome.passes:
        assert kind == "ok_response"
        assert found.status.message == ""
        _assert_pass(found, protected, sent, allowed=not outcome.reason)
    else:
        # An empty CheckResponse, or one with status 0, is an allow, whatever its denied_response says.
        assert kind == "denied_response"
        assert outcome.reason
        wanted = (401, UNAUTHENTICATED) if outcome.reason == "trusted_proxy_user_missing" else (403, PERMISSION_DENIED)
        assert (found.denied_response.status.code, found.status.code) == wanted
        assert found.status.message == outcome.reason
    options: Any = (found.ok_response if outcome.passes else found.denied_response).headers
    for option in options:
        _assert_header(option)
    assert GAP.encode() not in response
    assert found.dynamic_metadata.fields["decision"].string_value
    return found


def _assert_pass(
    found: pb.CheckResponse, protected: Sequence[str], sent: Sequence[tuple[str, str]], *, allowed: bool
) -> None:
    set_names = [option.header.key for option in found.ok_response.headers]
    removed = list(found.ok_response.headers_to_remove)
    assert len(set(set_names)) == len(set_names)
    # Removal comes last: a name that is set and removed loses its value. One that is neither keeps the client's.
    assert not set(set_names) & set(removed)
    assert set(set_names) | set(removed) >= set(protected)
    assert bool(set_names) == allowed
    facts = found.dynamic_metadata.fields
    arrived = upstream(found, sent)
    for name in protected:
        values = [value for key, value in arrived if key == name]
        if not allowed or name in removed:
            assert values == []
        elif name == "x-authz-gateway":
            assert values == [facts["gateway"].string_value]
        elif name == "x-authz-decision":
            assert values == [facts["decision"].string_value]
        elif name != "x-authz-stamp":
            assert values == [facts["user"].string_value]
        else:
            assert len(values) == 1


def _assert_header(option: pb.HeaderValueOption) -> None:
    key, value = option.header.key, option.header.value.decode("utf-8")
    # With both unset Envoy 1.37 appended to the client's own copy.
    assert option.HasField("append")
    assert option.append.value is False
    assert option.append_action == pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    assert option.header.raw_value == b""  # Envoy does not read it
    assert key == key.lower()
    assert not key.startswith((":", "x-envoy-"))
    assert key not in {"host", "content-length", "transfer-encoding", "connection"}
    assert len(option.header.value) <= LONGEST_VALUE_BYTES
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in value)


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
@pytest.mark.parametrize("stamped", [True, False], ids=["stamp", "no-stamp"])
@pytest.mark.parametrize("ruleset", RULESETS)
@bounded
@given(data=st.data())
def test_every_answer_is_sound(ruleset: str, stamped: bool, mode: str, data: st.DataObject) -> None:
    example = data.draw(examples(ruleset, requests=4))
    config = {**example.gateway, "mode": mode}
    stamper = CountingStamper() if stamped else None
    authorizer = authorizer_of({"g": config}, stamper)
    protected = sorted(policy_of({"g": config}).gateways["g"].protected)
    decisions = set()
    for asked in example.requests:
        for extra in ((), SPOOFED):
            sent = [*asked.pairs, *extra]
            message = check_request(sent, peer=asked.peer, host=asked.host)
            found = assert_sound(authorizer.check(message, LOOPBACK), protected, sent)
            decisions.add(found.dynamic_metadata.fields["decision"].string_value)
    assert len(decisions) == 2 * len(example.requests)


REQUESTS: dict[str, dict[str, Any]] = {
    "caller_not_allowed": {"caller": Caller(parse_address("10.9.9.9"))},
    "gateway_unknown": {"gateway": "unknown"},
    "header_alias_refused": {"pairs": [*PAIRS, ("x_authz_user", "eve")]},
    "request_malformed": {"pairs": [("x-forwarded-user", b"\xff"), *PAIRS[1:]]},
    "trusted_proxy_user_missing": {"pairs": PAIRS[1:]},
}


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
@pytest.mark.parametrize("reason", REQUESTS)
def test_denial_before_the_rules_is_sound_too(reason: str, mode: str) -> None:
    asked = {"caller": LOOPBACK, "pairs": PAIRS, "gateway": "g"} | REQUESTS[reason]
    authorizer = authorizer_of({"g": gateway(mode=mode)})
    response = authorizer.check(check_request(asked["pairs"], gateway=asked["gateway"]), asked["caller"])
    found = assert_sound(response, (*PROTECTED, "x-forwarded-user"), [])
    shadowed = mode == "shadow" and reason == "trusted_proxy_user_missing"
    assert (found.status.code == OK) == shadowed
    assert found.dynamic_metadata.fields["reason"].string_value == reason


@pytest.mark.parametrize("message", [b"", b"\x00", b"\xff" * 50, b"\x0a\x05abc"])
def test_bytes_that_cannot_be_read_are_denied_by_an_answer_and_not_by_silence(message: bytes) -> None:
    found = assert_sound(authorizer_of({"g": gateway(mode="shadow")}).check(message, LOOPBACK), PROTECTED, [])
    assert found.status.code == PERMISSION_DENIED
    assert found.status.message == "request_malformed"
    stranger = authorizer_of({"g": gateway()}).check(message, Caller(parse_address("10.9.9.9")))
    assert read(stranger).reason == "caller_not_allowed"


def test_clients_own_copies_of_stamped_headers_are_overwritten() -> None:
    sent = [*PAIRS, *SPOOFED]
    response = authorizer_of({"g": gateway()}, CountingStamper()).check(check_request(sent), LOOPBACK)
    found = assert_sound(response, (*PROTECTED, "x-forwarded-user"), sent)
    arrived = [pair for pair in upstream(found, sent) if pair[0] in PROTECTED]
    decision = found.dynamic_metadata.fields["decision"].string_value
    assert sorted(arrived) == [
        ("x-authz-decision", decision),
        ("x-authz-gateway", "g"),
        ("x-authz-stamp", "stamp.1"),
        ("x-authz-user", "nick@example.com"),
    ]


def test_allow_without_a_stamp_removes_the_clients() -> None:
    sent = [*PAIRS, ("x-authz-stamp", "forged")]
    found = read(authorizer_of({"g": gateway()}).check(check_request(sent), LOOPBACK)).response
    assert list(found.ok_response.headers_to_remove) == ["x-authz-stamp"]
    assert "forged" not in [value for _, value in upstream(found, sent)]


def test_users_own_header_is_overwritten_with_the_trimmed_user() -> None:
    sent = [("X-Forwarded-User", "\t nick@example.com\u00a0"), *PAIRS[1:]]
    found = read(authorizer_of({"g": gateway()}).check(check_request(sent), LOOPBACK)).response
    assert ("x-forwarded-user", "nick@example.com") in upstream(found, sent)


def test_user_is_sent_as_utf8() -> None:
    config = gateway({"allowUsers": []})
    found = read(
        authorizer_of({"g": config}).check(check_request([("x-forwarded-user", "jürgen✓"), *PAIRS[1:]]), LOOPBACK)
    )
    assert ("x-authz-user", "jürgen✓") in upstream(found.response, [])
    assert found.user == "jürgen✓"


def test_stamp_is_asked_for_what_was_verified_and_only_on_an_allow() -> None:
    stamper = CountingStamper()
    authorizer = authorizer_of({"g": gateway()}, stamper)
    authorizer.check(check_request(PAIRS[1:]), LOOPBACK)
    assert stamper.signed == []
    authorizer.check(check_request(PAIRS, method="POST", host="A.example:80", path="/a?b"), LOOPBACK)
    assert stamper.signed == [
        {
            "gateway": "g",
            "user": "nick@example.com",
            "peer": "10.0.0.7",
            "method": "POST",
            "host": "A.example:80",
            "path": "/a?b",
        }
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("host", "Content-Length", "x-envoy-original-path", "X-Envoy-Foo", "transfer-encoding", "connection", "te"),
        *(":path", ":authority", "x authz", "x-authz:", "", "x-ü", "x-a\r\nx-b", "upgrade", "x" * 20_000),
    ],
)
def test_configuration_cannot_make_an_answer_steer_the_proxy(name: str) -> None:
    with pytest.raises(ConfigError, match=r"headers\.user: "):
        authorizer_of({"g": gateway()}, headers={"user": name})
    if name:  # a blank userHeader loads, and denies everything
        with pytest.raises(ConfigError, match=r"userHeader: "):
            authorizer_of({"g": gateway({"userHeader": name})})


def test_required_header_with_an_endless_name_is_refused() -> None:
    # Its name is part of the reason, and the reason is sent in a header.
    with pytest.raises(ConfigError, match=r"requiredHeaders\[0\]"):
        authorizer_of({"g": gateway({"requiredHeaders": ["x" * 20_000]})})


def test_gap_for_the_decisions_id_is_no_way_to_write_into_an_answer() -> None:
    # Whoever knew the text that stands for the id could have it replaced in his own name.
    authorizer = authorizer_of({"g": gateway({"allowUsers": []})})
    responses = [
        authorizer.check(check_request([("x-forwarded-user", f"u{n}"), *PAIRS[1:]]), LOOPBACK) for n in range(20)
    ]
    assert (
        len({read(response).response.dynamic_metadata.fields["decision"].string_value for response in responses}) == 20
    )
    assert all(GAP.encode() not in response for response in responses)
    assert len(GAP) >= 20
