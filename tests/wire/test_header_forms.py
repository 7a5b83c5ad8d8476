"""Both encodings of the headers decide alike, and whatever they hold, nothing in it is taken for what it is not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import LOOPBACK, PAIRS, authorizer_of, gateway
from cases.corpus import RULESETS
from cases.generated import bounded, examples, few
from cases.messages import FORMS, Form, check_request, read
from cases.oracle import decide as oracle
from extauthz.wire.pb import check_pb2 as pb

ALLOWED = "allow:nick@example.com"
AMBIGUOUS = "deny:trusted_proxy_user_ambiguous"
MALFORMED = "deny:request_malformed"
forms = pytest.mark.parametrize("form", FORMS)


def _ask(message: bytes, config: dict[str, Any] | None = None, **sections: Any) -> str:
    return read(authorizer_of({"g": config or gateway()}, **sections).check(message, LOOPBACK)).told


@pytest.mark.parametrize("ruleset", RULESETS)
@bounded
@given(data=st.data())
def test_both_forms_decide_as_the_rules_read(ruleset: str, data: st.DataObject) -> None:
    example = data.draw(examples(ruleset, requests=6))
    authorizer = authorizer_of({"g": example.gateway})
    for asked in example.requests:
        for form in FORMS:
            message = check_request(asked.pairs, form=form, peer=asked.peer, host=asked.host)
            wanted = oracle(example.gateway, peer=asked.peer, pairs=asked.pairs, host=asked.host, exact=form == "raw")
            found = read(authorizer.check(message, LOOPBACK)).told.removeprefix("deny:")
            assert found == wanted, (form, example.gateway, asked)


@few
@given(data=st.data())
def test_forms_part_only_where_one_comma_can_be_proven_to_be_one_header(data: st.DataObject) -> None:
    example = data.draw(examples("standard"))
    authorizer = authorizer_of({"g": example.gateway})
    for asked in example.requests:
        told = [
            read(
                authorizer.check(check_request(asked.pairs, form=form, peer=asked.peer, host=asked.host), LOOPBACK)
            ).told
            for form in FORMS
        ]
        if told[0] != told[1]:
            assert example.gateway["auth"]["trustedProxy"]["allowCommaInUser"]
            assert told[0] == AMBIGUOUS


@forms
def test_second_copy_of_the_user_is_ambiguous_and_never_the_user(form: Form) -> None:
    for copies in (["nick@example.com", "eve"], ["eve", "nick@example.com"], ["nick@example.com"] * 2, ["", "eve"]):
        pairs = [*(("x-forwarded-user", copy) for copy in copies), *PAIRS[1:]]
        assert _ask(check_request(pairs, form=form)) == AMBIGUOUS


def _raw(*entries: tuple[str, bytes, bytes]) -> pb.CheckRequest:
    """Return a request whose header map has these names, values and raw values."""
    message = pb.CheckRequest.FromString(check_request([], form="raw"))
    for key, value, raw_value in entries:
        message.attributes.request.http.header_map.headers.add(key=key, value=value, raw_value=raw_value)
    return message


def test_value_stands_in_where_there_is_no_raw_value() -> None:
    message = _raw(("x-forwarded-user", b"nick@example.com", b""), ("x-forwarded-proto", b"", b"https"))
    assert _ask(message.SerializeToString()) == ALLOWED


def test_raw_value_is_the_one_that_counts() -> None:
    message = _raw(("x-forwarded-user", b"nick@example.com", b"eve"), ("x-forwarded-proto", b"https", b""))
    assert _ask(message.SerializeToString()) == "deny:trusted_proxy_user_not_allowed"


@pytest.mark.parametrize("other", ["X-Forwarded-User", "X-FORWARDED-USER"])
def test_names_that_are_equal_but_for_their_case_are_copies_of_one_header(other: str) -> None:
    raw = _raw(
        ("x-forwarded-user", b"", b"nick@example.com"), (other, b"", b"eve"), ("x-forwarded-proto", b"", b"https")
    )
    assert _ask(raw.SerializeToString()) == AMBIGUOUS
    mapped = pb.CheckRequest.FromString(check_request(PAIRS, form="map"))
    mapped.attributes.request.http.headers[other] = b"eve"
    assert _ask(mapped.SerializeToString()) == AMBIGUOUS


@pytest.mark.parametrize("name", ["X-Forwarded-User", "X-FORWARDED-USER"])
def test_upper_case_names_are_read(name: str) -> None:
    raw = _raw((name, b"", b"nick@example.com"), ("X-Forwarded-PROTO", b"", b"https"))
    assert _ask(raw.SerializeToString()) == ALLOWED
    mapped = pb.CheckRequest.FromString(check_request(PAIRS[1:], form="map"))
    mapped.attributes.request.http.headers[name] = b"nick@example.com"
    assert _ask(mapped.SerializeToString()) == ALLOWED


@forms
def test_kelvin_sign_does_not_become_the_letter_of_a_trusted_name(form: Form) -> None:
    # No proxy strips "x-to\u212aen" when it strips "x-token": folded carelessly, the client's word would be taken.
    config = gateway({"userHeader": "x-token"})
    pairs = [("x-to\u212aen", "nick@example.com"), *PAIRS[1:]]
    assert _ask(check_request(pairs, form=form), config) == "deny:trusted_proxy_user_missing"
    assert _ask(check_request([*pairs, ("x-token", "nick@example.com")], form=form), config) == ALLOWED


@forms
@pytest.mark.parametrize("name", [":path", ":method", ":authority", ":scheme", ":protocol"])
@pytest.mark.parametrize("copies", [1, 2])
def test_pseudo_header_satisfies_no_required_header(form: Form, name: str, copies: int) -> None:
    # Every request has them: they would prove nothing.
    config = gateway({"requiredHeaders": [name]})
    pairs = [*PAIRS, *[("x-other", "1")] * copies, (":protocol", "websocket")]
    assert _ask(check_request(pairs, form=form), config) == f"deny:trusted_proxy_missing_header_{name}"


@forms
def test_pseudo_headers_do_not_count_against_the_limit(form: Form) -> None:
    assert _ask(check_request(PAIRS, form=form), limits={"headers": len(PAIRS)}) == ALLOWED
    assert _ask(check_request([*PAIRS, ("x-more", "1")], form=form), limits={"headers": len(PAIRS)}) == MALFORMED


def test_empty_header_map_leaves_the_map_to_count() -> None:
    message = pb.CheckRequest.FromString(check_request(PAIRS, form="map"))
    message.attributes.request.http.header_map.SetInParent()
    assert _ask(message.SerializeToString()) == ALLOWED


def test_header_map_beside_a_map_is_the_one_that_counts() -> None:
    message = pb.CheckRequest.FromString(check_request(PAIRS, form="map"))
    message.attributes.request.http.header_map.headers.add(key="x-forwarded-proto", raw_value=b"https")
    assert _ask(message.SerializeToString()) == "deny:trusted_proxy_user_missing"


@forms
def test_cookie_of_any_bytes_is_none_of_our_business(form: Form) -> None:
    assert _ask(check_request([*PAIRS, ("cookie", b"a=\xff\xfe\x00\x01")], form=form)) == ALLOWED


@forms
@pytest.mark.parametrize("name", ["x-forwarded-user", "x-forwarded-proto"])
def test_bytes_that_are_no_text_in_a_value_that_is_read_are_refused(form: Form, name: str) -> None:
    pairs = [pair for pair in PAIRS if pair[0] != name]
    for value in (b"\xff", b"nick@example.com\xc3", b"\xed\xa0\x80", b"\xc0\xae"):
        assert _ask(check_request([*pairs, (name, value)], form=form)) == MALFORMED


@forms
def test_bytes_that_are_no_text_in_a_name_are_refused(form: Form) -> None:
    message = check_request([*PAIRS, ("zzzz", "1")], form=form)
    assert message.count(b"zzzz") == 1
    assert _ask(message.replace(b"zzzz", b"z\xff\xfez")) == MALFORMED


@forms
def test_alias_comes_through_in_neither_form(form: Form) -> None:
    for name in ("x_forwarded_user", "x.authz.user", "X_AUTHZ_STAMP"):
        assert _ask(check_request([*PAIRS, (name, "eve")], form=form)) == "deny:header_alias_refused"


@forms
def test_header_over_its_limit_is_refused_in_either_form(form: Form) -> None:
    limits = {"headerBytes": 1000}
    assert _ask(check_request([*PAIRS, ("cookie", "c" * 1000)], form=form), limits=limits) == ALLOWED
    assert _ask(check_request([*PAIRS, ("cookie", "c" * 1001)], form=form), limits=limits) == MALFORMED
    copies = [("cookie", "c" * 500), ("cookie", "c" * 500)]
    assert _ask(check_request([*PAIRS, *copies], form=form), limits=limits) == MALFORMED


def test_request_without_http_attributes_is_malformed() -> None:
    assert _ask(b"") == MALFORMED
    message = pb.CheckRequest.FromString(check_request(PAIRS))
    message.attributes.request.ClearField("http")
    assert _ask(message.SerializeToString()) == MALFORMED


def test_peer_that_is_a_pipe_or_missing_is_in_no_range() -> None:
    everything = gateway(trustedProxies=["0.0.0.0/0", "::/0"])
    message = pb.CheckRequest.FromString(check_request(PAIRS, peer=None))
    assert _ask(message.SerializeToString(), everything) == "deny:trusted_proxy_untrusted_source"
    message.attributes.source.address.pipe.path = "/run/proxy.sock"
    assert _ask(message.SerializeToString(), everything) == "deny:trusted_proxy_untrusted_source"


def test_destination_and_principal_are_not_taken_for_the_peer() -> None:
    message = pb.CheckRequest.FromString(check_request(PAIRS, peer="192.0.2.1"))
    message.attributes.destination.address.socket_address.address = b"10.0.0.7"
    message.attributes.source.principal = b"10.0.0.7"
    assert _ask(message.SerializeToString()) == "deny:trusted_proxy_untrusted_source"


def test_other_context_extensions_select_nothing() -> None:
    message = pb.CheckRequest.FromString(check_request(PAIRS, gateway=None))
    message.attributes.context_extensions["Gateway"] = "unknown"
    assert _ask(message.SerializeToString()) == ALLOWED
    message.attributes.context_extensions["gateway"] = "unknown"
    assert _ask(message.SerializeToString()) == "deny:gateway_unknown"


@forms
def test_host_that_stands_only_among_the_headers_is_the_requests_host(form: Form) -> None:
    # Envoy tells the host apart; another caller, or a line given to explain, may have it as a header only.
    hosted = {"a": gateway(hosts=["a.example"]), "b": gateway({"allowUsers": ["eve"]}, hosts=["b.example"])}
    authorizer = authorizer_of(hosted)
    message = check_request([("host", "A.example:80"), *PAIRS], form=form, gateway=None, host="")
    assert read(authorizer.check(message, LOOPBACK)).told == ALLOWED
    # What Envoy tells comes first.
    message = check_request([("host", "a.example"), *PAIRS], form=form, gateway=None, host="b.example")
    assert read(authorizer.check(message, LOOPBACK)).told == "deny:trusted_proxy_user_not_allowed"


@forms
def test_peer_address_that_is_no_text_is_a_peer_in_no_range_and_no_unreadable_request(form: Form) -> None:
    message = pb.CheckRequest.FromString(check_request(PAIRS, form=form))
    message.attributes.source.address.socket_address.address = b"\xff\xfe"
    assert _ask(message.SerializeToString()) == "deny:trusted_proxy_untrusted_source"
